"""``/api/v2/models/rollouts``: how a challenger becomes champion, gate by gate, or does not."""

from typing import Annotated, Any, Literal

from pydantic import Field

from glassbox.wire.shapes import Absent, Answered, Asked, FilledText


class GateAnswered(Answered):
    """One condition of a rollout as it stands."""

    name: str
    """As `difference`, `error_rate`, `latency`, `calibration`."""
    value: float | None
    """Estimate; null without data."""
    low: float | None
    """Lower bound of its anytime-valid interval."""
    high: float | None
    """Upper bound."""
    limit: float | None
    """What it must not pass."""
    verdict: Literal["pass", "fail", "inconclusive", "not_enough_data", "off"]
    """What the interval says about the limit."""
    n: int
    """Requests that it rests on."""
    needed: int | None = None
    """Requests without which nothing is decided."""
    about: str | None = Absent
    """What exactly is measured."""


class DecisionAnswered(Answered):
    """What the policy said last."""

    verdict: str
    """As `wait`, `advance`, `promote`, `rollback`."""
    reason: str
    """Why, in words."""


class TransitionAnswered(Answered):
    """One step from phase to phase."""

    time_s: float
    """Unix time."""
    before: str | None
    """Phase it left."""
    after: str
    """Phase it entered."""
    actor: str
    """Who or what did it."""
    reason: str
    """Why."""
    evidence: dict[str, Any]
    """Every gate's value, interval, limit and verdict at that moment."""


class EvidencePoint(Answered):
    """One gate at one moment, for charts."""

    n: int
    """Requests so far."""
    time_s: float | None = None
    """Unix time."""
    gate: str
    """Its name."""
    value: float | None
    """Estimate."""
    low: float | None
    """Lower bound."""
    high: float | None
    """Upper bound."""
    limit: float | None
    """What it must not pass."""


class RolloutBrief(Answered):
    """One rollout in one line."""

    id: str
    """Names it."""
    model: str
    """Registered model."""
    champion: str
    """Version that answered when it began."""
    challenger: str
    """Version that is to."""
    phase: str
    """In Flagger's words, as `Progressing`, `Succeeded`, `Failed`, or `Unreadable`: asking for that
    one alone tells why."""
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


class RolloutStatus(RolloutBrief):
    """One rollout in full."""

    plan: dict[str, Any]
    """Steps, limits and times that it follows."""
    gates: list[GateAnswered]
    """Where every condition stands."""
    decision: DecisionAnswered
    """What the policy said last."""
    transitions: list[TransitionAnswered]
    """What happened, in order."""
    evidence_series: list[EvidencePoint]
    """How the gates' values went, thinned."""
    counts: dict[str, int] = Field(default_factory=dict)
    """How the challenger's copies ended, by status."""
    n_distinct: int = 0
    """Different inputs seen, counted up to as many as the plan needs."""
    verbs: list[str] = Field(default_factory=list)
    """What may be done with it now, of `pause`, `resume`, `promote`, `finish`, `abort`."""


class RolloutsAnswered(Answered):
    """All rollouts."""

    current: RolloutStatus | None
    """The one under way; null without one."""
    rollouts: list[RolloutBrief]
    """Newest first."""


class RolloutAsked(Asked):
    """A rollout to start."""

    challenger: FilledText
    """Name of the version that is to become champion."""
    model: Annotated[FilledText, Field(max_length=200)] = "default"
    """Registered model."""
    plan: dict[str, Any] | None = None
    """Steps, limits and times; null is the default plan, and keys left out are its."""
    dry_run: bool = False
    """Whether it only says what it would do."""
    reason: Annotated[str, Field(max_length=1000)] = ""
    """Why; kept in the history."""


class VerbAsked(Asked):
    """What is to be said of a step that somebody takes by hand."""

    reason: Annotated[str, Field(max_length=1000)] = ""
    """Why; kept in the history."""


class PromoteAsked(VerbAsked):
    """What is to be said of a promotion by hand."""

    force: bool = False
    """Whether to promote although there is doubt; never although a gate fails."""
