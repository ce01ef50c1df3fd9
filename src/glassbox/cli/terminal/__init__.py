"""How commands speak: tables, notes, JSON, progress, colours, help, sizes, exit codes.

Knows terminals and pipes; knows nothing of what is said.
"""
