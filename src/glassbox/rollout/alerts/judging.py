"""When an alert begins and when it is over: one step of one alert, a pure function.

Edges alone are told. An alert begins once its value has been beyond the limit for as long as the
rule says, and is over once it has been back for as long as the rule says. What cannot be judged
changes nothing, unless it goes on for an hour. Of several servers some may see alone what is wrong,
because it is wrong with them: the others do not end it at once. Knows no database and no clock.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final, Literal

from glassbox.rollout.alerts.messages import AlertState
from glassbox.rollout.alerts.rules import AlertRule

UNREPORTED_S: Final = 3600.0
"""Seconds without a value after which an alert that fires is over."""

ELSEWHERE_S: Final = 60.0
"""Shortest time after which a server ends what it never saw itself, in seconds."""

ELSEWHERE_LOOKS: Final = 3.0
"""Looks that whoever saw it gets to see it again; then it is taken to be gone."""

Phase = Literal["pending", "firing"]
"""Beyond the limit but not for long enough, or told."""


@dataclass(frozen=True)
class AlertStanding:
    """Where one alert stands; there is none for what is well."""

    phase: Phase
    """Whether it is told."""
    since_s: float
    """Unix time at which this phase began."""
    quiet_since_s: float | None = None
    """Unix time since which a told one is back within its limit or not reported, if it is; of one
    that is not told, since which only others than those who saw it have looked."""


@dataclass(frozen=True)
class Step:
    """What one look does to one alert."""

    standing: AlertStanding | None
    """Where it stands now; None is well."""
    edge: AlertState | None = None
    """What is to be told, if anything."""
    since_s: float = 0.0
    """When what is told began to fire."""


def step(
    rule: AlertRule,
    standing: AlertStanding | None,
    is_beyond: bool | None,
    now_s: float,
    *,
    least_quiet_s: float = 0.0,
) -> Step:
    """Return what one look does to an alert.

    Args:
        rule: Its rule.
        standing: Where it stands.
        is_beyond: Whether the value is beyond the limit; None where that is not to be said.
        now_s: Unix time.
        least_quiet_s: Seconds of quiet without which it is not over, whatever the rule says.
    """
    if standing is None:
        if not is_beyond:
            return Step(None)
        standing = AlertStanding("pending", now_s)
    if standing.since_s > now_s and standing.phase == "pending":
        # The clock was set back: time begins anew rather than never to pass.
        standing = replace(standing, since_s=now_s)
    if standing.phase == "firing":
        return _firing(standing, is_beyond, now_s, max(least_quiet_s, rule.keep_firing_for_s))
    if is_beyond is False:
        quiet_s = _quiet_since(standing, now_s)
        if now_s - quiet_s >= least_quiet_s:
            return Step(None)
        return Step(replace(standing, quiet_since_s=quiet_s))
    if is_beyond and now_s - standing.since_s >= rule.for_s:
        return Step(AlertStanding("firing", now_s), "firing", now_s)
    return Step(replace(standing, quiet_since_s=None) if is_beyond else standing)


def elsewhere_s(interval_s: float) -> float:
    """Return the seconds of quiet after which a server ends what it never saw itself.

    Whoever saw it has looked again by then, or is gone.

    Args:
        interval_s: Seconds between two looks of each server.
    """
    return max(ELSEWHERE_S, ELSEWHERE_LOOKS * interval_s)


def _firing(standing: AlertStanding, is_beyond: bool | None, now_s: float, enough_s: float) -> Step:
    if is_beyond:
        return Step(replace(standing, quiet_since_s=None))
    quiet_s = _quiet_since(standing, now_s)
    if is_beyond is None:
        enough_s = max(enough_s, UNREPORTED_S)
    if now_s - quiet_s >= enough_s:
        return Step(None, "resolved", standing.since_s)
    return Step(replace(standing, quiet_since_s=quiet_s))


def _quiet_since(standing: AlertStanding, now_s: float) -> float:
    return min(now_s if standing.quiet_since_s is None else standing.quiet_since_s, now_s)


class Increases:
    """How much counters grew of late; begins anew with every process."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, float], deque[tuple[float, float, float]]] = {}

    def grown(self, signal: str, value: float, over_s: float, now_s: float) -> float:
        """Return how much a counter grew in the last seconds; one that fell began anew at 0."""
        seen = self._seen.setdefault((signal, over_s), deque())
        total = 0.0
        if seen:
            _, last, total = seen[-1]
            total += value - last if value >= last else value
        seen.append((now_s, value, total))
        # One look from before the window stays: growth is counted from there.
        while len(seen) > 1 and seen[1][0] <= now_s - over_s:
            seen.popleft()
        return total - seen[0][2]
