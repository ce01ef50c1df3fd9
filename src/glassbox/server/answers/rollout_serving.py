"""What the routes of versions and predictions share: the parts behind them, tags, who asks.

Knows no route.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Tagged:
    """An answer as JSON with a tag over its bytes. Source: RFC 9110, section 8.8.3."""

    content: bytes
    tag: str

    @classmethod
    def of(cls, answered: Answered) -> "Tagged":
        """Return an answer with its tag."""
        content = answered.to_json()
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    def answer(self, request: Request) -> Response:
        """Return the response; 304 where the caller has the same. Source: RFC 9110, 13.1.2."""
        headers = {"etag": self.tag, "cache-control": "no-cache"}
        given = request.headers.get("if-none-match", "").split(",")
        if {"*", self.tag} & {each.strip().removeprefix("W/") for each in given}:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type="application/json", headers=headers)


def tagged_answer(request: Request, answered: Answered) -> Response:
    """Return an answer as JSON with a tag; 304 where the caller has the same."""
    return Tagged.of(answered).answer(request)


MOST_KEPT = 8
"""Answers of one source that are kept."""


class KeptAnswers:
    """Answers that follow from one source alone: written down once while it is the same."""

    def __init__(self) -> None:
        self._kept: tuple[object, dict[str | None, Tagged]] = (None, {})
        """The source, and what was made of it by what was asked for."""

    def get(self, source: object, asked: str | None, make: Callable[[], Answered]) -> Tagged:
        """Return the answer to what was asked for; two threads may make the same one.

        Args:
            source: What the answer follows from, as it is now.
            asked: What is asked of it.
            make: Makes the answer.
        """
        known, answers = self._kept
        if known is not source:
            # Whole at once, so that no thread puts what an older source says beside a newer's.
            _, answers = self._kept = (source, {})
        found = answers.get(asked)
        if found is None:
            found = Tagged.of(make())
            if len(answers) >= MOST_KEPT:
                answers.clear()
            answers[asked] = found
        return found
