"""What a person may say of a rollout, and what it comes to: pure, like the policy."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from glassbox.errors import ConflictError, InvalidValue, UnknownName
from glassbox.rollout.decisions.plan import RolloutPlan
from glassbox.rollout.decisions.policy import State, Verdict, at_phase
from glassbox.rollout.decisions.rollout_rows import Rollout
from glassbox.rollout.version import CHAMPION, Snapshot, Version


def evidence_of(rollout: Rollout, weight: float | None = None) -> dict[str, Any]:
    """Return what the present step of a rollout rests on, as plain values."""
    counts: Mapping[str, int] = rollout.evidence.get("counts", {})
    return {
        "rollout_id": rollout.id,
        "gates": [each.to_json() for each in rollout.gates],
        "weight": rollout.state.weight if weight is None else weight,
        "counts": dict(counts),
    }


def champion_of(snapshot: Snapshot, model: str) -> Version:
    """Return the version that answers.

    Raises:
        UnknownName: The model has no champion.
    """
    champion = snapshot.aliased(CHAMPION, model)
    if champion is None:
        raise UnknownName(
            "champion of",
            model,
            [each for each, named in snapshot.aliases.items() if CHAMPION in named],
            remedy="Make one: glassbox versions alias champion VERSION",
        )
    return champion


def refuse_unfit(version: Version, champion: Version) -> None:
    """Let a version be tried that could take the champion's place.

    Raises:
        InvalidValue: It is the champion, or another model's.
    """
    if version.model != champion.model:
        allowed = f"a version of {champion.model!r}, and this is one of {version.model!r}"
        raise InvalidValue("challenger", version.name, f"{allowed} (--model {version.model})")
    if version.name == champion.name:
        raise InvalidValue("challenger", version.name, "another version than the champion")


def refuse_hot(
    version: Version, plan: RolloutPlan, earlier: Sequence[Rollout], now_s: float
) -> None:
    """Let a version be tried unless it failed too short a while ago.

    Raises:
        ConflictError: It did: the message says when it may be tried again.
    """
    for each in earlier:
        if each.challenger != version.name or each.state.phase != "Failed" or each.dry_run:
            continue
        # One far ahead was dated by a clock that has been set back since.
        left = plan.cooldown_s - abs(now_s - each.updated_s)
        if left > 0:
            raise ConflictError(
                f"{version.name} failed in rollout {each.id}: {each.decision.reason} Try again "
                f"in {left:.0f} s, or set cooldown_s = 0 in the plan."
            )


def held(rollout: Rollout, *, is_paused: bool) -> State:
    """Return the state of a rollout that is paused, or not any more.

    Raises:
        ConflictError: It is so already.
    """
    if rollout.state.is_paused == is_paused:
        raise ConflictError(
            f"Rollout {rollout.id} is {'paused already' if is_paused else 'not paused'}."
        )
    return replace(rollout.state, is_paused=is_paused)


def let_go(rollout: Rollout, *, force: bool) -> State:
    """Return the state of a rollout that a person lets go on to its promotion.

    Raises:
        ConflictError: It was let go on already, is a dry run, a gate fails, or there is doubt and
            no force.
    """
    state = rollout.state
    if state.phase == "Finalising":
        raise ConflictError(
            f"{rollout.challenger} is champion already, and its bake is under way. To end the bake "
            f"now: glassbox rollout finish {rollout.id}"
        )
    if rollout.dry_run:
        raise ConflictError(f"Rollout {rollout.id} is a dry run: it promotes nothing.")
    failing = [each for each in rollout.gates if each.verdict == "fail"]
    if failing:
        raise ConflictError(f"A gate fails, so nothing is promoted: {failing[0].said()}.")
    doubts = [each.said() for each in rollout.gates if each.verdict not in ("pass", "off")]
    if state.phase == "Promoting" or (state.phase == "WaitingPromotion" and not (doubts and force)):
        if state.is_confirmed and not state.is_paused:
            raise ConflictError(
                f"Rollout {rollout.id} was confirmed already. {rollout.decision.reason}"
            )
        return replace(state, is_confirmed=True, is_paused=False)
    if not force:
        why = f"In doubt: {'; '.join(doubts)}." if doubts else f"It is still {state.phase}."
        raise ConflictError(f"{why} Let it go on, or promote all the same with --force.")
    return replace(
        state, phase="Promoting", is_confirmed=True, is_paused=False, step_s=0.0, n_passes=0
    )


def finished(rollout: Rollout) -> State:
    """Return the state of a rollout whose bake a person ends.

    Raises:
        ConflictError: Its challenger is no champion yet.
    """
    if rollout.state.phase != "Finalising":
        raise ConflictError(
            f"Rollout {rollout.id} does not bake: it is {rollout.state.phase}, and "
            f"{rollout.challenger} is no champion yet."
        )
    return at_phase(rollout.state, "Succeeded")


def verbs_of(rollout: Rollout) -> tuple[str, ...]:
    """Return what a person may say of a rollout as it stands."""
    if rollout.state.is_ended:
        return ()
    held = "resume" if rollout.state.is_paused else "pause"
    if rollout.state.phase == "Finalising":
        return held, "finish", "abort"
    return (held, "abort") if rollout.dry_run else (held, "promote", "abort")


def verdict_of(rollout: Rollout, after: State) -> Verdict:
    """Return the verdict of a rollout to which a person gave another state."""
    if after.phase == rollout.state.phase:
        return rollout.decision.verdict
    return "finish" if after.phase == "Succeeded" else "promote"


def words_of(before: State, after: State) -> str:
    """Return what a person did, in a word."""
    if after.phase == "Succeeded":
        return "Bake ended"
    if after.phase == "Promoting" and before.phase != "Promoting":
        return "Promoted in spite of doubt"
    if after.is_confirmed and not before.is_confirmed:
        return "Confirmed"
    return "Paused" if after.is_paused else "Resumed"
