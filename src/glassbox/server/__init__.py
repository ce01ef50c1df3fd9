"""The HTTP server; the only home of FastAPI."""
