"""Two kinds of rows told apart: linear rules, logistic fits, ROC curves, and rows in groups.

Knows features and readings of any origin; knows nothing of hidden states and of models.
"""
