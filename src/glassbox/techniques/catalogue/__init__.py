"""Techniques by name: what there is, what each takes, and reading arguments for it."""
