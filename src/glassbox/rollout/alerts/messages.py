"""What is told: an alert that began or is over, and what became of telling it.

Values alone; knows neither rules nor receivers' addresses.
"""

from dataclasses import dataclass
from typing import Literal

from glassbox.rollout.alerts.rules import Severity

AlertState = Literal["firing", "resolved"]
"""Whether an alert began or is over."""


@dataclass(frozen=True)
class FiringAlert:
    """An alert that has begun and is not over."""

    rule: str
    """Name of the rule."""
    signal: str
    """Path of the number."""
    severity: Severity
    """How bad it is."""
    since_s: float
    """Unix time at which it began to fire."""
    value: float | None
    """The number: of the last look where this process has looked, else as it began."""
    limit: float
    """What it is on the wrong side of."""
    summary: str
    """All of this in a sentence."""


@dataclass(frozen=True)
class Delivery:
    """What became of a message at one receiver."""

    receiver: str
    """Name of the receiver."""
    attempts: int
    """How often it was tried."""
    delivered_s: float | None
    """Unix time at which the receiver took it; None if it has not."""
    last_error: str
    """What went wrong last; empty where nothing did. Holds no secret."""
    gave_up_s: float | None = None
    """Unix time from which it is not tried any more; None while it is."""


@dataclass(frozen=True)
class AlertMessage:
    """Something that receivers are told, once."""

    id: str
    """Unique; a receiver that has seen it has seen this message."""
    rule: str
    """Name of the rule."""
    signal: str
    """Path of the number."""
    state: AlertState
    """Whether it began or is over."""
    severity: Severity
    """How bad it is."""
    time_s: float
    """Unix time of the message."""
    since_s: float
    """Unix time at which the alert began to fire."""
    value: float | None
    """The number; None where it is not reported any more."""
    limit: float
    """What it was on the wrong side of."""
    summary: str
    """All of this in a sentence."""
    delivered: tuple[Delivery, ...] = ()
    """What became of it, by receiver."""
