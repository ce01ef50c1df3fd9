"""``glassbox demo``: each part of the system at work on the embedded model, without a network.

Stands on the other commands, and shows what they would.
"""
