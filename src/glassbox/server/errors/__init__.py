"""Errors as HTTP: which status each has, problem+json, and OpenAI's shape.

Knows the exception tree; knows nothing of what went wrong and of who asked.
"""
