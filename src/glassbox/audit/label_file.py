"""Truths that became known later, as a file of JSON Lines. Knows no database."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from glassbox.audit.records import LabelEvent
from glassbox.errors import InvalidData

if TYPE_CHECKING:
    from glassbox.audit.store import InferenceStore

AT_ONCE: Final = 10_000
"""Truths recorded before the disk confirms them. A file is read faster than a disk writes, and what
finds no room in the store's queue is lost: a file may hold any number, the queue may not."""

Told = tuple[str, str | float]
"""Name of a request, and its true class or number."""


def read_labels(path: Path) -> list[Told]:
    """Return what a file tells, in its order.

    Raises:
        InvalidData: It cannot be read, or a line is not ``{"request_id": …, "label": …}``.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidData(f"cannot be read: {error.strerror}", source=str(path)) from error
    found = [_told(line, str(path), number) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise InvalidData("there are no labels in it", source=str(path))
    return found


def record_labels(store: "InferenceStore", told: Sequence[Told], *, actor: str) -> list[str]:
    """Record truths for the predictions that are kept; return the names of those that are not.

    Returns once they are on the disk.

    Raises:
        DeadlineExceeded: The database does not answer.
    """
    known = store.known({request_id for request_id, _ in told})
    taken = [each for each in told if each[0] in known]
    for at in range(0, len(taken), AT_ONCE):
        for request_id, label in taken[at : at + AT_ONCE]:
            store.record(LabelEvent(request_id, store.now_s(), label, actor))
        store.flush()
    return [request_id for request_id, _ in told if request_id not in known]


def _told(line: bytes, source: str, number: int) -> Told:
    wanted = 'a line is {"request_id": "…", "label": "…" or a number}'
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"{wanted}; this is no JSON ({error})", source=source, line=number) from (
            error
        )
    if not isinstance(fields, dict) or fields.keys() != {"request_id", "label"}:
        raise InvalidData(wanted, source=source, line=number)
    request_id, label = fields["request_id"], fields["label"]
    if isinstance(label, bool):
        label = str(label).lower()
    if not isinstance(request_id, str) or not isinstance(label, str | int | float):
        raise InvalidData(wanted, source=source, line=number)
    return request_id, label
