"""``/livez`` and ``/readyz``."""

from typing import Literal

from glassbox.wire.shapes import Answered


class HealthAnswered(Answered):
    """How the server is."""

    status: Literal["alive", "ready"]
    """`alive` answers; `ready` takes requests."""
