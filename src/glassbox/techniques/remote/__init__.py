"""Models that are resident elsewhere: behind HTTP, in a Ray cluster, on Modal."""
