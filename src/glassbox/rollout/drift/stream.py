"""Changes in a stream that is looked at with every value, without a schedule or a window to choose.

Two ways. ``MeanWatch`` knows what the mean ought to be and says when it is not: its promise holds
however often one looks. ``adwin`` knows nothing beforehand and finds the place of a change by
itself (river, extra ``drift``). Neither knows what the values are.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from glassbox.errors import DependencyMissing, InvalidValue
from glassbox.stats.checking import checked_fraction
from glassbox.stats.intervals import Interval
from glassbox.stats.sequential.means import BoundedMean

ALPHA: Final = 0.05
"""Probability of ever crying while the mean is where the reference has it."""

LOOK_EVERY: Final = 16
"""Values between two looks; the promise holds at any number of looks."""

RESTARTS: Final = 2.0
"""A new tally begins each time the number of values has doubled, so that a long good past does
not hide what comes: the last tally holds at least half of the values."""


@dataclass(frozen=True)
class Change:
    """A change that was found."""

    n: int
    """Values seen until then."""
    mean: float
    """Mean of the values since the tally that shows it began."""
    low: float
    """Lower end of what the mean can be."""
    high: float
    """Upper end."""


class ChangeDetector(Protocol):
    """Takes values one by one."""

    def update(self, value: float) -> bool:
        """Return whether a change was found at this value."""
        ...


class MeanWatch:
    """Watches whether the mean of values in [0, 1] stays where the reference had it.

    Several tallies run, begun at 1, 2, 4, 8, … values; tally k has the share alpha / (k (k + 1)) of
    the promise, and these add up to less than alpha. A change is called out once one of them leaves
    no room for any mean within the reference's interval, widened by the tolerance.

    Args:
        reference: Mean of the reference with its interval.
        tolerance: Change of the mean that does not count.
        alpha: Probability of ever calling out a change while the mean is within the reference's
            interval, in (0, 1).

    Raises:
        InvalidValue: A reference outside [0, 1], a negative tolerance, or alpha outside (0, 1).

    Source: tallies by betting, Waudby-Smith & Ramdas 2023; starting anew, Shekhar & Ramdas 2023,
    arXiv 2309.09111.
    """

    def __init__(
        self, reference: Interval, *, tolerance: float = 0.0, alpha: float = ALPHA
    ) -> None:
        if not 0 <= reference.low <= reference.high <= 1:
            raise InvalidValue("reference", reference, "an interval in [0, 1]")
        if tolerance < 0:
            raise InvalidValue("tolerance", tolerance, "a number of at least 0")
        self._low = reference.low - tolerance
        self._high = reference.high + tolerance
        self._alpha = checked_fraction("alpha", alpha)
        self._tallies: list[BoundedMean] = []
        self._n = 0
        self.change: Change | None = None

    @property
    def n(self) -> int:
        """Values so far."""
        return self._n

    def update(self, value: float) -> bool:
        """Return whether a change has been found, now or before.

        Raises:
            InvalidData: NaN.
        """
        if self._n == 0 or self._n >= RESTARTS ** len(self._tallies):
            self._tallies.append(BoundedMean(1.0))
        for tally in self._tallies:
            tally.add(value)
        self._n += 1
        if self.change is None and self._n % LOOK_EVERY == 0:
            self.change = self._look()
        return self.change is not None

    def _look(self) -> Change | None:
        for place, tally in enumerate(self._tallies, 1):
            # A one-sided test on each side takes half of the tally's share.
            share = self._alpha / (place * (place + 1)) / 2
            if self._is_beyond(tally, -math.log(share)):
                return Change(self._n, tally.mean, tally.lower(share), tally.upper(share))
        return None

    def _is_beyond(self, tally: BoundedMean, coins: float) -> bool:
        """Return whether a tally has won as many coins (logarithm) against either bound."""
        if self._low > 0 and tally.log_coins_below(np.array([self._low]))[0] >= coins:
            return True
        return self._high < 1 and bool(tally.log_coins_above(np.array([self._high]))[0] >= coins)


def adwin(*, delta: float = 0.002) -> ChangeDetector:
    """Return a detector that keeps a window as long as it is all of one piece.

    Args:
        delta: Bound on false alarms at one look; river's own default.

    Raises:
        DependencyMissing: river is not installed.

    Source: Bifet & Gavaldà 2007, Learning from time-changing data with adaptive windowing.
    """
    try:
        from river import drift
    except ModuleNotFoundError as error:
        raise DependencyMissing("river", "drift") from error
    make: Any = drift.ADWIN
    return _Adwin(make(delta=checked_fraction("delta", delta)))


class _Adwin:
    def __init__(self, detector: Any) -> None:
        self._detector = detector

    def update(self, value: float) -> bool:
        """Return whether the window was cut at this value."""
        self._detector.update(value)
        return bool(self._detector.drift_detected)
