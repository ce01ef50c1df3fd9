"""One event of the log, and the hash by which the next one hangs on it. Knows no database.

Source: the chain of hashes is that of Haber and Stornetta 1991, "How to time-stamp a digital
document", section 5.1.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from glassbox.errors import InvalidValue

GENESIS: Final = "0" * 64
"""Stands for the hash before the first event."""

MOST_BODY_BYTES: Final = 2**20
"""A log holds what happened, not what was worked on."""


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    sequence: int
    """Its place in the log, from 1, without gaps."""
    time_s: float
    """Unix time at which it was written."""
    kind: str
    """What happened, in words with dots between them, as in ``technique.started``."""
    actor: str
    """Who did it, as a key's id; ``local`` is whoever owns the machine's account."""
    subject: str
    """What it was done to or with, as a run's id; empty where there is nothing of that kind."""
    previous_hash: str
    """Hash of the event before it; ``GENESIS`` for the first."""
    hash: str
    """Its own hash (hex)."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """What else is known, as JSON."""


def canonical(body: Mapping[str, Any]) -> str:
    """Return the one text of a JSON object: keys sorted, no spaces, shortest numbers.

    Raises:
        InvalidValue: Something that JSON cannot say, NaN and infinity among it, or too much.
    """
    _refuse_non_finite(body)
    try:
        text = orjson.dumps(dict(body), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise InvalidValue("body", type(body).__name__, f"plain JSON ({error})") from error
    if len(text) > MOST_BODY_BYTES:
        raise InvalidValue("body", f"{len(text)} bytes", f"at most {MOST_BODY_BYTES} bytes")
    return text.decode()


def event_hash(event: Event, body: str | None = None) -> str:
    """Return the hash that an event must have.

    Args:
        event: Its own ``hash`` is left out.
        body: Its body as it was kept; None makes the canonical text of it anew.
    """
    content = orjson.dumps(
        [
            event.sequence,
            event.time_s,
            event.kind,
            event.actor,
            event.subject,
            canonical(event.body) if body is None else body,
            event.previous_hash,
        ]
    )
    return hashlib.sha256(content).hexdigest()


def _refuse_non_finite(value: object) -> None:
    # orjson writes null in their stead, and the log would say something else than it was told.
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValue("body", value, "finite numbers")
    if isinstance(value, Mapping):
        for each in value.values():
            _refuse_non_finite(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _refuse_non_finite(each)
