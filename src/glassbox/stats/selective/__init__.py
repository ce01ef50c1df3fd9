"""Selective prediction: a threshold that keeps its promise, what it costs, how many rows it takes.

Knows confidences and outcomes; does not know whether a confidence is calibrated, and need not.
"""
