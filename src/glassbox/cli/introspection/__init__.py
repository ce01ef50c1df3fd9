"""Commands that look inside while a model writes or judges: ``generate``, ``verify``, ``probes``.

Show what the engine and ``glassbox.introspection`` found; know nothing of how.
"""
