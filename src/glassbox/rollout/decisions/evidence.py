"""What a rollout has seen: tallies that events are folded into, in the order of the log.

Nothing of a single request is kept but a short digest of its input, and that only until there are
enough different ones. Does not know what the tallies are good for.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard, TypeVar

from glassbox.audit.records import InferenceEvent, LabelEvent, PrimaryEvent, ShadowEvent
from glassbox.errors import CorruptArtifact
from glassbox.rollout.decisions.earlier import Earlier
from glassbox.rollout.decisions.plan import RolloutPlan
from glassbox.stats.sequential.means import BoundedMean

MOST_REMEMBERED: Final = 20_000
"""Answers that are kept in memory until their shadow's answer; an older one is looked up."""

LEAST_LATENCIES: Final = 20
"""Answers of the champion before an answer of another request is compared with their mean."""

FAILED: Final = ("error", "timeout", "breaker_open")
"""A challenger that ended so would not have answered; an open breaker is its own doing."""

TALLIES: Final[Mapping[str, bool]] = {
    "difference": False,
    "noise": False,
    "errors": True,
    "slow": False,
    "brier": True,
    "confidence": True,
    "champion_errors": False,
    "canary_errors": False,
    "canary_champion_errors": False,
    "canary_slow": False,
    "bake_errors": False,
    "bake_slow": False,
}
"""Every tally, and whether its observations may be negative."""

Value = TypeVar("Value")

Find = Callable[[str], Earlier | None]
"""Returns what the log holds of a request."""


@dataclass
class Evidence:
    """Tallies of one challenger against one champion.

    Everything is for this pair: with another challenger or champion a new one begins.
    """

    rollout_id: str
    """Rollout that it is for."""
    champion: str
    """Name of the version that answered when the rollout began."""
    challenger: str
    """Name of the version that is to."""
    tallies: dict[str, BoundedMean]
    """As ``TALLIES`` names them."""
    counts: dict[str, int]
    """How the challenger's copies ended, by status."""
    distinct: set[str]
    """Digests of different inputs, up to as many as are needed."""
    champion_latency_ms: float = 0.0
    """Sum of the champion's latencies."""
    n_latencies: int = 0
    """How many these are."""
    n_unsaid: int = 0
    """Pairs in which the champion told its confidence and the challenger did not."""

    @classmethod
    def begin(
        cls, rollout_id: str, champion: str, challenger: str, plan: RolloutPlan
    ) -> "Evidence":
        """Return evidence of nothing yet."""
        cap = plan.limits.difference_cap
        tallies = {
            name: BoundedMean(cap if name in ("difference", "noise") else 1.0, is_signed=is_signed)
            for name, is_signed in TALLIES.items()
        }
        return cls(rollout_id, champion, challenger, tallies, {}, set())

    @property
    def n_pairs(self) -> int:
        """Requests of which it is known how both versions ended."""
        return self.tallies["errors"].n

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "rollout_id": self.rollout_id,
            "champion": self.champion,
            "challenger": self.challenger,
            "tallies": {name: each.to_json() for name, each in self.tallies.items()},
            "counts": self.counts,
            "distinct": sorted(self.distinct),
            "champion_latency_ms": self.champion_latency_ms,
            "n_latencies": self.n_latencies,
            "n_unsaid": self.n_unsaid,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Evidence":
        """Return the evidence that ``to_json`` gave.

        Raises:
            CorruptArtifact: It is none.
        """
        try:
            return cls(
                value["rollout_id"],
                value["champion"],
                value["challenger"],
                {name: BoundedMean.from_json(value["tallies"][name]) for name in TALLIES},
                {str(key): int(count) for key, count in value["counts"].items()},
                set(value["distinct"]),
                float(value["champion_latency_ms"]),
                int(value["n_latencies"]),
                int(value.get("n_unsaid", 0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptArtifact("evidence of a rollout", f"not readable: {error!r}") from error


@dataclass(frozen=True)
class Stage:
    """Where a rollout stands as far as events are concerned."""

    is_canary: bool = False
    """Whether the challenger answers a share."""
    is_bake: bool = False
    """Whether it has become champion."""


class Folding:
    """Folds events into evidence.

    Args:
        plan: Says what is slow, and how many different inputs are needed.
        find: Looks up a request whose answer came before this object.
    """

    def __init__(self, plan: RolloutPlan, find: Find) -> None:
        self._limits = plan.limits
        self._min_distinct = plan.min_distinct
        self._find = find
        self._answers: OrderedDict[str, PrimaryEvent] = OrderedDict()
        self._shadows: OrderedDict[str, ShadowEvent] = OrderedDict()
        # None where a label has been counted.
        self._labels: OrderedDict[str, str | None] = OrderedDict()

    def add(self, evidence: Evidence, event: InferenceEvent, stage: Stage, sequence: int) -> None:
        """Fold one event into evidence; events of other models or versions change nothing.

        Args:
            evidence: Holds all events before this one.
            event: What happened.
            stage: Where the rollout stands.
            sequence: Place of the event in the log.
        """
        if isinstance(event, PrimaryEvent):
            self._answered(evidence, event, stage)
        elif isinstance(event, ShadowEvent):
            self._shadowed(evidence, event, sequence)
        elif isinstance(event, LabelEvent):
            self._labelled_as(evidence, event, sequence)

    def _answered(self, evidence: Evidence, event: PrimaryEvent, stage: Stage) -> None:
        tallies, failed = evidence.tallies, float(event.status == "error")
        if event.model_version == evidence.champion and not stage.is_bake:
            _remember(self._answers, event.request_id, event)
            tallies["champion_errors"].add(failed)
            if stage.is_canary:
                tallies["canary_champion_errors"].add(failed)
            if not failed:
                evidence.champion_latency_ms += event.latency_ms
                evidence.n_latencies += 1
        elif event.model_version == evidence.challenger and event.arm == "challenger":
            if event.rollout_id == evidence.rollout_id:
                self._took(evidence, event, "canary")
        elif event.model_version == evidence.challenger and stage.is_bake:
            self._took(evidence, event, "bake")

    def _took(self, evidence: Evidence, event: PrimaryEvent, where: str) -> None:
        failed = event.status == "error"
        evidence.tallies[f"{where}_errors"].add(float(failed))
        if failed:
            return
        if self._limits.slow_ms is None and evidence.n_latencies < LEAST_LATENCIES:
            return
        usual = evidence.champion_latency_ms / max(evidence.n_latencies, 1)
        evidence.tallies[f"{where}_slow"].add(float(self._is_slow(event.latency_ms, usual)))

    def _shadowed(self, evidence: Evidence, event: ShadowEvent, sequence: int) -> None:
        tallies = evidence.tallies
        if event.role == "noise_floor":
            if event.shadow_version == evidence.champion and _is_finite(event.diff):
                tallies["noise"].add(event.diff)
            return
        if event.shadow_version != evidence.challenger:
            return
        evidence.counts[event.status] = evidence.counts.get(event.status, 0) + 1
        answer = self._answer(event.request_id, sequence)
        if answer is None or answer.model_version != evidence.champion:
            return
        champion_failed = float(answer.status == "error")
        if event.status in FAILED or (event.status == "ok" and not _is_finite(event.prediction)):
            tallies["errors"].add(1.0 - champion_failed)
            if event.status == "timeout":
                tallies["slow"].add(1.0)
        elif event.status == "ok":
            tallies["errors"].add(0.0 - champion_failed)
            if not champion_failed:
                self._paired(evidence, answer, event)

    def _paired(self, evidence: Evidence, answer: PrimaryEvent, event: ShadowEvent) -> None:
        tallies = evidence.tallies
        if len(evidence.distinct) < self._min_distinct:
            evidence.distinct.add(answer.feature_hash[-16:])
        if _is_finite(event.diff):
            tallies["difference"].add(event.diff)
        if event.latency_ms is not None:
            tallies["slow"].add(float(self._is_slow(event.latency_ms, answer.latency_ms)))
        if event.confidence is not None and answer.confidence is not None:
            tallies["confidence"].add(event.confidence - answer.confidence)
        elif answer.confidence is not None:
            evidence.n_unsaid += 1
        _remember(self._shadows, event.request_id, event)
        # Labels may come before a copy that had to wait.
        if (label := self._labels.get(event.request_id)) is not None:
            self._judged(evidence, answer, event, label)

    def _labelled_as(self, evidence: Evidence, event: LabelEvent, sequence: int) -> None:
        # A truth that is told again counts once, as it was told first.
        if event.request_id in self._labels or not isinstance(event.label, str):
            return
        answer, shadow = self._answers.get(event.request_id), self._shadows.get(event.request_id)
        if answer is None or len(self._labels) >= MOST_REMEMBERED:
            # It was answered before this object was made, or long ago, as it may have been told.
            earlier = self._find(event.request_id)
            if earlier is None or earlier.answer.model_version != evidence.champion:
                return
            if earlier.was_told(before=sequence):
                return
            answer = earlier.answer
            shadow = earlier.copy_to(evidence.challenger, before=sequence)
        _remember(self._labels, event.request_id, event.label)
        if shadow is not None:
            self._judged(evidence, answer, shadow, event.label)

    def _judged(
        self, evidence: Evidence, answer: PrimaryEvent, shadow: ShadowEvent, label: str
    ) -> None:
        self._labels[answer.request_id] = None
        of_champion, of_challenger = answer.label_probs, shadow.label_probs
        # A truth that neither can say is somebody's slip of the pen, or another question's answer.
        if of_champion and of_challenger and (label in of_champion or label in of_challenger):
            gain = _brier(of_challenger, label) - _brier(of_champion, label)
            evidence.tallies["brier"].add(gain)

    def _answer(self, request_id: str, sequence: int) -> PrimaryEvent | None:
        kept = self._answers.get(request_id)
        if kept is not None:
            return kept
        earlier = self._find(request_id)
        if earlier is None:
            return None
        if request_id not in self._labels and earlier.was_told(before=sequence):
            _remember(self._labels, request_id, earlier.label)
        return earlier.answer

    def _is_slow(self, latency_ms: float, usual_ms: float) -> bool:
        limits = self._limits
        if limits.slow_ms is not None:
            return latency_ms > limits.slow_ms
        return latency_ms > limits.slow_ratio * usual_ms + limits.slow_slack_ms


def _remember(kept: "OrderedDict[str, Value]", key: str, value: "Value") -> None:
    kept[key] = value
    if len(kept) > MOST_REMEMBERED:
        kept.popitem(last=False)


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _brier(label_probs: Mapping[str, float], label: str) -> float:
    """Return half the squared distance of a forecast to the truth, [0, 1].

    A label that the forecast does not know has probability 0 in it.

    Source: Brier 1950, Monthly Weather Review 78(1), halved so that 1 is the worst.
    """
    known = sum((prob - (each == label)) ** 2 for each, prob in label_probs.items())
    return 0.5 * (known + (label not in label_probs))
