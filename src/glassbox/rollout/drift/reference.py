"""References: rows of a good time, frozen, numbered and sealed with a digest of their content.

A reference keeps its rows, thinned evenly where there are many, so that bins, tests, hours and
calibration all rest on the same frozen rows. Knows no database.
"""

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from jaxtyping import Float

from glassbox.errors import CorruptArtifact, NotEnoughData
from glassbox.rollout.drift.windows import OUTCOMES, Column, Window

SCHEMA: Final = "glassbox.drift-reference/1"
"""Form of a kept reference."""

MOST_ROWS: Final = 20_000
"""Rows kept: they pin a proportion to a third of a point, and a column takes 160 kB."""

LEAST_ROWS: Final = 100
"""Rows below which nothing is a reference."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Frozen rows, and where they come from."""

    reference_id: str
    """Names it, as in ``default-r3``."""
    model: str
    """Registered model."""
    number: int
    """From 1, per model."""
    created_s: float
    """Unix time."""
    digest: str
    """SHA-256 over its content (hex)."""
    actor: str
    """Who made it."""
    window: Window
    """The rows."""

    @property
    def model_version(self) -> str:
        """Version that answered the rows; empty for several."""
        return self.window.model_version

    @property
    def n_rows(self) -> int:
        """Rows."""
        return self.window.n_rows

    @property
    def since_s(self) -> float:
        """Unix time of the first row."""
        return float(self.window.times_s[0])

    @property
    def until_s(self) -> float:
        """Unix time of the last row."""
        return float(self.window.times_s[-1])


def thinned(window: Window) -> Window:
    """Return a window of at most ``MOST_ROWS`` rows, spread evenly over it.

    Raises:
        NotEnoughData: Fewer than 100 rows.
    """
    if window.n_rows < LEAST_ROWS:
        raise NotEnoughData("A drift reference", window.n_rows, LEAST_ROWS)
    if window.n_rows <= MOST_ROWS:
        return window
    return window.rows(np.arange(MOST_ROWS) * window.n_rows // MOST_ROWS)


def pack_window(window: Window) -> tuple[str, str]:
    """Return a window as text, and the SHA-256 of its content (hex)."""
    content = orjson.dumps(
        {
            "schema": SCHEMA,
            "model_version": window.model_version,
            "times_s": _packed(window.times_s),
            "columns": [
                {
                    "name": each.name,
                    "kind": each.kind,
                    "group": each.group,
                    "values": _packed(each.values),
                    "categories": each.categories,
                }
                for each in window.columns
            ],
            "outcomes": {
                name: None if (found := getattr(window, name)) is None else _packed(found)
                for name in OUTCOMES
            },
            "segments": window.segments,
        }
    )
    return base64.b64encode(zlib.compress(content)).decode(), hashlib.sha256(content).hexdigest()


def unpack_window(text: str, digest: str, *, source: str) -> Window:
    """Return the window that ``pack_window`` wrote.

    Raises:
        CorruptArtifact: It was changed, or is of another form.
    """
    try:
        content = zlib.decompress(base64.b64decode(text, validate=True))
        if hashlib.sha256(content).hexdigest() != digest:
            raise CorruptArtifact(source, "its content does not have the digest it was kept under")
        fields = orjson.loads(content)
        if fields["schema"] != SCHEMA:
            raise CorruptArtifact(source, f"schema {fields['schema']!r}; {SCHEMA!r} is read")
        return _window(fields)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise CorruptArtifact(source, f"not a drift reference ({error})") from error


def _window(fields: Mapping[str, Any]) -> Window:
    return Window(
        _unpacked(fields["times_s"]),
        tuple(
            Column(
                each["name"],
                each["kind"],
                each["group"],
                _unpacked(each["values"]),
                tuple(each["categories"]),
            )
            for each in fields["columns"]
        ),
        fields["model_version"],
        **{
            name: None if text is None else _unpacked(text)
            for name, text in fields["outcomes"].items()
        },
        segments={name: tuple(groups) for name, groups in fields["segments"].items()},
    )


def _packed(values: Float[np.ndarray, " n"]) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f8").tobytes()).decode()


def _unpacked(text: str) -> Float[np.ndarray, " n"]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f8").astype(np.float64)
