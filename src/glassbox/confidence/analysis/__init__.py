"""Evaluated rows to figures: calibrators, metrics, threshold, what decisions cost, whole runs.

Knows rows and probabilities; loads no model and draws nothing.
"""
