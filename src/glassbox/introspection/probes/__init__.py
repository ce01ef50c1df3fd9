"""Linear probes: from rows and hidden states to a direction, its figures and its folder.

Knows nothing of verifying; a verifier asks them by ``evidence.readable`` alone.
"""
