"""The server as a process: listening, loading, draining, started again after a fall.

Knows sockets, signals and connections; knows nothing of what is served.
"""
