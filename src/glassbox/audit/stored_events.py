"""What an event of a prediction looks like in its row, both ways, and what its hash covers.

A row holds the event's body as JSON, and beside it copies of the few fields that are searched by.
The chain covers a salted digest of the body and not the body itself, so that a body can be erased
while the chain still holds. Knows no database.

Source: the chain of hashes is that of Haber and Stornetta 1991, "How to time-stamp a digital
document", section 5.1; digests that can be opened later are hash commitments.
"""

import hashlib
import math
import struct
from typing import Any, Final, NamedTuple

import orjson

from glassbox.audit.records import (
    ErasureEvent,
    InferenceEvent,
    LabelEvent,
    PrimaryEvent,
    ShadowEvent,
)
from glassbox.audit.request_ids import MOST_CHARACTERS, request_key
from glassbox.errors import CorruptArtifact, InvalidValue

SALT_BYTES: Final = 16
"""Random bytes beside each body: without them a digest of few possible bodies could be guessed."""

MOST_BODY_BYTES: Final = 2**20
"""What is kept of one event."""

FIRST: Final = bytes(32)
"""Stands for the hash before the first event."""

_MADE: Final = {"primary": PrimaryEvent, "shadow": ShadowEvent, "label": LabelEvent}

_NUMBERS: Final = struct.Struct(">qd").pack


class Entry(NamedTuple):
    """An event on its way into a row: all but its place in the chain."""

    time_s: float
    """Unix time."""
    kind: str
    """``primary``, ``shadow``, ``label`` or ``erasure``."""
    request_id: str
    """The request."""
    request_key: int
    """Number by which the index finds it."""
    model_version: str | None
    """Version that answered, of a primary."""
    status: str | None
    """How it ended, of a primary or shadow."""
    label: str | None
    """Class that was answered, of a primary."""
    diff: float | None
    """Difference to the answer, of a shadow."""
    body: bytes
    """All else, as JSON."""


def entry_of(event: InferenceEvent) -> Entry:
    """Return an event as its row holds it.

    Numbers that are not finite become null, as JSON has none; times must be finite.

    Raises:
        InvalidValue: A time that is not finite, a text that is not valid, or too large a body.
    """
    require_plain(event)
    key = request_key(event.request_id)
    if isinstance(event, PrimaryEvent):
        body = _written(_primary_body(event))
        columns = (event.model_version, event.status, event.label)
        _require_texts(*columns)
        return Entry(event.time_s, "primary", event.request_id, key, *columns, None, body)
    if isinstance(event, ShadowEvent):
        body = _written(_shadow_body(event))
        diff = event.diff if event.diff is not None and math.isfinite(event.diff) else None
        return Entry(
            event.time_s, "shadow", event.request_id, key, None, event.status, None, diff, body
        )
    if isinstance(event, LabelEvent):
        kind, fields = "label", {"label": event.label, "actor": event.actor}
    else:
        kind, fields = "erasure", {"actor": event.actor, "reason": event.reason}
    return Entry(
        event.time_s, kind, event.request_id, key, None, None, None, None, _written(fields)
    )


def require_plain(event: InferenceEvent) -> None:
    """Check what costs least to check and could be wrong most often.

    Raises:
        InvalidValue: A time that is not finite, or a name that is none.
    """
    if not math.isfinite(event.time_s):
        raise InvalidValue("time_s", event.time_s, "a finite number of seconds")
    name = event.request_id
    if not (name.isascii() and 0 < len(name) <= MOST_CHARACTERS) or "\0" in name:
        # Says what is wrong, or finds that nothing is.
        request_key(name)
    if type(event) is PrimaryEvent and not math.isfinite(event.latency_ms):
        raise InvalidValue("latency_ms", event.latency_ms, "a finite number of milliseconds")


def event_of(kind: str, time_s: float, request_id: str, body: bytes) -> InferenceEvent:
    """Return the event of a row that still has its body.

    Raises:
        CorruptArtifact: The body is not what was written.
    """
    made: Any = _MADE.get(kind, ErasureEvent)
    try:
        fields: dict[str, Any] = orjson.loads(body)
        fields["request_id"] = request_id
        fields["time_s"] = time_s
        event: InferenceEvent = made(**fields)
    except (TypeError, orjson.JSONDecodeError) as error:
        raise CorruptArtifact(
            "a record of the log",
            "it cannot be read",
            remedy="'glassbox audit verify' says which event was changed.",
        ) from error
    return event


def body_digest(salt: bytes, body: bytes) -> bytes:
    """Return the digest by which the chain knows a body, 32 bytes."""
    return hashlib.sha256(salt + body).digest()


def link(
    previous: bytes, sequence: int, time_s: float, kind: str, request_id: str, digest: bytes
) -> bytes:
    """Return the hash of an event, 32 bytes.

    It is the SHA-256 over the hash before, the digest of the body, the sequence as a signed and
    the time as a floating-point number of 64 bits each (both with the highest byte first), the
    kind, a zero byte and the request's name.
    """
    words = f"{kind}\0{request_id}".encode()
    return hashlib.sha256(previous + digest + _NUMBERS(sequence, time_s) + words).digest()


def _primary_body(event: PrimaryEvent) -> dict[str, Any]:
    # What has its default is left out: a third of the bytes, for every request there ever was.
    body: dict[str, Any] = {
        "model": event.model,
        "model_version": event.model_version,
        "feature_hash": event.feature_hash,
        "latency_ms": event.latency_ms,
        "status": event.status,
        "prediction": event.prediction,
        "confidence": event.confidence,
    }
    if event.label is not None:
        body["label"] = event.label
    if event.label_probs is not None:
        body["label_probs"] = event.label_probs
    if event.arm != "champion":
        body["arm"] = event.arm
    # The rest is empty for most requests.
    if event.revision:
        body["revision"] = event.revision
    if event.rollout_id or event.segments or event.features or event.summaries or event.error_code:
        for name in ("rollout_id", "segments", "features", "summaries", "error_code"):
            if value := getattr(event, name):
                body[name] = value
    return body


def _shadow_body(event: ShadowEvent) -> dict[str, Any]:
    body: dict[str, Any] = {"shadow_version": event.shadow_version, "status": event.status}
    if event.role != "challenger":
        body["role"] = event.role
    for name in ("prediction", "confidence", "label", "label_probs", "diff", "latency_ms"):
        value = getattr(event, name)
        if value is not None:
            body[name] = value
    return body


def _written(body: dict[str, Any]) -> bytes:
    try:
        text = orjson.dumps(body, default=_mapping)
    except orjson.JSONEncodeError as error:
        raise InvalidValue("event", "a value", f"plain JSON ({error})") from error
    if len(text) > MOST_BODY_BYTES:
        raise InvalidValue("event", f"{len(text)} bytes", f"at most {MOST_BODY_BYTES} bytes")
    return text


def _mapping(value: object) -> dict[str, Any]:
    # Mappings that are no dicts, as read-only views of them.
    if hasattr(value, "keys"):
        return dict(value)  # type: ignore[call-overload,no-any-return]
    raise TypeError(type(value).__name__)


def _require_texts(*texts: object) -> None:
    # A column of another type would be refused by the database again and again, and hold up all
    # that come after it. What it was is not repeated: it may be what a caller wrote.
    for text in texts:
        if text is not None and (not isinstance(text, str) or "\0" in text):
            raise InvalidValue("event", type(text).__name__, "texts without NUL")
