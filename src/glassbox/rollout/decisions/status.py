"""What is shown of a rollout: values only, the same for terminal, wire and charts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from glassbox.rollout.decisions.gates import GateReading
from glassbox.rollout.decisions.policy import Phase, Verdict

MOST_POINTS: Final = 200
"""Points of one gate that are kept for charts; of more, every other one is left out."""

UNREADABLE: Final = "Unreadable"
"""Phase of one whose row cannot be read: who asks for it alone is told why."""


@dataclass(frozen=True)
class Transition:
    """One step from phase to phase, or within one."""

    time_s: float
    """Unix time."""
    before: str | None
    """Phase it left; None for the first."""
    after: str
    """Phase it entered."""
    actor: str
    """Who or what did it."""
    reason: str
    """Why, as a sentence."""
    evidence: Mapping[str, Any]
    """``gates``: every reading at that moment; ``weight``: share that the challenger then had."""


@dataclass(frozen=True)
class EvidencePoint:
    """One gate at one look, for charts."""

    n: int
    """Observations."""
    time_s: float
    """Unix time."""
    gate: str
    """Name of the gate."""
    value: float | None
    """Its figure."""
    low: float | None
    """Lower bound."""
    high: float | None
    """Upper bound."""
    limit: float | None
    """What it must not exceed."""


@dataclass(frozen=True)
class DecisionSaid:
    """What the policy said last."""

    verdict: Verdict
    """What was to be done."""
    reason: str
    """Why, as a sentence."""


@dataclass(frozen=True)
class RolloutBrief:
    """One rollout in one line."""

    id: str
    """Names it."""
    model: str
    """Registered model."""
    champion: str
    """Name of the version that answered when it began."""
    challenger: str
    """Name of the version that is to."""
    phase: Phase | Literal["Unreadable"]
    """Where it stands."""
    paused: bool
    """Whether somebody holds it."""
    weight: float
    """Share of requests that the challenger answers, [0, 1]."""
    dry_run: bool
    """Whether it only says what it would do."""
    started_s: float
    """Unix time."""
    updated_s: float
    """Unix time of the last look."""


@dataclass(frozen=True)
class RolloutStatus(RolloutBrief):
    """One rollout in full."""

    plan: Mapping[str, Any]
    """What it follows, as plain values."""
    gates: tuple[GateReading, ...]
    """What every gate said last."""
    decision: DecisionSaid
    """What the policy said last."""
    transitions: tuple[Transition, ...]
    """What happened, oldest first."""
    evidence_series: tuple[EvidencePoint, ...]
    """How the gates went, thinned to ``MOST_POINTS`` each."""
    counts: Mapping[str, int]
    """How the challenger's copies ended, by status."""
    n_distinct: int
    """Different inputs seen, counted up to as many as the plan needs."""
    verbs: tuple[str, ...]
    """What may be done with it now, of ``pause``, ``resume``, ``promote``, ``abort``."""
