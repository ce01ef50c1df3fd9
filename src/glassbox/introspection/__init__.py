"""Room 2, the Shadow Self: hidden states, probes, checks, and a verdict on an answer.

``verdict`` holds the values that everyone shares. The rooms: ``probes``, ``evidence``,
``verifier``, ``training``.
"""
