"""What is counted of predictions, and what is shown of audit, rollout, drift and alerts.

Counters and histograms follow each event of this process and cost a few microseconds. The rest
are the numbers of the server's own JSON answers as they were last assembled, a few seconds ago at
most: reading the metrics computes nothing and asks no database. Labels are versions, gates and
features, never requests.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from glassbox.audit.records import InferenceEvent, LabelEvent, PrimaryEvent, ShadowEvent
from glassbox.server.telemetry.gauges import SHOWN, Answers, Samples, Shown

ROLES: Final = {"challenger": "shadow", "noise_floor": "noise_floor"}
"""Roles of second answers as they are labelled; who answers the caller is ``primary``."""

_LATENCY_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    10.0,
)  # fmt: skip
_DIFFERENCE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
_CONFIDENCE = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class InferenceMetrics(Collector):
    """The counters and gauges of predictions of one server.

    Args:
        registry: Where they are registered.
        clock: Unix time in seconds.
    """

    def __init__(
        self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._answers: Answers = {}
        self._shown_s: float | None = None
        self._requests = Counter(
            "glassbox:inference_requests",
            "Predictions by version, role and how they ended.",
            ("model_version", "role", "status"),
            registry=registry,
        )
        self._latency = Histogram(
            "glassbox:inference_latency_seconds",
            "Seconds that a version took for one prediction.",
            ("model_version", "role"),
            buckets=_LATENCY_S,
            registry=registry,
        )
        self._difference = Histogram(
            "glassbox:inference_shadow_difference",
            "Difference of a second answer to the answer, in [0, 1] for classes.",
            ("model_version", "role"),
            buckets=_DIFFERENCE,
            registry=registry,
        )
        self._confidence = Histogram(
            "glassbox:inference_confidence",
            "Confidence of answers that have one.",
            ("model_version",),
            buckets=_CONFIDENCE,
            registry=registry,
        )
        self._labels = Counter(
            "glassbox:inference_labels", "Truths told about predictions.", registry=registry
        )
        self._ended: dict[tuple[str, str, str], Counter] = {}
        self._took: dict[tuple[str, str], Histogram] = {}
        self._differed: dict[tuple[str, str], Histogram] = {}
        self._sure: dict[str, Histogram] = {}
        registry.register(self)

    def observe(self, event: InferenceEvent) -> None:
        """Count an event of this process; never raises."""
        if isinstance(event, PrimaryEvent):
            self._count(event.model_version, "primary", event.status, event.latency_ms)
            if event.confidence is not None and math.isfinite(event.confidence):
                self._sureness(event.model_version).observe(event.confidence)
        elif isinstance(event, ShadowEvent):
            role = ROLES[event.role]
            self._count(event.shadow_version, role, event.status, event.latency_ms)
            if event.diff is not None and math.isfinite(event.diff):
                self._differing(event.shadow_version, role).observe(event.diff)
        elif isinstance(event, LabelEvent):
            self._labels.inc()

    def show(self, answers: Answers) -> None:
        """Show the numbers of these JSON answers from now on."""
        self._answers = answers
        self._shown_s = self._clock()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield every gauge without its numbers, so that nothing is read to register them."""
        for each in SHOWN:
            yield _family(each, ())
        yield _assembled(None)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every gauge that there is a number for."""
        answers = self._answers
        for each in SHOWN:
            yield _family(each, each.read(answers))
        yield _assembled(self._shown_s)

    def _count(self, version: str, role: str, status: str, latency_ms: float | None) -> None:
        # Children are kept: finding one by its labels costs more than counting.
        key = (version, role, status)
        counter = self._ended.get(key)
        if counter is None:
            counter = self._ended.setdefault(key, self._requests.labels(*key))
        counter.inc()
        if latency_ms is None or not math.isfinite(latency_ms):
            return
        histogram = self._took.get((version, role))
        if histogram is None:
            made = self._latency.labels(version, role)
            histogram = self._took.setdefault((version, role), made)
        histogram.observe(latency_ms / 1000.0)

    def _differing(self, version: str, role: str) -> Histogram:
        found = self._differed.get((version, role))
        if found is None:
            made = self._difference.labels(version, role)
            found = self._differed.setdefault((version, role), made)
        return found

    def _sureness(self, version: str) -> Histogram:
        found = self._sure.get(version)
        if found is None:
            found = self._sure.setdefault(version, self._confidence.labels(version))
        return found


def _family(shown: Shown, samples: Samples) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"glassbox:{shown.name}", shown.about, labels=shown.labels)
    for labels, value in samples:
        if isinstance(value, bool | int | float) and math.isfinite(value):
            family.add_metric(labels, float(value))
    return family


def _assembled(time_s: float | None) -> GaugeMetricFamily:
    about = "Unix time at which the gauges of audit, rollout, drift and alerts were assembled."
    family = GaugeMetricFamily("glassbox:state_timestamp_seconds", about)
    if time_s is not None:
        family.add_metric((), time_s)
    return family
