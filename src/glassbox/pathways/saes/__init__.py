"""Sparse autoencoders: one canonical form, whatever the file they came in."""
