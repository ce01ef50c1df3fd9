"""A server over an engine without a model, and clients that reach it without a socket."""

from contextlib import asynccontextmanager

import httpx
import httpx2
import openai

from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing.fake import FakeEngine

CHAT_TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)


def serve(engine, *, hidden=None, probes=None, guards=None, **parts):
    """Return an app over an engine."""
    speaker = Speaker(engine, "fake", hidden=hidden, probes=probes)
    return create_app(Serving(speaker, **parts), guards or Guards())


@asynccontextmanager
async def openai_client(app, **options):
    """Yield the official client, talking to an app in this process."""
    transport = httpx2.ASGITransport(app)
    async with (
        httpx2.AsyncClient(transport=transport) as http,
        openai.AsyncOpenAI(
            base_url="http://test/v1", api_key="none", http_client=http, max_retries=0, **options
        ) as client,
    ):
        yield client


@asynccontextmanager
async def http_client(app, **options):
    """Yield a plain HTTP client, talking to an app in this process."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", **options) as client:
        yield client


@asynccontextmanager
async def fake_server(**options):
    """Yield an engine without a model and the app over it."""
    hidden, probes = options.pop("hidden", None), options.pop("probes", None)
    engine = FakeEngine(**options)
    try:
        yield engine, serve(engine, hidden=hidden, probes=probes)
    finally:
        engine.close()
