"""Texts on their way in: files, encodings, columns, clean rows, and the parts they are cut into.

Knows files and label sets; knows nothing of models.
"""
