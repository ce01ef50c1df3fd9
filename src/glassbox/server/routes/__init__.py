"""One file for each group of routes, each with its ``router``."""
