"""What a window of predictions says: level, spread, confidence, challengers, groups.

Every number is computed anew from the requests held, so that it is exact whatever came and went.
A number that nothing speaks for is None, never NaN and never 0. Values that are not finite are
left out of means and counted where the spec counts them. Knows neither ring nor storage.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from glassbox.audit.records import InferenceRecord, LabelEvent, PrimaryEvent, ShadowEvent
from glassbox.stats.drift.shadow_difference import DifferenceSummary, summarise_differences

CONFIDENCE_BINS: Final = ("0.0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1.0")
"""Names of the bins; each holds its lower edge, the last one both."""

MOST_GROUPS: Final = 50
"""Values of one segment that are told apart; the rest is one group."""

OTHER_VALUES: Final = "(other values)"
"""Name of that group."""


@dataclass(slots=True, eq=False)
class Entry:
    """One request of a window, as far as it has come."""

    primary: PrimaryEvent
    """What was answered."""
    sequence: int = 0
    """Place in the durable log; 0 where it is not there yet."""
    shadows_expected: int = 0
    """Challengers that got a copy."""
    shadows: tuple[ShadowEvent, ...] = ()
    """Those that have ended."""
    label: LabelEvent | None = None
    """The truth, where it is known."""

    @property
    def n_awaited(self) -> int:
        """Challengers that got a copy and have not ended yet."""
        n_ended = sum(each.role == "challenger" for each in self.shadows)
        return max(0, self.shadows_expected - n_ended)

    def record(self) -> InferenceRecord:
        """Return it as a record."""
        return InferenceRecord(self.primary, self.shadows, self.label, self.sequence)

    def copy(self) -> "Entry":
        """Return one that does not change any more."""
        return Entry(self.primary, self.sequence, self.shadows_expected, self.shadows, self.label)


@dataclass(frozen=True)
class Percentiles:
    """Latencies in milliseconds, by linear interpolation; None where there are none."""

    p50: float | None = None
    """Median."""
    p90: float | None = None
    """90th percentile."""
    p95: float | None = None
    """95th percentile."""
    p99: float | None = None
    """99th percentile."""


@dataclass(frozen=True)
class Group:
    """The requests of one version, or of one value of a segment."""

    value: str
    """The version's name, or the value."""
    count: int
    """Requests."""
    avg_latency_ms: float | None
    """Mean milliseconds."""
    prediction_mean: float | None
    """Mean of the answers."""
    success_rate: float | None
    """Share that was answered, [0, 1]."""
    error_count: int
    """Those that were not."""


@dataclass(frozen=True)
class Summary:
    """The window's numbers."""

    rolling_count: int
    """Requests in the window."""
    avg_latency_ms: float | None
    """Mean milliseconds that the version took, failures among them."""
    latency_percentiles_ms: Percentiles
    """Spread of the same."""
    prediction_mean: float | None
    """Mean of the answers."""
    success_rate: float | None
    """Share that was answered, [0, 1]."""
    error_count: int
    """Requests that were not."""
    confidence_histogram: Mapping[str, int]
    """Answers in each bin of confidence."""
    n_without_confidence: int
    """Answers outside the bins: without a confidence, or with NaN or one outside [0, 1]."""
    shadow_avg_diff: float | None
    """Mean difference of challengers that ended well."""
    shadow_min_diff: float | None
    """The smallest."""
    shadow_max_diff: float | None
    """The largest."""
    differences: DifferenceSummary | None
    """Their recent level, histogram and outliers."""
    shadow_counts: Mapping[str, int]
    """Challengers' copies of the window by status, ``pending`` among them."""
    noise_floor: float | None
    """Mean difference of the champion to itself, where it was asked twice."""
    versions: tuple[Group, ...]
    """By version, most used first."""
    segments: Mapping[str, tuple[Group, ...]]
    """By the values of each segment, most used first."""
    lifetime: Mapping[str, int]
    """Counters since the process began: ``inferences``, ``errors``, ``labels``, ``shadow_ok``, …"""
    ring_utilisation: float
    """How full the window is, [0, 1]."""
    from_s: float | None
    """Unix time of the oldest request."""
    to_s: float | None
    """Unix time of the newest."""


def summarise(
    entries: Sequence[Entry],
    *,
    lifetime: Mapping[str, int] | None = None,
    ring_utilisation: float = 0.0,
) -> Summary:
    """Return the numbers of a window.

    Args:
        entries: Its requests, oldest first.
        lifetime: Counters that are handed on.
        ring_utilisation: How full the window is, handed on.
    """
    primaries = [entry.primary for entry in entries]
    latencies = np.array([each.latency_ms for each in primaries])
    answered = [each for each in primaries if each.status == "success"]
    histogram, n_without = _confidences(answered)
    differences = _differences(entries, "challenger")
    found = summarise_differences(differences) if differences.size else None
    noise = _differences(entries, "noise_floor")
    times = [each.time_s for each in primaries]
    return Summary(
        rolling_count=len(entries),
        avg_latency_ms=_mean(latencies),
        latency_percentiles_ms=_percentiles(latencies),
        prediction_mean=_mean(_predictions(answered)),
        success_rate=len(answered) / len(entries) if entries else None,
        error_count=len(entries) - len(answered),
        confidence_histogram=histogram,
        n_without_confidence=n_without,
        shadow_avg_diff=None if found is None else found.mean,
        shadow_min_diff=None if found is None else found.least,
        shadow_max_diff=None if found is None else found.largest,
        differences=found,
        shadow_counts=_shadow_counts(entries),
        noise_floor=_mean(noise),
        versions=_groups(primaries, lambda each: each.model_version),
        segments=_segments(primaries),
        lifetime=lifetime or {},
        ring_utilisation=ring_utilisation,
        from_s=min(times, default=None),
        to_s=max(times, default=None),
    )


def _confidences(answered: Sequence[PrimaryEvent]) -> tuple[dict[str, int], int]:
    values = np.array(
        [math.nan if each.confidence is None else each.confidence for each in answered]
    )
    inside = values[(values >= 0.0) & (values <= 1.0)]
    counts = np.histogram(inside, bins=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0))[0]
    histogram = dict(zip(CONFIDENCE_BINS, counts.tolist(), strict=True))
    return histogram, values.size - inside.size


def _differences(entries: Sequence[Entry], role: str) -> np.ndarray:
    found = [
        shadow.diff
        for entry in entries
        for shadow in entry.shadows
        if shadow.role == role and shadow.diff is not None and 0.0 <= shadow.diff < math.inf
    ]
    return np.array(found, dtype=np.float64)


def _shadow_counts(entries: Sequence[Entry]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for entry in entries:
        n_ended = 0
        for shadow in entry.shadows:
            if shadow.role == "challenger":
                counts[shadow.status] += 1
                n_ended += 1
        # As ``n_awaited``, without going through them once more: a full window takes milliseconds.
        counts["pending"] += max(0, entry.shadows_expected - n_ended)
    return dict(counts)


def _segments(primaries: Sequence[PrimaryEvent]) -> dict[str, tuple[Group, ...]]:
    names = sorted({name for each in primaries for name in each.segments})
    return {
        name: _groups(
            [each for each in primaries if name in each.segments],
            lambda each, name=name: each.segments[name],  # type: ignore[misc]
        )
        for name in names
    }


def _groups(
    primaries: Sequence[PrimaryEvent], value_of: Callable[[PrimaryEvent], str]
) -> tuple[Group, ...]:
    members: dict[str, list[PrimaryEvent]] = {}
    for each in primaries:
        members.setdefault(value_of(each), []).append(each)
    ordered = sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
    groups = [_group(value, those) for value, those in ordered[:MOST_GROUPS]]
    rest = [each for _, those in ordered[MOST_GROUPS:] for each in those]
    return (*groups, _group(OTHER_VALUES, rest)) if rest else tuple(groups)


def _group(value: str, primaries: Sequence[PrimaryEvent]) -> Group:
    answered = [each for each in primaries if each.status == "success"]
    return Group(
        value=value,
        count=len(primaries),
        avg_latency_ms=_mean(np.array([each.latency_ms for each in primaries])),
        prediction_mean=_mean(_predictions(answered)),
        success_rate=len(answered) / len(primaries),
        error_count=len(primaries) - len(answered),
    )


def _predictions(answered: Sequence[PrimaryEvent]) -> np.ndarray:
    found = [each.prediction for each in answered if each.prediction is not None]
    return np.array(found, dtype=np.float64)


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def _percentiles(latencies: np.ndarray) -> Percentiles:
    finite = latencies[np.isfinite(latencies)]
    if not finite.size:
        return Percentiles()
    return Percentiles(*(float(each) for each in np.percentile(finite, (50, 90, 95, 99))))
