"""What one server has counted, as a value that adds up: the sum over servers is the fleet's.

Pure but for reading the counters. Values that another version of Glassbox wrote are read as far as
they are understood.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from glassbox.wire.invocation_attributes import INVOCATIONS

NameOf = Callable[[Mapping[str, str]], str]
"""Makes a name of a sample's labels; an empty one is not counted."""

PREFIXES: Final = ("/v1/", "/api/", INVOCATIONS)
"""Routes that do work; others hand out pages, or are asked by machines all the time."""

WATCHED: Final = frozenset({"/v1/fleet", "/api/v2/models/events"})
"""Routes below them by which people watch: not counted, a stream of events lasts for hours."""


@dataclass(frozen=True)
class Buckets:
    """A histogram of durations in seconds."""

    edges: tuple[float, ...]
    """Upper edges, ascending; a last bucket without edge follows."""
    counts: tuple[int, ...]
    """Observations in each bucket, one more than edges."""
    total_s: float = 0.0
    """Sum of all observations."""

    def __add__(self, other: "Buckets") -> "Buckets":
        """Return both together, with the edges that both have: their counts are exact."""
        edges = tuple(sorted(set(self.edges) & set(other.edges)))
        below = [a + b for a, b in zip(self._below(edges), other._below(edges), strict=True)]
        counts = tuple(after - before for before, after in pairwise([0, *below]))
        return Buckets(edges, counts, self.total_s + other.total_s)

    def quantile(self, share: float) -> float | None:
        """Return the duration that a share of all is at most, None without observations.

        Linear within a bucket; the last edge where it lies behind that. Source: Prometheus,
        query functions, ``histogram_quantile``.

        Args:
            share: In [0, 1].
        """
        n = sum(self.counts)
        if not n or not self.edges:
            return None
        rank, before, low = share * n, 0, 0.0
        for edge, count in zip(self.edges, self.counts, strict=False):
            if count and before + count >= rank:
                return low + (edge - low) * (rank - before) / count
            before, low = before + count, edge
        return self.edges[-1]

    def _below(self, edges: Sequence[float]) -> list[int]:
        so_far = list(accumulate(self.counts))
        at = dict(zip(self.edges, so_far, strict=False))
        return [*(at[edge] for edge in edges), so_far[-1]]


@dataclass(frozen=True)
class Counters:
    """What was counted."""

    numbers: Mapping[str, int] = field(default_factory=dict)
    """Counts by name: the kind, and behind bars what it is counted by."""
    durations: Mapping[str, Buckets] = field(default_factory=dict)
    """Histograms by name, likewise."""

    def __add__(self, other: "Counters") -> "Counters":
        """Return both together."""
        numbers = dict(self.numbers)
        for name, value in other.numbers.items():
            numbers[name] = numbers.get(name, 0) + value
        durations = dict(self.durations)
        for name, buckets in other.durations.items():
            durations[name] = durations[name] + buckets if name in durations else buckets
        return Counters(numbers, durations)

    @property
    def n_requests(self) -> int:
        """API requests answered."""
        return sum(self.of("requests").values())

    def of(self, kind: str) -> dict[str, int]:
        """Return the counts of one kind, by what they are counted by."""
        start = f"{kind}|"
        return {
            name.removeprefix(start): value
            for name, value in self.numbers.items()
            if name.startswith(start)
        }

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "numbers": dict(self.numbers),
            "durations": {
                name: {
                    "edges": list(each.edges),
                    "counts": list(each.counts),
                    "total_s": each.total_s,
                }
                for name, each in self.durations.items()
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Counters":
        """Return what ``to_json`` gave."""
        return cls(
            {name: int(each) for name, each in value.get("numbers", {}).items()},
            {
                name: Buckets(tuple(each["edges"]), tuple(each["counts"]), float(each["total_s"]))
                for name, each in value.get("durations", {}).items()
            },
        )


def added(all_of_them: Iterable[Counters]) -> Counters:
    """Return all of them together."""
    return reduce(Counters.__add__, all_of_them, Counters())


def since(now: Counters, then: Counters) -> Counters:
    """Return what was counted after a moment.

    Args:
        now: Everything.
        then: What had been counted at that moment, by the same server.
    """
    numbers = {name: value - then.numbers.get(name, 0) for name, value in now.numbers.items()}
    durations = {
        name: each + _negative(then.durations[name]) if name in then.durations else each
        for name, each in now.durations.items()
    }
    return Counters(numbers, durations)


def read_counters(registry: CollectorRegistry) -> Counters:
    """Return what a server's counters say now."""
    numbers: defaultdict[str, int] = defaultdict(int)
    durations: dict[str, Buckets] = {}
    for family in registry.collect():
        read = _NUMBERS.get(family.name)
        if read is not None:
            for sample in family.samples:
                if sample.name.endswith("_total") and (name := read(sample.labels)):
                    numbers[name] += round(sample.value)
        name_of = _DURATIONS.get(family.name)
        if name_of is not None:
            for name, buckets in _histograms(family, name_of):
                durations[name] = durations[name] + buckets if name in durations else buckets
    return Counters(dict(numbers), durations)


def _is_work(route: str) -> bool:
    return route.startswith(PREFIXES) and route not in WATCHED


def _of_request(labels: Mapping[str, str]) -> str:
    return f"requests|{labels['status'][:1]}xx" if _is_work(labels["route"]) else ""


def _of_prediction(labels: Mapping[str, str]) -> str:
    kinds = {"primary": "predictions", "shadow": "shadows"}
    kind = kinds.get(labels["role"])
    return f"{kind}|{labels['status']}|{labels['model_version']}" if kind else ""


_NUMBERS: Final[dict[str, NameOf]] = {
    "glassbox:http_requests": _of_request,
    "glassbox:prompt_tokens": lambda _labels: "prompt_tokens",
    "glassbox:generation_tokens": lambda _labels: "generation_tokens",
    "glassbox:inference_requests": _of_prediction,
    "glassbox:inference_labels": lambda _labels: "labels",
}
"""Names of counts by family."""

_DURATIONS: Final[dict[str, NameOf]] = {
    "glassbox:http_request_duration_seconds": lambda labels: (
        "request" if _is_work(labels["route"]) else ""
    ),
    "glassbox:inference_latency_seconds": lambda labels: (
        f"prediction|{labels['model_version']}" if labels["role"] == "primary" else ""
    ),
}
"""Names of histograms by family."""


def _histograms(family: Metric, name_of: NameOf) -> Iterable[tuple[str, Buckets]]:
    below: defaultdict[str, dict[float, int]] = defaultdict(dict)
    totals: defaultdict[str, float] = defaultdict(float)
    for sample in family.samples:
        name = name_of(sample.labels)
        if not name:
            continue
        # Several routes have one name: their cumulative counts add up edge by edge.
        if sample.name.endswith("_bucket"):
            edge = float(sample.labels["le"])
            below[name][edge] = below[name].get(edge, 0) + round(sample.value)
        elif sample.name.endswith("_sum"):
            totals[name] += sample.value
    for name, cumulative in below.items():
        ordered = sorted(cumulative)
        so_far = [cumulative[edge] for edge in ordered]
        counts = (after - before for before, after in pairwise([0, *so_far]))
        yield name, Buckets(tuple(ordered[:-1]), tuple(counts), totals[name])


def _negative(buckets: Buckets) -> Buckets:
    return Buckets(buckets.edges, tuple(-each for each in buckets.counts), -buckets.total_s)
