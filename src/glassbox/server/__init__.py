"""The HTTP server; the only home of FastAPI.

What others name stands here: ``start`` (what is served, put together), ``app`` (the routes, put
together), ``serving`` (what a running server holds), ``openapi`` and ``proxy_face``. The rooms:
``process``, ``routes``, ``sagemaker``, ``answers``, ``fleet``, ``access``, ``techniques``,
``concurrency``, ``telemetry``, ``translation``, ``errors``.
"""
