"""Maps from probabilities to better ones: fitted, chosen, kept as JSON.

Knows the rows it is fitted on; knows nothing of those that it is judged on.
"""
