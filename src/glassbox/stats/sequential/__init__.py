"""Sequential testing: means and differences that may be looked at after every row; experiments.

Knows bounded observations in the order they came; knows nothing of versions and rollouts.
"""
