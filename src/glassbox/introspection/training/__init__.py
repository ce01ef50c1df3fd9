"""``verify train``: graded responses in, a verifier's folder out, with figures and a report.

Knows what was right; asks the model as verifying does.
"""
