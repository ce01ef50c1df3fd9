"""A model asked for a label: prompts, verbalisers, label probabilities; again, and step by step.

Knows an engine and a label set; knows nothing of what is true.
"""
