"""``/api/v2/models/alerts``: which rules fire, and who was told."""

from typing import Literal

from pydantic import Field

from glassbox.wire.shapes import Absent, Answered


class FiringAnswered(Answered):
    """A rule whose condition holds."""

    rule: str
    """Its name."""
    signal: str
    """Path of the number that it looks at, as `summary.success_rate`."""
    severity: Literal["info", "warn", "error"]
    """How bad it is."""
    since_s: float
    """Unix time since which it holds."""
    value: float | None
    """What is measured now."""
    limit: float | None
    """What it is compared with."""
    summary: str
    """In words."""


class DeliveryAnswered(Answered):
    """One receiver of one message."""

    receiver: str
    """Its name."""
    attempts: int
    """Times that it was tried."""
    delivered_s: float | None
    """Unix time at which it was taken; null where it was not yet."""
    last_error: str | None
    """Why the last attempt failed; null where none did."""
    gave_up_s: float | None = Absent
    """Unix time from which it is not tried any more."""


class AlertMessageAnswered(Answered):
    """One message: a rule began to hold, or ceased to."""

    id: str
    """Names it; the same however often it is delivered."""
    rule: str
    """Rule."""
    signal: str | None = Absent
    """Path of the number."""
    severity: Literal["info", "warn", "error"] | None = Absent
    """How bad it is."""
    state: Literal["firing", "resolved"]
    """Which of the two."""
    time_s: float
    """Unix time."""
    value: float | None = Absent
    """What was measured."""
    summary: str | None = Absent
    """In words."""
    delivered: list[DeliveryAnswered]
    """Who was told."""


class AlertsAnswered(Answered):
    """Where things stand."""

    firing: list[FiringAnswered]
    """Rules whose condition holds."""
    history: list[AlertMessageAnswered]
    """Messages, newest first."""
    waiting: dict[str, int] = Field(default_factory=dict)
    """Messages that each receiver has not taken yet."""
