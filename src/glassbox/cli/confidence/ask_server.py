"""``classify --server``: the same records, from a running server."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from glassbox.errors import GlassboxError

if TYPE_CHECKING:
    from glassbox.wire.classify import LabelAnswered

BATCH_ROWS = 256
"""Texts in one request."""


def classified_by_server(
    lines: Iterable[tuple[int, str | GlassboxError]], url: str, key: str | None, model: str | None
) -> Iterator[dict[str, Any]]:
    """Yield a record for every line, in order, as ``classify`` without a server does.

    Args:
        lines: Line number with the text, or with the error of a line that could not be read.
        url: The server's address.
        key: API key, where it wants one.
        model: Name of a served classifier; None is its first.

    Raises:
        GlassboxError: The server refuses the request, or there is none.
    """
    from glassbox.client import Client

    source = iter(lines)
    with Client(url, key=key) as client:
        while batch := list(islice(source, BATCH_ROWS)):
            texts = [content for _, content in batch if isinstance(content, str)]
            rows = iter(client.classify(texts, model=model).data if texts else ())
            for line, content in batch:
                if isinstance(content, str):
                    yield {"line": line, "text": content, **_record(next(rows))}
                else:
                    error = {"code": content.code, "message": str(content)}
                    yield {"line": line, "error": error}


def _record(row: "LabelAnswered") -> dict[str, Any]:
    if row.error is not None:
        return {"error": {"code": row.error.code, "message": row.error.message}}
    return {
        "label": row.label,
        "confidence": row.confidence,
        "label_probs": row.label_probs,
        "raw_confidence": row.raw_confidence,
        "label_mass": row.label_mass,
        "automate": None if row.decision is None else row.decision == "automate",
        **({"truncated": True} if row.truncated else {}),
    }
