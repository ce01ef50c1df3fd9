"""Commands that run functions beside the model: ``technique``, and ``mcp`` for agents.

Know what was typed and what came back; know nothing of how functions travel.
"""
