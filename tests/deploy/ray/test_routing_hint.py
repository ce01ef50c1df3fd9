"""The header that names an adapter is noted for Ray, and changes nothing about the request."""

import anyio
import pytest

from glassbox.deploy.ray.routing_hint import RoutingHint


@pytest.mark.parametrize(
    ("headers", "noted"),
    [
        ([(b"serve_multiplexed_model_id", b"support")], ["support"]),
        ([(b"serve-multiplexed-model-id", b"support")], ["support"]),
        ([(b"serve_multiplexed_model_id", b"nobody")], []),
        ([(b"serve_multiplexed_model_id", b"")], []),
        ([], []),
    ],
)
def test_known_adapters_are_noted_and_requests_go_on_as_they_came(headers, noted):
    seen, told = [], []

    async def app(scope, receive, send):
        seen.append(scope)

    async def note(name):
        told.append(name)

    scope = {"type": "http", "headers": headers}
    anyio.run(RoutingHint(app, lambda: {"support"}, note), scope, None, None)
    assert told == noted
    assert seen == [{"type": "http", "headers": headers}]


def test_what_is_no_request_has_no_hint():
    async def app(scope, receive, send):
        """Takes it."""

    async def note(name):
        raise AssertionError(name)

    anyio.run(RoutingHint(app, lambda: {"support"}, note), {"type": "lifespan"}, None, None)
