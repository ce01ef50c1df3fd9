"""How far confidence is from the truth: curves, errors, bands, proper scores.

Knows confidences and outcomes; mends nothing: that is what ``calibrators`` are for.
"""
