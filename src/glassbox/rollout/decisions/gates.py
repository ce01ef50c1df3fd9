"""What each gate of a rollout says: a figure, the range left open for it, its limit, a verdict.

A gate passes when the whole range keeps the limit and fails when the whole range breaks it; in
between there is doubt. Ranges hold at every look at once, so that looking often costs nothing.

A promotion needs all gates to pass, so each may err with all of alpha and the promotion still errs
with no more (intersection-union test). One failing gate is enough to roll back, so there alpha is
shared among them (Bonferroni).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from glassbox.rollout.decisions.evidence import Evidence
from glassbox.rollout.decisions.plan import GateLimits, RolloutPlan
from glassbox.stats.sequential.differences import difference_bounds
from glassbox.stats.sequential.means import Bounds, mean_bounds
from glassbox.wording import counted

GateVerdict = Literal["pass", "fail", "inconclusive", "not_enough_data", "off"]
"""What a gate says; ``off`` where there is nothing that it could judge."""

SHADOW: Final = ("difference", "error_rate", "latency", "calibration")
"""Gates on requests that the champion answered and the challenger only saw."""

CANARY: Final = ("canary_error_rate", "canary_latency")
"""Gates on requests that the challenger answered as one."""

LEAST_LABELS: Final = 30
"""Labelled requests from which on calibration is judged by labels alone."""

BAKE: Final = ("bake_error_rate", "bake_latency")
"""Gates on requests that it answered as champion."""


@dataclass(frozen=True)
class GateReading:
    """One gate at one look."""

    name: str
    """As in ``error_rate``."""
    value: float | None
    """The figure; None without data."""
    low: float | None
    """Lower bound; the truth is ever below at most with this gate's part of alpha."""
    high: float | None
    """Upper bound; the truth is ever above with probability alpha at most."""
    limit: float | None
    """What the figure must not exceed."""
    verdict: GateVerdict
    """What follows."""
    n: int
    """Observations."""
    needed: int
    """Observations without which it does not pass."""
    about: str
    """What the figure is."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "GateReading":
        """Return what ``to_json`` gave."""
        return cls(**value)

    def said(self) -> str:
        """Return the reading as a clause, as in "error_rate 0.031 [0.022, 0.044], limit 0.010"."""
        if self.value is None or self.low is None or self.high is None or self.limit is None:
            return f"{self.name} without data"
        return (
            f"{self.name} {self.value:.4g} [{self.low:.4g}, {self.high:.4g}], "
            f"limit {self.limit:.4g}, {counted(self.n, 'request')}"
        )


def gates_of(plan: RolloutPlan) -> tuple[str, ...]:
    """Return the names of the gates that a plan has on."""
    limits = plan.limits
    is_on = {
        "difference": limits.difference is not None,
        "error_rate": limits.error_rate is not None,
        "latency": limits.slow_share is not None,
        "calibration": limits.calibration is not None,
    }
    return tuple(
        name
        for name in (*SHADOW, *CANARY, *BAKE)
        if is_on[name.removeprefix("canary_").removeprefix("bake_")]
    )


def read_gates(
    plan: RolloutPlan, evidence: Evidence, names: tuple[str, ...]
) -> tuple[GateReading, ...]:
    """Return what some of the gates say, those that the plan has off left out."""
    every = gates_of(plan)
    reader = _Reader(plan, evidence, plan.limits.alpha / max(len(every), 1))
    return tuple(reader.read(name) for name in names if name in every)


@dataclass(frozen=True)
class _Reader:
    plan: RolloutPlan
    evidence: Evidence
    alpha_fail: float

    def read(self, name: str) -> GateReading:
        limits = self.plan.limits
        if name == "difference":
            return self._difference(limits)
        if name == "calibration":
            return self._calibration(limits)
        if name.endswith("error_rate"):
            return self._error_rate(name, limits)
        tally = self.evidence.tallies[name.replace("latency", "slow")]
        bounds = mean_bounds(tally, self.alpha_fail, limits.alpha)
        about = "share of the challenger's answers that are slow"
        return self._judged(name, bounds, limits.slow_share, tally.n, about)

    def _difference(self, limits: GateLimits) -> GateReading:
        tallies = self.evidence.tallies
        bounds = difference_bounds(
            tallies["difference"],
            tallies["noise"],
            self.alpha_fail,
            limits.alpha,
            second_at_most=limits.most_noise,
        )
        about = "mean difference beyond the champion's difference to itself"
        return self._judged("difference", bounds, limits.difference, tallies["difference"].n, about)

    def _error_rate(self, name: str, limits: GateLimits) -> GateReading:
        tallies = self.evidence.tallies
        about = "share of requests that fail, challenger less champion"
        if name == "error_rate":
            tally = tallies["errors"]
            bounds = mean_bounds(tally, self.alpha_fail, limits.alpha)
            return self._judged(name, bounds, limits.error_rate, tally.n, about)
        is_canary = name == "canary_error_rate"
        tally = tallies["canary_errors" if is_canary else "bake_errors"]
        against = tallies["canary_champion_errors" if is_canary else "champion_errors"]
        bounds = difference_bounds(tally, against, self.alpha_fail, limits.alpha)
        return self._judged(name, bounds, limits.error_rate, tally.n, about)

    def _calibration(self, limits: GateLimits) -> GateReading:
        tallies = self.evidence.tallies
        brier, confidence = tallies["brier"], tallies["confidence"]
        if brier.n:
            bounds = mean_bounds(brier, self.alpha_fail, limits.alpha)
            about = "Brier score on labelled requests, challenger less champion"
            reading = self._judged("calibration", bounds, limits.calibration, brier.n, about)
            # With labels there they alone decide: confidence only stands in for want of them.
            if brier.n >= LEAST_LABELS or reading.verdict == "fail":
                return reading
        if self.evidence.n_unsaid and not confidence.n:
            about = "the champion tells its confidence and the challenger does not"
            return GateReading(
                "calibration",
                None,
                None,
                None,
                limits.calibration,
                "not_enough_data",
                0,
                self._needed("calibration"),
                about,
            )
        if not confidence.n and self.evidence.n_pairs >= self.plan.min_requests:
            about = "the versions give no confidence"
            return GateReading(
                "calibration", None, None, None, limits.calibration, "off", 0, 0, about
            )
        bounds = mean_bounds(confidence, self.alpha_fail, limits.alpha)
        about = "mean confidence, challenger less champion, for want of labels"
        reading = self._judged("calibration", bounds, limits.confidence, confidence.n, about)
        if reading.verdict != "fail":
            return reading
        # Being surer is no fault in itself: without labels it only raises doubt.
        return replace(reading, verdict="inconclusive")

    def _judged(
        self, name: str, bounds: Bounds, limit: float | None, n: int, about: str
    ) -> GateReading:
        assert limit is not None
        needed = self._needed(name)
        if n == 0:
            return GateReading(name, None, None, None, limit, "not_enough_data", 0, needed, about)
        verdict: GateVerdict = "inconclusive"
        if bounds.low > limit:
            verdict = "fail"
        elif n < needed:
            verdict = "not_enough_data"
        elif bounds.high <= limit:
            verdict = "pass"
        value = bounds.value if math.isfinite(bounds.value) else None
        return GateReading(name, value, bounds.low, bounds.high, limit, verdict, n, needed, about)

    def _needed(self, name: str) -> int:
        if name == "calibration" and self.evidence.tallies["brier"].n >= LEAST_LABELS:
            return LEAST_LABELS
        if name in CANARY:
            return self.plan.min_step_requests
        if name in BAKE:
            return max(self.plan.min_bake_requests, 1)
        return self.plan.min_requests
