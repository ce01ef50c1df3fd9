"""The engine's threads and the event loop: tickets, streams, waiting, slow calls.

Knows when a client goes away and who waits; knows nothing of what an answer says.
"""
