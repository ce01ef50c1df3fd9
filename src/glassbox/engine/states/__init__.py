"""Hidden states: where they are read, how they are pooled, and the logit lens."""
