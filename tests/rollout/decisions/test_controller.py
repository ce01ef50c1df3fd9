"""Rollouts from start to end, over a real registry and store, with requests made up."""

import gc
from dataclasses import replace

import pytest
import sqlalchemy as sa

from glassbox.errors import (
    ConflictError,
    InvalidValue,
    UnknownName,
)
from glassbox.rollout.decisions.evidence import Folding
from glassbox.rollout.decisions.gates import GateReading
from glassbox.rollout.decisions.plan import GateLimits
from glassbox.rollout.decisions.rollout_rows import Rollout
from glassbox.rollout.decisions.rollouts import RolloutStore
from glassbox.storage.database import open_database
from tests.rollout.decisions.rides import ENDED, QUICK, drive, world_at
from tests.rollout.traffic import Behaviour, World, new_world


def test_a_challenger_that_is_fine_becomes_champion_and_stays():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")
    phases = drive(world, status.id, until=ENDED)
    assert phases == ["Initialized", "Waiting", "Progressing", "Finalising", "Succeeded"]
    snapshot = world.registry.snapshot(is_fresh=True)
    assert world.champion == "v2"
    assert snapshot.aliased("previous_champion").name == "v1"
    assert snapshot.challengers() == ()


def test_weights_grow_step_by_step_and_are_kept_with_their_evidence():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann", reason="the new one")
    drive(world, status.id, until=ENDED)
    steps = world.controller.status(status.id).transitions
    weights = [each.evidence["weight"] for each in steps if each.after == "Progressing"]
    assert weights == [0.25, 0.5]
    assert steps[0].reason == "the new one"
    assert steps[0].actor == "ann"
    promoted = next(each for each in steps if each.after == "Promoting")
    verdicts = {each["name"]: each["verdict"] for each in promoted.evidence["gates"]}
    assert set(verdicts.values()) == {"pass"}
    assert "canary_error_rate" in verdicts


@pytest.mark.parametrize(
    ("gate", "bad"),
    [
        ("difference", Behaviour(shift=0.4)),
        ("error_rate", Behaviour(error_rate=0.5)),
        ("latency", Behaviour(latency_ms=500.0)),
    ],
)
def test_a_broken_challenger_is_rolled_back_by_the_gate_that_says_why(gate, bad):
    world = new_world({"v2": bad})
    status = world.controller.start("v2", QUICK, actor="ann")
    assert drive(world, status.id, until=ENDED)[-1] == "Failed"
    ended = world.controller.status(status.id)
    assert ended.decision.reason.startswith(f"Rolled back: {gate} ")
    assert {each.name: each.verdict for each in ended.gates}[gate] == "fail"
    assert world.champion == "v1"
    assert world.registry.snapshot(is_fresh=True).challengers() == ()
    move = world.registry.history(limit=1)[0]
    assert move.evidence["rollout_id"] == status.id
    assert gate in move.reason


def test_a_badly_calibrated_challenger_is_found_once_labels_come():
    world = new_world({"v2": Behaviour(shift=0.45)})
    limits = GateLimits(difference=None, error_rate=None, slow_share=None, calibration=0.05)
    status = world.controller.start("v2", replace(QUICK, limits=limits), actor="ann")
    for _ in range(10):
        world.ask(100, labels=True)
        (ended,) = world.tick() or [world.controller.status(status.id)]
    ended = world.controller.status(status.id)
    assert ended.phase == "Failed"
    assert "calibration" in ended.decision.reason


def test_the_champions_own_noise_is_not_held_against_the_challenger():
    noisy = {"v1": Behaviour(noise=0.15), "v2": Behaviour(noise=0.15)}
    world = new_world(noisy)
    status = world.controller.start("v2", QUICK, actor="ann")
    assert drive(world, status.id, until=ENDED, n=200)[-1] == "Succeeded"
    (gate,) = [
        each
        for step in world.controller.status(status.id).transitions
        if step.after == "Promoting"
        for each in step.evidence["gates"]
        if each["name"] == "difference"
    ]
    assert abs(gate["value"]) < 0.05


def test_one_that_breaks_after_its_promotion_is_rolled_back():
    world, rollout_id = world_at("Finalising")
    assert world.champion == "v2"
    world.behaviours = {"v2": Behaviour(error_rate=0.6)}
    assert drive(world, rollout_id, until=ENDED)[-1] == "Failed"
    assert world.champion == "v1"


@pytest.mark.parametrize("phase", ["Waiting", "Progressing", "WaitingPromotion", "Finalising"])
@pytest.mark.parametrize("is_paused", [False, True])
def test_a_breach_rolls_back_from_every_phase_even_while_paused(phase, is_paused):
    world, rollout_id = world_at(phase)
    if is_paused:
        world.controller.pause(rollout_id, actor="bob", reason="a walk")
    world.behaviours = {"v2": Behaviour(error_rate=0.9)}
    assert drive(world, rollout_id, until=ENDED)[-1] == "Failed"
    assert world.champion == "v1"


@pytest.mark.parametrize("phase", ["Waiting", "Progressing", "WaitingPromotion", "Finalising"])
def test_abort_rolls_back_from_every_phase(phase):
    world, rollout_id = world_at(phase)
    ended = world.controller.abort(rollout_id, actor="bob", reason="cold feet")
    assert ended.phase == "Failed"
    assert ended.decision.reason == "Aborted: cold feet."
    assert world.champion == "v1"
    assert world.controller.routing().canary is None
    with pytest.raises(ConflictError, match="has ended: Failed"):
        world.controller.abort(rollout_id, actor="bob")


def test_doubt_never_promotes_and_ends_at_the_longest_duration():
    world = new_world({"v2": Behaviour(shift=0.106)})
    plan = replace(QUICK, max_duration_s=30.0)
    status = world.controller.start("v2", plan, actor="ann")
    phases = drive(world, status.id, until=ENDED)
    assert phases == ["Initialized", "Waiting", "Failed"]
    assert "still not promoted" in world.controller.status(status.id).decision.reason


def test_no_requests_promote_nobody():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")
    for _ in range(50):
        world.tick(30.0)
    ended = world.controller.status(status.id)
    assert ended.phase == "Waiting"
    assert {each.verdict for each in ended.gates} == {"not_enough_data"}


def test_the_same_input_again_and_again_is_no_evidence():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")
    for _ in range(20):
        first = len(world.log.events)
        world.ask(50)
        for place, event in enumerate(world.log.events[first:], start=first):
            if hasattr(event, "feature_hash"):
                world.log.events[place] = replace(event, feature_hash="v1:k1:same")
        world.tick()
    after = world.controller.status(status.id)
    assert after.phase == "Waiting"
    assert "1 different inputs of 20" in after.decision.reason


def test_a_person_confirms_where_the_plan_says_so():
    world, rollout_id = world_at("WaitingPromotion")
    world.ask(100)
    assert world.tick()[0].phase == "WaitingPromotion"
    world.controller.promote(rollout_id, actor="bob", reason="looks good")
    assert drive(world, rollout_id, until=("Finalising",))[-1] == "Finalising"
    assert world.champion == "v2"


def test_a_person_may_overrule_doubt_but_not_a_failing_gate():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")
    world.ask(10)
    world.tick()
    with pytest.raises(ConflictError, match="still Waiting"):
        world.controller.promote(status.id, actor="bob")
    promoted = world.controller.promote(status.id, actor="bob", reason="urgent", force=True)
    assert promoted.phase == "Finalising"
    assert world.champion == "v2"


def test_a_new_challenger_begins_without_evidence():
    world, rollout_id = world_at("Progressing")
    world.registry.move_alias("default", "challenger", 3, expected=2, actor="bob", reason="v3")
    (after,) = world.tick()
    assert (after.challenger, after.phase, after.weight) == ("v3", "Waiting", 0.0)
    assert after.gates == ()
    assert after.evidence_series == ()
    (after,) = world.tick()
    assert all(each.n == 0 for each in after.gates)
    assert drive(world, rollout_id, until=ENDED)[-1] == "Succeeded"
    assert world.champion == "v3"


def test_a_new_champion_begins_without_evidence_too():
    world, _ = world_at("Progressing")
    world.registry.promote("default", 3, expected_champion=1, actor="bob", reason="hotfix")
    (after,) = world.tick()
    assert (after.champion, after.phase) == ("v3", "Waiting")


def test_a_challenger_taken_away_ends_its_rollout():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")
    world.tick()
    world.registry.move_alias("default", "challenger", None, expected=2, actor="bob", reason="no")
    world.tick()
    assert world.controller.status(status.id).phase == "Failed"


def test_a_dry_run_says_what_it_would_do_and_does_nothing():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann", dry_run=True)
    phases = drive(world, status.id, until=ENDED)
    assert phases == ["Initialized", "Waiting", "Succeeded"]
    assert world.controller.status(status.id).decision.reason.startswith("Dry run")
    assert world.champion == "v1"
    assert world.controller.status(status.id).weight == 0.0


def test_a_failed_challenger_cools_down_first():
    world = new_world({"v2": Behaviour(error_rate=0.9)})
    status = world.controller.start("v2", QUICK, actor="ann")
    drive(world, status.id, until=ENDED)
    with pytest.raises(ConflictError, match="Try again in 60 s"):
        world.controller.start("v2", QUICK, actor="ann")
    world.controller.start("v3", QUICK, actor="ann")


def test_a_failure_dated_by_a_clock_that_was_far_ahead_cools_nothing_down():
    world = new_world({"v2": Behaviour(error_rate=0.9)})
    status = world.controller.start("v2", QUICK, actor="ann")
    drive(world, status.id, until=ENDED)
    world.clock.now_s -= 86400.0
    world.controller.start("v2", QUICK, actor="ann")


def test_only_one_rollout_of_a_model_is_under_way():
    world = new_world()
    world.controller.start("v2", QUICK, actor="ann")
    with pytest.raises(ConflictError, match="is under way"):
        world.controller.start("v3", QUICK, actor="ann")
    assert [each.name for each in world.registry.snapshot(is_fresh=True).challengers()] == ["v2"]


def test_what_cannot_be_started_is_said():
    world = new_world()
    with pytest.raises(InvalidValue, match="another version than the champion"):
        world.controller.start("v1", actor="ann")
    with pytest.raises(UnknownName, match="v9"):
        world.controller.start("v9", actor="ann")
    with pytest.raises(UnknownName, match="No rollout 'r-0'"):
        world.controller.status("r-0")


def test_two_servers_that_look_at_once_act_once():
    world = new_world()
    other = world.another()
    status = world.controller.start("v2", QUICK, actor="ann")
    for _ in range(60):
        world.ask(150, seconds=6.0)
        # Both have the same state in hand when they begin.
        (mine,) = world.store.active() or [None]
        if mine is None:
            break
        world.controller._look(mine)
        other._look(mine)
    after = world.controller.status(status.id)
    assert after.phase == "Succeeded"
    steps = [(each.before, each.after, each.evidence["weight"]) for each in after.transitions]
    assert len(steps) == len(set(steps))
    moves = [each for each in world.registry.history() if each.alias == "champion"]
    assert len(moves) == 2


def test_a_promotion_that_was_cut_short_is_taken_up_again(monkeypatch):
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")

    def dies(*_args):
        raise SystemExit

    monkeypatch.setattr(world.controller, "_promoted", dies)
    with pytest.raises(SystemExit):
        drive(world, status.id, until=ENDED)
    assert world.controller.status(status.id).phase == "Promoting"
    assert world.champion == "v1"
    world.controller = world.another()
    assert drive(world, status.id, until=ENDED)[-1] == "Succeeded"


@pytest.mark.parametrize("jump_s", [86400.0 * 30, -86400.0 * 30])
def test_a_clock_that_jumps_decides_nothing(jump_s):
    world, _ = world_at("Finalising")
    world.clock.now_s += jump_s
    world.tick(0.0)
    world.ask(200)
    (after,) = world.tick(0.0)
    # Thirty days went by on the clock; at most half a minute of them was watched.
    assert after.phase in ("Finalising", "Succeeded")
    world = new_world()
    world.controller.start("v2", replace(QUICK, max_duration_s=3600.0), actor="ann")
    world.tick()
    world.clock.now_s += jump_s
    (after,) = world.tick(0.0)
    assert after.phase == "Waiting"


def test_the_series_stays_small_however_long_it_takes():
    rollout = Rollout("r", "default", "v1", "v2", QUICK, 0.0, 0.0)
    for n in range(1000):
        gate = GateReading("error_rate", 0.1, 0.0, 0.2, 0.1, "inconclusive", n, 1, "")
        rollout = rollout.with_points((gate, gate), float(n))
    points = rollout.series["error_rate"]["points"]
    assert 100 <= len(points) <= 200
    assert [each[0] for each in points] == sorted({each[0] for each in points})
    assert points[0][0] == 0


def test_routing_is_plain_without_a_rollout_and_has_a_share_within_one():
    world = new_world()
    routing = world.controller.routing()
    assert routing.champion.name == "v1"
    assert routing.canary is None
    assert routing.shadows == ()
    status = world.controller.start("v2", QUICK, actor="ann")
    assert [each.name for each in world.controller.routing().shadows] == ["v2"]
    drive(world, status.id, until=("Progressing",))
    routing = world.controller.routing()
    assert routing.canary.name == "v2"
    assert routing.canary_weight == 0.25
    assert routing.rollout_id == status.id
    assert routing.standby is None
    drive(world, status.id, until=("Finalising",))
    routing = world.controller.routing()
    assert (routing.champion.name, routing.canary) == ("v2", None)
    assert routing.standby.name == "v1", "the way back is kept loaded"
    drive(world, status.id, until=("Succeeded",))
    assert world.controller.routing().standby is None
    with pytest.raises(UnknownName, match="champion of"):
        world.controller.routing("other")


def test_a_list_of_rollouts_reads_nothing_of_their_series():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")
    drive(world, status.id, until=("Progressing",))
    with world.database.transaction() as connection:
        # Who read them would see that they are no JSON.
        connection.execute(sa.text("UPDATE rollouts SET series = 'large', evidence = 'large'"))
    (found,) = world.controller.listed()
    assert (found.id, found.phase, found.weight) == (status.id, "Progressing", 0.25)


def test_nothing_of_a_rollout_that_has_ended_stays_in_memory():
    world = new_world()
    n_before = None
    for _ in range(3):
        status = world.controller.start("v2", replace(QUICK, cooldown_s=0.0), actor="ann")
        world.ask(50, seconds=2.0)
        world.tick(0.0)
        world.controller.abort(status.id, actor="ann")
        world.tick(0.0)
        gc.collect()
        n_now = sum(type(each) is Folding for each in gc.get_objects())
        n_before = n_now if n_before is None else n_before
        assert n_now == n_before


def test_rollouts_are_kept_in_either_database(database_url):
    database = open_database(database_url)
    world = World(database)
    status = world.controller.start("v2", QUICK, actor="ann")
    drive(world, status.id, until=("Progressing",), n=200)
    database.close()
    again = open_database(database_url)
    try:
        store = RolloutStore(again)
        kept = store.load(status.id)
        assert store.status(kept) == world_status(again, status.id)
        with pytest.raises(ConflictError, match="changed by somebody else"):
            store.save(replace(kept, revision=kept.revision - 1))
    finally:
        again.close()


def world_status(database, rollout_id):
    store = RolloutStore(database)
    return store.status(store.load(rollout_id))
