"""Room 2, the Shadow Self: hidden states, probes, checks, and a verdict on an answer."""
