"""Between the wire and the engine: requests one way, values the other.

Knows names of models, prompts, captures, probes and what a hidden prompt forbids; knows nothing of
HTTP and of how answers are waited for.
"""
