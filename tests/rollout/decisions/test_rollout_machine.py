"""Whatever people, servers and requests do in whatever order: the laws of rollouts hold."""

from contextlib import suppress
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glassbox.errors import ConflictError, InvalidValue
from glassbox.rollout.decisions.plan import GateLimits, RolloutPlan
from tests.rollout.traffic import Behaviour, new_world

PLAN = RolloutPlan(
    step_weight=0.5,
    max_weight=0.5,
    step_s=4.0,
    min_requests=40,
    min_distinct=5,
    min_step_requests=10,
    consecutive_passes=1,
    bake_s=6.0,
    min_bake_requests=20,
    cooldown_s=0.0,
    limits=GateLimits(difference=0.3, error_rate=0.3, slow_share=None, calibration=None),
)

GOOD, BAD = Behaviour(), Behaviour(error_rate=0.95)
NAMES = st.sampled_from(["v1", "v2", "v3"])
ACTIVE = ("Initialized", "Waiting", "Progressing", "WaitingPromotion", "Promoting", "Finalising")


class Rollouts(RuleBasedStateMachine):
    """People do what they may, by command and by hand; two servers look; requests come."""

    def __init__(self):
        super().__init__()
        self.world = new_world({name: GOOD for name in ("v1", "v2", "v3")})
        self.second = self.world.another()
        self.behaviours = dict(self.world.behaviours)
        self.seen: dict[str, int] = {}
        self.forced: set[str] = set()

    def teardown(self):
        self.world.database.close()

    @property
    def current(self):
        return self.world.controller.current()

    @rule(name=NAMES, confirm=st.booleans(), dry_run=st.booleans())
    def start(self, name, confirm, dry_run):
        with suppress(ConflictError, InvalidValue):
            self.world.controller.start(
                name, replace(PLAN, confirm=confirm), actor="p", dry_run=dry_run
            )

    @rule(n=st.sampled_from([5, 60, 120]))
    def requests(self, n):
        self.world.ask(n)

    @rule(which=st.booleans(), seconds=st.sampled_from([0.0, 2.0, 20.0]))
    def look(self, which, seconds):
        self.world.clock.now_s += seconds
        (self.world.controller if which else self.second).tick()

    @rule()
    def both_look_from_the_same_state(self):
        for rollout in self.world.store.active():
            self.world.controller._look(rollout)
            self.second._look(rollout)

    @rule(jump_s=st.sampled_from([-1e7, 1e7]))
    def the_clock_jumps(self, jump_s):
        self.world.clock.now_s += jump_s

    @rule(name=NAMES, is_bad=st.booleans())
    def behave(self, name, is_bad):
        self.behaviours[name] = BAD if is_bad else GOOD
        self.world.behaviours = self.behaviours

    @precondition(lambda self: self.current is not None)
    @rule(verb=st.sampled_from(["pause", "resume", "abort", "promote"]), force=st.booleans())
    def say(self, verb, force):
        rollout = self.current
        assert rollout is not None
        before = self.world.champion
        with suppress(ConflictError):
            if verb == "promote":
                self.world.controller.promote(rollout.id, actor="p", force=force)
                self.forced |= {rollout.id} if force else set()
            else:
                getattr(self.world.controller, verb)(rollout.id, actor="p")
        if verb == "abort":
            ended = self.world.controller.status(rollout.id)
            assert ended.phase == "Failed"
            # It answers no more, unless it was champion by other means than this rollout.
            if rollout.phase == "Finalising" and before == rollout.challenger:
                assert self.world.champion == rollout.champion

    @rule(number=st.sampled_from([1, 2, 3]))
    def somebody_promotes_by_hand(self, number):
        now = self.world.registry.snapshot(is_fresh=True).aliases["default"]["champion"]
        with suppress(ConflictError, InvalidValue):
            self.world.registry.promote(
                "default", number, expected_champion=now, actor="p", reason="by hand"
            )

    @rule(number=st.sampled_from([None, 1, 2, 3]))
    def somebody_moves_the_challenger(self, number):
        aliases = self.world.registry.snapshot(is_fresh=True).aliases["default"]
        with suppress(ConflictError, InvalidValue):
            self.world.registry.move_alias(
                "default",
                "challenger",
                number,
                expected=aliases.get("challenger"),
                actor="p",
                reason="by hand",
            )

    @invariant()
    def there_is_one_champion(self):
        snapshot = self.world.registry.snapshot(is_fresh=True)
        champion = snapshot.aliased("champion")
        assert champion is not None
        assert champion not in snapshot.challengers()

    @invariant()
    def at_most_one_rollout_is_under_way(self):
        active = [each for each in self.world.controller.listed() if each.phase in ACTIVE]
        assert len(active) <= 1

    @invariant()
    def who_answers_is_the_champion_or_the_challenger_of_the_rollout(self):
        fresh = self.world.registry.snapshot(is_fresh=True)
        routing = self.world.controller.routing("default", fresh)
        rollout = self.current
        assert routing.champion.name == self.world.champion
        assert routing.champion not in routing.shadows
        if routing.canary is None:
            assert routing.canary_weight == 0.0
        else:
            assert rollout is not None
            assert not rollout.dry_run
            assert routing.canary.name == rollout.challenger
            assert 0 < routing.canary_weight <= PLAN.max_weight or rollout.id in self.forced

    @invariant()
    def the_policy_promoted_only_with_all_gates_passing(self):
        for brief in self.world.controller.listed():
            status = self.world.controller.status(brief.id)
            steps = status.transitions
            assert self.seen.get(brief.id, 0) <= len(steps)
            self.seen[brief.id] = len(steps)
            for step in steps:
                if step.after == "Promoting" and step.actor == "rollout policy":
                    gates = step.evidence["gates"]
                    assert {each["verdict"] for each in gates} <= {"pass", "off"}
                    assert {"error_rate", "canary_error_rate"} <= {each["name"] for each in gates}
            if status.dry_run:
                assert all(each.after != "Promoting" for each in steps)


Rollouts.TestCase.settings = settings(max_examples=10, stateful_step_count=25, deadline=None)
TestRollouts = Rollouts.TestCase
