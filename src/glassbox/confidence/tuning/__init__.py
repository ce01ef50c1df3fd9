"""Tuning for labels: the loss, and what a run's tuning is to learn.

Knows labels and examples; fitting an adapter is the engine's work.
"""
