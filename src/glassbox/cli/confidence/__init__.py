"""Commands of the main job: ``evaluate``, ``tune``, ``classify``, and those about a finished run.

Ask ``glassbox.confidence``, or a server; compute nothing.
"""
