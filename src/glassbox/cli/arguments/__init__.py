"""What several commands take: shared options, names for things, moments, files of lines.

Knows how values are written; knows nothing of what commands do with them.
"""
