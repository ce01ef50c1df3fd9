"""How sure a model sounds: agreement of repeated samples, and the untrained baseline.

Knows signals that are no probabilities; turning them into one is a calibrator's work.
"""
