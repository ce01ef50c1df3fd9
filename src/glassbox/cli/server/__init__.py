"""Commands about servers: ``serve``, ``keys``, ``fleet``.

Know what a server is started with; know nothing of routes.
"""
