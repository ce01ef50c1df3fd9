"""Means that may be looked at after every observation: bounds that hold at all times at once.

A bound comes from betting. Against the claim that a mean is at least m a gambler starts with one
coin and stakes a fixed share of it on every observation being smaller; were the claim true, the
coins would only reach 1/alpha with probability alpha, ever. Several stakes are played side by
side and their coins added up, so that none has to be chosen. What is kept of the observations is a
tally on fixed places: its size never grows, and it does not depend on their order.

Observations must be bounded, and each one's expectation given those before it must be the mean in
question; whether they are is not known here.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from glassbox.errors import CorruptArtifact, InvalidData, InvalidValue
from glassbox.stats.checking import checked_fraction

N_PLACES: Final = 101
"""Places of a tally; odd, so that zero is one of them where the range is symmetric."""

STAKES: Final[Float[np.ndarray, " stakes"]] = np.append(0.95 / 1.6 ** np.arange(16), 0.0)
"""Shares of the coins at risk, of what could be lost at once. Two neighbours are near enough that
the best stake between them gains at most 6 % more. Measured: ``benchmarks/rollouts.py``."""

SAVED: Final = 0.2
"""Part of the first coin that is never at risk: of two tallies, one may have nothing to tell."""

_WEIGHTS: Final[Float[np.ndarray, " stakes"]] = (2.0 + np.arange(16)) ** -1.5
LOG_WEIGHTS: Final[Float[np.ndarray, " stakes"]] = np.log(
    np.append((1 - SAVED) * _WEIGHTS / _WEIGHTS.sum(), SAVED)
)
"""Logarithm of each stake's part of the first coin: high stakes decide the easy cases early."""

PRECISION: Final = 1e-5
"""Width, as a share of the range, to which a bound is found; it is rounded outwards."""

LEAST_ROOM: Final = 1e-12
"""What could be lost at once is taken to be at least this."""

Coins = Callable[[Float[np.ndarray, " m"]], Float[np.ndarray, " m"]]
"""Returns the logarithm of the coins won against each of some claims."""


class BoundedMean:
    """A tally of observations in [0, high], or in [-high, high], and what it says of their mean.

    An observation between two places is shared out so that the mean stays exact. A gambler's
    logarithm is concave, so the coins come out smaller than they were, never larger.

    Args:
        high: Largest observation.
        is_signed: Whether the smallest is ``-high`` and not 0.
    """

    def __init__(self, high: float = 1.0, *, is_signed: bool = False) -> None:
        if not 0 < high < math.inf:
            raise InvalidValue("high", high, "a finite number above 0")
        self.high = float(high)
        self.is_signed = is_signed
        self._weights = [0.0] * N_PLACES
        self._n = 0
        self._first = 0.0
        self._second = 0.0

    @property
    def low(self) -> float:
        """Smallest observation allowed."""
        return -self.high if self.is_signed else 0.0

    @property
    def n(self) -> int:
        """Observations so far."""
        return self._n

    @property
    def mean(self) -> float:
        """Mean of the observations; NaN without any."""
        return self._first / self._n if self._n else math.nan

    @property
    def variance(self) -> float:
        """Variance of the observations, never below 0; NaN without any."""
        return max(self._second / self._n - self.mean**2, 0.0) if self._n else math.nan

    def add(self, value: float) -> None:
        """Count one observation; one beyond the range counts as the end that it is beyond.

        Raises:
            InvalidData: NaN.
        """
        self.add_many(value, 1)

    def add_many(self, value: float, n: int) -> None:
        """Count n observations of the same value. Raises as ``add`` does."""
        if math.isnan(value):
            raise InvalidData("an observation is NaN; only numbers can be averaged")
        value = min(max(float(value), self.low), self.high)
        # The places are squares of evenly spaced numbers, so that they are close near zero.
        root = math.copysign(math.sqrt(abs(value) / self.high), value)
        half = (N_PLACES - 1) / 2 if self.is_signed else N_PLACES - 1
        place = min(int((root + self.is_signed) * half), N_PLACES - 2)
        places = _places(self.high, is_signed=self.is_signed)
        below, above = places[place], places[place + 1]
        share = min(max((value - below) / (above - below), 0.0), 1.0)
        self._weights[place] += n * (1.0 - share)
        self._weights[place + 1] += n * share
        self._n += n
        self._first += n * value
        self._second += n * value * value

    def extend(self, values: Iterable[float]) -> None:
        """Count several observations."""
        for each in values:
            self.add(each)

    def log_coins_below(self, means: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Return, for each of some means, the log of the coins won against "it is at least this".

        They never shrink as the mean grows. Infinite beyond the upper end of the range.

        Source: Waudby-Smith & Ramdas 2023, JRSS B 86(1), section 4; fixed stakes are mixed as in
            section 5 of Robbins 1970, Annals of Mathematical Statistics 41(5).
        """
        places, weights = self._tally()
        return _log_coins(means, places, weights, self.high)

    def log_coins_above(self, means: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Return, for each of some means, the log of the coins won against "it is at most this".

        They never grow as the mean grows. Infinite below the lower end of the range.

        Source: as of ``log_coins_below``.
        """
        places, weights = self._tally()
        return _log_coins(-means, -places, weights, -self.low)

    def upper(self, alpha: float) -> float:
        """Return a number that the mean ever exceeds, at any look, with probability alpha at most.

        Raises:
            InvalidValue: alpha outside (0, 1).
        """
        return lowest_mean(self.log_coins_below, self.low, self.high, alpha)

    def lower(self, alpha: float) -> float:
        """Return a number that the mean ever is below, at any look, at most with probability alpha.

        Raises:
            InvalidValue: alpha outside (0, 1).
        """
        return -lowest_mean(
            lambda means: self.log_coins_above(-means), -self.high, -self.low, alpha
        )

    def to_json(self) -> dict[str, Any]:
        """Return the tally as plain values."""
        return {
            "high": self.high,
            "is_signed": self.is_signed,
            "n": self._n,
            "first": self._first,
            "second": self._second,
            "weights": {str(i): each for i, each in enumerate(self._weights) if each},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "BoundedMean":
        """Return the tally that ``to_json`` gave.

        Raises:
            CorruptArtifact: It is none.
        """
        try:
            tally = cls(float(value["high"]), is_signed=bool(value["is_signed"]))
            tally._n = int(value["n"])
            tally._first, tally._second = float(value["first"]), float(value["second"])
            for place, weight in value["weights"].items():
                tally._weights[int(place)] = float(weight)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise CorruptArtifact("a tally of observations", f"not readable: {error!r}") from error
        return tally

    def _tally(self) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
        weights = np.asarray(self._weights)
        used = weights > 0
        return np.asarray(_places(self.high, is_signed=self.is_signed))[used], weights[used]


@dataclass(frozen=True)
class Bounds:
    """A figure that is watched, and the range that is left open for it."""

    value: float
    """The figure as it stands; NaN without observations."""
    low: float
    """The truth is ever below with probability alpha at most."""
    high: float
    """The truth is ever above with probability alpha at most."""


def mean_bounds(tally: BoundedMean, alpha_low: float, alpha_high: float) -> Bounds:
    """Return a mean with one-sided bounds on both sides, each with a promise of its own.

    Raises:
        InvalidValue: An alpha outside (0, 1).
    """
    if not tally.n:
        return Bounds(math.nan, tally.low, tally.high)
    return Bounds(tally.mean, tally.lower(alpha_low), tally.upper(alpha_high))


def normal_mixture_radius(variance_sum: float, *, alpha: float, tuned_for: float) -> float:
    """Return how far a sum may ever be from what it should be: a two-sided bound at all times.

    For sums of independent Gaussian terms, or terms with tails no heavier, it is exact; with an
    estimated variance it holds approximately, for large counts.

    Args:
        variance_sum: Sum of the terms' variances so far.
        alpha: Probability with which the sum ever leaves the bound, in (0, 1).
        tuned_for: Variance sum at which the bound shall be about tightest, above 0.

    Raises:
        InvalidValue: A value outside its range.

    Source: Howard, Ramdas, McAuliffe & Sekhon 2021, Annals of Statistics 49(2), equation 14.
    """
    checked_fraction("alpha", alpha)
    if not (tuned_for > 0 and variance_sum >= 0):
        raise InvalidValue("tuned_for", tuned_for, "above 0, with a variance_sum of at least 0")
    # Near the optimum of the bound at that variance sum, ibid. proposition 3.
    spread = tuned_for / (2 * math.log(1 / alpha) + math.log(1 + 2 * math.log(1 / alpha)))
    total = variance_sum + spread
    return math.sqrt(total * math.log(total / (spread * alpha**2)))


def _places(high: float, *, is_signed: bool) -> Sequence[float]:
    key = (high, is_signed)
    if key not in _PLACES:
        roots = np.linspace(-1.0 if is_signed else 0.0, 1.0, N_PLACES)
        _PLACES[key] = (np.sign(roots) * roots**2 * high).tolist()
    return _PLACES[key]


_PLACES: Final[dict[tuple[float, bool], list[float]]] = {}


def _log_coins(
    means: Float[np.ndarray, " m"],
    places: Float[np.ndarray, " p"],
    weights: Float[np.ndarray, " p"],
    high: float,
) -> Float[np.ndarray, " m"]:
    # The mean may be the very end of the range: only what lies inside it speaks against that.
    is_open = means <= high
    room = np.maximum(high - means[is_open], LEAST_ROOM)
    gain = (high - room[:, None] - places[None, :]) / room[:, None]
    # A claim below the range is true: no observation can speak against it, and none is counted.
    won = np.log1p(STAKES[None, :, None] * np.maximum(gain, -1.0)[:, None, :]) @ weights
    found = np.full(means.shape, np.inf)
    found[is_open] = np.logaddexp.reduce(won + LOG_WEIGHTS[None, :], axis=1)
    return found


def lowest_mean(coins: Coins, low: float, high: float, alpha: float, *, at_once: int = 8) -> float:
    """Return the lowest mean against which there are 1/alpha coins; they grow with the mean."""
    wanted = math.log(1 / checked_fraction("alpha", alpha))
    width = (high - low) * PRECISION
    while high - low > width:
        inner = np.linspace(low, high, at_once + 2)[1:-1]
        enough = np.flatnonzero(coins(inner) >= wanted)
        first = int(enough[0]) if enough.size else inner.size
        low, high = (
            float(inner[first - 1]) if first else low,
            float(inner[first]) if first < inner.size else high,
        )
    return high
