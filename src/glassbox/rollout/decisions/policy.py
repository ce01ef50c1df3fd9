"""The policy of rollouts, and nothing else: where one stands and what was seen in, verdict out.

It reads no clock and changes nothing. Doubt never promotes, a sure breach rolls back from wherever
a rollout is, and time counts only as far as somebody watched.

Source: phases as in Flagger's canary (docs.flagger.app, "Canary status").
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from glassbox.rollout.decisions.evidence import Evidence, Stage
from glassbox.rollout.decisions.gates import BAKE, CANARY, SHADOW, GateReading, read_gates
from glassbox.rollout.decisions.plan import RolloutPlan
from glassbox.wording import counted, percent

Phase = Literal[
    "Initialized",
    "Waiting",
    "Progressing",
    "WaitingPromotion",
    "Promoting",
    "Finalising",
    "Succeeded",
    "Failed",
]
"""``Waiting``: the challenger only sees. ``Progressing``: it answers a share. ``Finalising``: it is
champion and may still be rolled back."""

ENDED: Final[tuple[Phase, ...]] = ("Succeeded", "Failed")
"""Phases that nothing follows."""

CANARY_PHASES: Final[tuple[Phase, ...]] = ("Progressing", "WaitingPromotion", "Promoting")
"""Phases in which the challenger answers a share."""

Verdict = Literal["wait", "advance", "promote", "rollback", "finish"]
"""What is to be done."""


@dataclass(frozen=True)
class State:
    """Where a rollout stands."""

    phase: Phase = "Initialized"
    """Its phase."""
    weight: float = 0.0
    """Share of requests that the challenger answers, [0, 1]."""
    is_paused: bool = False
    """Whether somebody holds it; a breach rolls back all the same."""
    is_confirmed: bool = False
    """Whether somebody said that it may be promoted."""
    watched_s: float = 0.0
    """Seconds since its start in which somebody watched."""
    step_s: float = 0.0
    """Those since the present phase or canary step began."""
    n_before_step: int = 0
    """Requests that the challenger had answered when it began."""
    n_passes: int = 0
    """Looks in a row at which all gates have passed."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "State":
        """Return what ``to_json`` gave."""
        return cls(**value)

    @property
    def stage(self) -> Stage:
        """What that means for events."""
        return Stage(self.phase in CANARY_PHASES, self.phase in ("Finalising", *ENDED))

    @property
    def is_ended(self) -> bool:
        """Whether nothing follows."""
        return self.phase in ENDED


@dataclass(frozen=True)
class Decision:
    """What the policy says at one look."""

    verdict: Verdict
    """What is to be done."""
    reason: str
    """Why, as a sentence."""
    state: State
    """Where the rollout stands after it."""
    gates: tuple[GateReading, ...] = ()
    """What it rests on."""


def decide(
    plan: RolloutPlan, state: State, evidence: Evidence, *, dry_run: bool = False
) -> Decision:
    """Return what is to be done with a rollout that has not ended.

    Args:
        plan: What it follows.
        state: Where it stands, the time that was just watched counted in.
        evidence: What was seen since it began.
        dry_run: Whether it ends before the challenger answers anybody.
    """
    if state.phase == "Initialized":
        return Decision(
            "advance", "The challenger sees a copy of the requests.", at_phase(state, "Waiting")
        )
    gates = read_gates(plan, evidence, _judged_in(state))
    failed = [each for each in gates if each.verdict == "fail"]
    if failed:
        reason = f"Rolled back: {failed[0].said()}."
        return Decision("rollback", reason, at_phase(state, "Failed"), gates)
    doubts = [each for each in gates if each.verdict not in ("pass", "off")]
    if len(evidence.distinct) < plan.min_distinct and state.phase != "Finalising":
        few = f"{len(evidence.distinct)} different inputs of {plan.min_distinct}"
    else:
        few = ""
    is_sure = not doubts and not few
    state = replace(state, n_passes=state.n_passes + 1 if is_sure else 0)
    doubt = "; ".join([each.said() for each in doubts] + ([few] if few else []))
    if state.phase == "Finalising":
        return _bake(plan, state, evidence, gates)
    if state.phase != "Promoting" and state.watched_s > plan.max_duration_s:
        why = doubt or "nobody let it go on"
        reason = f"Rolled back: still not promoted after {state.watched_s:.0f} s ({why})."
        return Decision("rollback", reason, at_phase(state, "Failed"), gates)
    if state.is_paused:
        return Decision("wait", "Paused.", state, gates)
    if state.phase == "Waiting":
        return _shadow(plan, state, doubt, gates, dry_run=dry_run)
    if state.phase == "Progressing":
        return _canary(plan, state, evidence, doubt, gates)
    return _promotion(state, doubt, gates)


def _judged_in(state: State) -> tuple[str, ...]:
    if state.phase == "Waiting":
        return SHADOW
    if state.phase == "Finalising":
        # Truths are told late: what they say of the copies counts as long as there is a way back.
        return ("calibration", *BAKE)
    return (*SHADOW, *CANARY)


def at_phase(state: State, phase: Phase, *, weight: float = 0.0, n_answers: int = 0) -> State:
    """Return the state at the beginning of a phase or step."""
    return replace(
        state,
        phase=phase,
        weight=weight,
        is_paused=state.is_paused and phase not in ENDED,
        step_s=0.0,
        n_before_step=n_answers,
        n_passes=0,
    )


def _shadow(
    plan: RolloutPlan, state: State, doubt: str, gates: tuple[GateReading, ...], *, dry_run: bool
) -> Decision:
    if waits := _waits(plan, state, doubt):
        return Decision("wait", waits, state, gates)
    if dry_run:
        reason = "Dry run: all gates of the shadow pass; the challenger would now get a share."
        return Decision("finish", reason, at_phase(state, "Succeeded"), gates)
    after = at_phase(state, "Progressing", weight=min(plan.step_weight, plan.max_weight))
    reason = f"All gates of the shadow pass: the challenger answers {percent(after.weight)}."
    return Decision("advance", reason, after, gates)


def _canary(
    plan: RolloutPlan,
    state: State,
    evidence: Evidence,
    doubt: str,
    gates: tuple[GateReading, ...],
) -> Decision:
    n_answers = evidence.tallies["canary_errors"].n
    n_left = plan.min_step_requests - (n_answers - state.n_before_step)
    if n_left > 0:
        reason = f"The challenger must answer {counted(n_left, 'more request')} in this step."
        return Decision("wait", reason, state, gates)
    if state.step_s < plan.step_s:
        reason = f"This step lasts {plan.step_s - state.step_s:.0f} s more."
        return Decision("wait", reason, state, gates)
    if state.weight < plan.max_weight - 1e-9:
        weight = min(round(state.weight + plan.step_weight, 9), plan.max_weight)
        after = at_phase(state, "Progressing", weight=weight, n_answers=n_answers)
        return Decision(
            "advance", f"No gate fails: the challenger answers {percent(weight)}.", after, gates
        )
    if waits := _waits(plan, state, doubt):
        return Decision("wait", waits, state, gates)
    if plan.confirm and not state.is_confirmed:
        after = at_phase(state, "WaitingPromotion", weight=state.weight)
        return Decision("advance", "All gates pass: somebody has to confirm.", after, gates)
    after = at_phase(state, "Promoting", weight=state.weight)
    return Decision("promote", f"All gates pass: {_said(gates)}.", after, gates)


def _promotion(state: State, doubt: str, gates: tuple[GateReading, ...]) -> Decision:
    if state.phase == "Promoting":
        return Decision("promote", "The promotion was decided.", state, gates)
    if doubt:
        return Decision("wait", f"In doubt again: {doubt}.", state, gates)
    if not state.is_confirmed:
        return Decision("wait", "All gates pass: somebody has to confirm.", state, gates)
    after = at_phase(state, "Promoting", weight=state.weight)
    return Decision("promote", f"Confirmed, and all gates pass: {_said(gates)}.", after, gates)


def _bake(
    plan: RolloutPlan, state: State, evidence: Evidence, gates: tuple[GateReading, ...]
) -> Decision:
    n_left = plan.min_bake_requests - evidence.tallies["bake_errors"].n
    if state.is_paused:
        return Decision("wait", "Paused.", state, gates)
    if state.step_s < plan.bake_s or n_left > 0:
        left = max(plan.bake_s - state.step_s, 0.0)
        reason = f"Baking: {left:.0f} s and {counted(max(n_left, 0), 'request')} more."
        return Decision("wait", reason, state, gates)
    reason = f"No breach in {state.step_s:.0f} s as champion."
    return Decision("finish", reason, at_phase(state, "Succeeded"), gates)


def _waits(plan: RolloutPlan, state: State, doubt: str) -> str:
    if doubt:
        return f"In doubt: {doubt}."
    if state.n_passes < plan.consecutive_passes:
        return f"All gates pass, {state.n_passes} of {plan.consecutive_passes} looks in a row."
    return ""


def _said(gates: tuple[GateReading, ...]) -> str:
    return "; ".join(each.said() for each in gates if each.verdict == "pass")
