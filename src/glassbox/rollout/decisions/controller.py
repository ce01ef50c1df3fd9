"""Carries rollouts through: looks at what was seen, asks the policy, does what it says.

Any number of servers may do so at once: a state is kept only by who knew the one before, aliases
move only from where they were expected, and a promotion that was cut short is taken up again. Time
in which nobody watched, or by which a clock jumped, does not count.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import uuid4

from glassbox.errors import ConflictError, GlassboxError
from glassbox.rollout.decisions.evidence import Evidence
from glassbox.rollout.decisions.moves import Moves, is_champion, is_taken_over, words
from glassbox.rollout.decisions.plan import RolloutPlan
from glassbox.rollout.decisions.policy import Decision, State, at_phase, decide
from glassbox.rollout.decisions.roles import routing_within
from glassbox.rollout.decisions.rollout_rows import Rollout, answered_share
from glassbox.rollout.decisions.rollouts import RolloutStore
from glassbox.rollout.decisions.seen import Events, Seen
from glassbox.rollout.decisions.status import DecisionSaid, RolloutBrief, RolloutStatus, Transition
from glassbox.rollout.decisions.verbs import (
    champion_of,
    evidence_of,
    finished,
    held,
    let_go,
    refuse_hot,
    refuse_unfit,
    verdict_of,
    words_of,
)
from glassbox.rollout.routing import Routing
from glassbox.rollout.version import CHAMPION, DEFAULT_MODEL, Snapshot
from glassbox.rollout.versions.registry import Registry

POLICY: Final = "rollout policy"
"""Actor of what no person did."""

MOST_WATCHED_S: Final = 30.0
"""Most seconds between two looks that count as watched."""

MOST_TRIES: Final = 8
"""Times that a person's word is tried while a server keeps changing the rollout."""


class Controller:
    """Starts, carries through and ends rollouts.

    Args:
        registry: Versions and aliases.
        events: What was seen.
        rollouts: Where rollouts are kept.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        events: Events,
        rollouts: RolloutStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._seen = Seen(events)
        self._rollouts = rollouts
        self._clock = clock
        self._moves = Moves(registry)

    def start(
        self,
        challenger: str,
        plan: RolloutPlan | None = None,
        *,
        model: str = DEFAULT_MODEL,
        actor: str,
        reason: str = "",
        dry_run: bool = False,
    ) -> RolloutStatus:
        """Return a rollout that is under way from now on.

        The challenger gets an alias and sees requests from now on; its evidence begins with those.

        Args:
            challenger: Version, as the registry understands it.
            plan: What to follow; None is the default plan.
            model: Registered model.
            actor: Who starts it.
            reason: Why.
            dry_run: Whether it ends before the challenger answers anybody.

        Raises:
            UnknownName: No such version, or the model has no champion.
            InvalidValue: The version is the champion, or another model's.
            ConflictError: Another rollout of the model is under way, or this challenger failed too
                short a while ago.
            CapacityError: The database cannot be reached.
        """
        plan = plan or RolloutPlan()
        version = self._registry.version(challenger, model)
        snapshot = self._registry.snapshot(is_fresh=True)
        champion = champion_of(snapshot, model)
        refuse_unfit(version, champion)
        now_s = self._clock()
        refuse_hot(version, plan, self._rollouts.latest(model), now_s)
        rollout_id = f"r-{uuid4().hex[:10]}"
        reason = reason or "Started."
        rollout = Rollout(
            id=rollout_id,
            model=model,
            champion=champion.name,
            challenger=version.name,
            plan=plan,
            started_s=now_s,
            updated_s=now_s,
            dry_run=dry_run,
            cursor=self._seen.last_sequence(),
            evidence=Evidence.begin(rollout_id, champion.name, version.name, plan).to_json(),
        )
        with self._moves.challenged(version, actor, words(rollout, reason)) as (alias, within):
            rollout = replace(rollout, alias=alias)
            begun = Transition(now_s, None, "Initialized", actor, reason, {"weight": 0.0})
            self._rollouts.create(rollout, begun, within=within)
        return self._rollouts.status(rollout)

    def tick(self) -> list[RolloutStatus]:
        """Look once at every rollout under way and return each as it stands then.

        Raises:
            CapacityError: The database cannot be reached.
            CorruptArtifact: What is kept of one cannot be read; the others were looked at.
        """
        active, unread = self._rollouts.watched()
        self._seen.keep(active)
        looked, failed = [], next(iter(unread.values()), None)
        for each in active:
            try:
                looked.append(self._rollouts.status(self._look(each)))
            except GlassboxError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return looked

    def pause(self, rollout_id: str, *, actor: str, reason: str = "") -> RolloutStatus:
        """Return a rollout that goes no further for now; a breach rolls it back all the same.

        Raises:
            UnknownName: There is no such rollout.
            ConflictError: It has ended, or is paused already.
        """
        kept = self._said(rollout_id, lambda it: held(it, is_paused=True), actor, reason)
        return self._rollouts.status(kept)

    def resume(self, rollout_id: str, *, actor: str, reason: str = "") -> RolloutStatus:
        """Return a rollout that goes on. Raises as ``pause`` does."""
        kept = self._said(rollout_id, lambda it: held(it, is_paused=False), actor, reason)
        return self._rollouts.status(kept)

    def promote(
        self, rollout_id: str, *, actor: str, reason: str = "", force: bool = False
    ) -> RolloutStatus:
        """Return a rollout that a person lets go on to its promotion.

        Args:
            rollout_id: Which one.
            actor: Who says so.
            reason: Why.
            force: Whether to promote although there is doubt; never although a gate fails.

        Raises:
            UnknownName: There is no such rollout.
            ConflictError: It has ended, is a dry run, was let go on already, there is doubt, or
                somebody else moved its aliases.
        """
        kept = self._said(rollout_id, lambda it: let_go(self._ours(it), force=force), actor, reason)
        if kept.state.phase != "Promoting":
            return self._rollouts.status(kept)
        try:
            return self._rollouts.status(self._promoted(kept))
        except ConflictError:
            # Another server promoted it, or a person aborted it: what they did stands.
            return self.status(rollout_id)

    def finish(self, rollout_id: str, *, actor: str, reason: str = "") -> RolloutStatus:
        """Return a rollout whose bake ended now, with its challenger as champion for good.

        Raises:
            UnknownName: There is no such rollout.
            ConflictError: Its challenger is no champion yet or no more, or it has ended.
        """
        return self._rollouts.status(
            self._said(rollout_id, lambda it: finished(self._ours(it)), actor, reason)
        )

    def abort(self, rollout_id: str, *, actor: str, reason: str = "") -> RolloutStatus:
        """Return a rollout that was rolled back, wherever it stood.

        Raises:
            UnknownName: There is no such rollout.
            ConflictError: It has ended.
        """
        for _ in range(MOST_TRIES):
            rollout = self._under_way(rollout_id)
            told = f"Aborted: {reason.rstrip('.')}." if reason else "Aborted."
            with suppress(ConflictError):
                return self._rollouts.status(self._ended_by(rollout, actor, told))
        raise ConflictError(f"Rollout {rollout_id} changes all the time. Try again.")

    def routing(self, model: str = DEFAULT_MODEL, snapshot: Snapshot | None = None) -> Routing:
        """Return who answers requests to a model and who only sees them, as of now.

        Args:
            model: Registered model.
            snapshot: The registry, if it is at hand.

        Raises:
            UnknownName: The model has no champion.
            CapacityError: The database cannot be reached.
        """
        snapshot = snapshot or self._registry.snapshot()
        champion = champion_of(snapshot, model)
        shadows = tuple(each for each in snapshot.challengers(model) if each.name != champion.name)
        plain = Routing(model, champion, shadows, revision=snapshot.revision)
        found, unread = self._rollouts.watched(model)
        if not found:
            # Who cannot tell what a rollout wants lets the champion answer alone.
            return replace(plain, problem="".join(str(each) for each in unread.values()))
        return routing_within(found[0], snapshot, plain)

    def status(self, rollout_id: str) -> RolloutStatus:
        """Return one rollout in full.

        Raises:
            UnknownName: There is no such rollout.
        """
        return self._rollouts.status(self._rollouts.load(rollout_id))

    def current(self, model: str = DEFAULT_MODEL) -> RolloutStatus | None:
        """Return the rollout of a model that is under way, None where none is."""
        found = self._rollouts.active(model)
        return self._rollouts.status(found[0]) if found else None

    def listed(self, model: str | None = None, limit: int = 50) -> list[RolloutBrief]:
        """Return rollouts, newest first."""
        return self._rollouts.briefs(model, limit)

    def _look(self, rollout: Rollout) -> Rollout:
        snapshot = self._registry.snapshot(is_fresh=True)
        try:
            if (changed := is_taken_over(rollout, snapshot)) is not None:
                return self._taken_over(rollout, snapshot, changed)
            if rollout.state.phase == "Promoting" and is_champion(rollout, snapshot):
                # Somebody made it champion by hand: paused or not, the bake begins.
                return self._promoted(rollout)
            evidence, cursor = self._seen.folded(rollout)
            now_s = self._clock()
            watched_s = min(max(now_s - rollout.updated_s, 0.0), MOST_WATCHED_S)
            state = replace(
                rollout.state,
                watched_s=rollout.state.watched_s + watched_s,
                step_s=rollout.state.step_s + watched_s,
            )
            decision = decide(rollout.plan, state, evidence, dry_run=rollout.dry_run)
            seen = replace(
                rollout.with_points(decision.gates or rollout.gates, now_s),
                updated_s=now_s,
                cursor=cursor,
                evidence=evidence.to_json(),
            )
            return self._follow(seen, decision)
        except ConflictError:
            # Another server or a person was quicker: what they did stands.
            return self._rollouts.load(rollout.id)

    def _follow(self, rollout: Rollout, decision: Decision) -> Rollout:
        if decision.verdict == "rollback":
            return self._ended_by(rollout, POLICY, decision.reason)
        before = rollout.state
        after = replace(
            rollout,
            state=decision.state,
            decision=DecisionSaid(decision.verdict, decision.reason),
        )
        moved = (before.phase, before.weight) != (decision.state.phase, decision.state.weight)
        steps = [self._transition(rollout, after.state, POLICY, decision.reason)] if moved else []
        after = self._rollouts.save(after, steps)
        return self._promoted(after) if decision.state.phase == "Promoting" else after

    def _promoted(self, rollout: Rollout) -> Rollout:
        """Move the champion's alias and begin the bake: both, or neither."""
        baking = at_phase(rollout.state, "Finalising")
        reason = f"{rollout.challenger} is champion now."
        step = self._transition(rollout, baking, POLICY, reason)
        after = replace(rollout, state=baking, decision=DecisionSaid("wait", reason))
        why = words(rollout, rollout.decision.reason)
        with self._moves.promoted(rollout, POLICY, why, evidence_of(rollout)) as within:
            return self._rollouts.save(after, [step], within=within)

    def _ended_by(self, rollout: Rollout, actor: str, reason: str) -> Rollout:
        """Roll back wherever it stands, and keep that it has failed: both, or neither."""
        failed = at_phase(rollout.state, "Failed")
        step = self._transition(rollout, failed, actor, reason)
        said = DecisionSaid("rollback", reason)
        after = replace(rollout, state=failed, decision=said, updated_s=self._clock())
        why = words(rollout, reason)
        with self._moves.undone(rollout, actor, why, evidence_of(rollout)) as within:
            return self._rollouts.save(after, [step], within=within)

    def _taken_over(self, rollout: Rollout, snapshot: Snapshot, reason: str) -> Rollout:
        """Begin anew with the versions that somebody put there, or end where that is no sense."""
        champion = snapshot.aliased(CHAMPION, rollout.model)
        challenger = snapshot.aliased(rollout.alias, rollout.model)
        is_over = rollout.state.phase in ("Promoting", "Finalising")
        if is_over or champion is None or challenger is None or challenger == champion:
            return self._ended_by(rollout, POLICY, reason)
        begun = State(phase="Waiting", is_paused=rollout.state.is_paused)
        evidence = Evidence.begin(rollout.id, champion.name, challenger.name, rollout.plan)
        reason = f"{reason} Its evidence begins anew."
        step = self._transition(rollout, begun, POLICY, reason)
        return self._rollouts.save(
            replace(
                rollout,
                champion=champion.name,
                challenger=challenger.name,
                state=begun,
                decision=DecisionSaid("wait", reason),
                gates=(),
                cursor=self._seen.last_sequence(),
                evidence=evidence.to_json(),
                series={},
                updated_s=self._clock(),
            ),
            [step],
        )

    def _said(
        self, rollout_id: str, change: Callable[[Rollout], State], actor: str, reason: str
    ) -> Rollout:
        for _ in range(MOST_TRIES):
            rollout = self._under_way(rollout_id)
            after = change(rollout)
            done = words_of(rollout.state, after)
            told = f"{done}: {reason}" if reason else f"{done}."
            step = self._transition(rollout, after, actor, told)
            said = DecisionSaid(verdict_of(rollout, after), f"{done} by {actor}.")
            try:
                return self._rollouts.save(replace(rollout, state=after, decision=said), [step])
            except ConflictError:
                continue
        raise ConflictError(f"Rollout {rollout_id} changes all the time. Try again.")

    def _under_way(self, rollout_id: str) -> Rollout:
        rollout = self._rollouts.load(rollout_id)
        if rollout.state.is_ended:
            raise ConflictError(
                f"Rollout {rollout_id} has ended: {rollout.state.phase}. {rollout.decision.reason}"
            )
        return rollout

    def _ours(self, rollout: Rollout) -> Rollout:
        """Return a rollout whose aliases nobody else has moved."""
        changed = is_taken_over(rollout, self._registry.snapshot(is_fresh=True))
        if changed is not None:
            raise ConflictError(f"{changed} Look at it again: glassbox rollout status")
        return rollout

    def _transition(self, rollout: Rollout, after: State, actor: str, reason: str) -> Transition:
        evidence = evidence_of(rollout, answered_share(after, dry_run=rollout.dry_run))
        before = rollout.state.phase
        return Transition(self._clock(), before, after.phase, actor, reason, evidence)
