"""Training SAEs on the residual stream of an engine's model."""
