"""What the routes of versions and predictions share: the parts behind them, tags, who asks.

Knows no route.
"""

import hashlib
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.responses import Response

from glassbox.errors import UnknownName
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.server.access.key_ring import Caller
from glassbox.server.serving import served
from glassbox.wire.shapes import Answered


async def _side(request: Request) -> RolloutSide:
    serving = await served(request)
    if serving.rollout is None:
        raise UnknownName(
            "registered model", "default", remedy="This server was started without versions."
        )
    return serving.rollout


Model = Annotated[str, Query(max_length=200, description="Registered model.")]
"""The registered model that a request is about, as a route's parameter."""

Side = Annotated[RolloutSide, Depends(_side)]
"""Versions, predictions and what is kept of them, as a route's parameter."""


def actor_of(caller: Caller) -> str:
    """Return who did something, as histories keep it: a key by its name, never its secret."""
    return f"local:{caller.client}" if caller.key is None else f"key:{caller.key.name}"


def tagged_answer(request: Request, answered: Answered) -> Response:
    """Return an answer as JSON with a tag over its bytes; 304 where the caller has the same.

    Source: RFC 9110, sections 8.8.3 and 13.1.2.
    """
    content = answered.to_json()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    given = request.headers.get("if-none-match", "").split(",")
    if {"*", tag} & {each.strip().removeprefix("W/") for each in given}:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)
