"""Rollouts that are cut short, looked at twice, or told late."""

from dataclasses import replace

import orjson
import pytest
import sqlalchemy as sa

from glassbox.audit.records import LabelEvent, PrimaryEvent
from glassbox.errors import CapacityError, ConflictError, CorruptArtifact
from glassbox.rollout.decisions.plan import GateLimits
from glassbox.rollout.decisions.status import Transition
from tests.rollout.decisions.rides import ENDED, QUICK, drive
from tests.rollout.traffic import Behaviour, new_world


def test_no_label_is_lost_or_counted_twice_whoever_keeps_the_state_first():
    world = new_world()
    limits = GateLimits(difference=None, error_rate=None, slow_share=None, calibration=0.02)
    status = world.controller.start("v2", replace(QUICK, limits=limits), actor="ann")
    world.tick()
    other = world.another()
    n_labels = 0
    for turn in range(6):
        (mine,) = world.store.active()
        world.ask(20, labels=True)
        n_labels += 20
        # A retry of the same truths, as clients send them.
        world.log.events += [e for e in world.log.events if isinstance(e, LabelEvent)][-10:]
        if turn % 2:
            other._look(mine)
        # This server comes too late every other time: what it folded is not kept.
        world.controller._look(mine)
    world.tick()
    (kept,) = world.store.active()
    assert kept.evidence["tallies"]["brier"]["n"] == n_labels
    assert status.id == kept.id


def test_a_truth_told_after_the_promotion_still_takes_a_bad_one_back():
    world = new_world({"v2": Behaviour(shift=0.45)})
    limits = GateLimits(difference=None, error_rate=None, slow_share=None, calibration=0.05)
    status = world.controller.start("v2", replace(QUICK, bake_s=3600.0, limits=limits), actor="ann")
    world.tick()
    world.ask(400)
    world.tick()
    world.controller.promote(status.id, actor="ann", force=True)
    assert world.champion == "v2"
    asked = [each.request_id for each in world.log.events if isinstance(each, PrimaryEvent)]
    world.log.events += [LabelEvent(each, world.clock(), "b", "t") for each in asked]
    world.tick()
    ended = world.controller.status(status.id)
    assert (ended.phase, world.champion) == ("Failed", "v1")
    assert "calibration" in ended.decision.reason


def test_a_start_that_came_too_late_leaves_the_aliases_of_the_faster_one(monkeypatch):
    world = new_world()
    other = world.another()
    world.registry.move_alias(
        "default", "challenger", 2, expected=None, actor="ann", reason="to see copies"
    )

    def also_started():
        # Between all that was looked at and what is kept.
        world.controller.start("v2", QUICK, actor="ann")
        return 0

    monkeypatch.setattr(other._seen, "last_sequence", also_started)
    with pytest.raises(ConflictError, match="is under way"):
        other.start("v2", QUICK, actor="bob")
    (status,) = world.tick()
    assert status.phase == "Waiting"
    assert world.registry.snapshot(is_fresh=True).aliased("challenger").name == "v2"


def test_a_promotion_that_cannot_be_kept_moves_no_alias_and_is_taken_up_again(monkeypatch):
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")
    with monkeypatch.context() as broken:
        save = world.store.save

        def fails(rollout, steps=(), **how):
            if rollout.state.phase == "Finalising":
                raise CapacityError("The database is locked.")
            return save(rollout, steps, **how)

        broken.setattr(world.store, "save", fails)
        with pytest.raises(CapacityError):
            drive(world, status.id, until=ENDED)
    assert (world.controller.status(status.id).phase, world.champion) == ("Promoting", "v1")
    (after,) = world.tick()
    assert (after.phase, world.champion) == ("Finalising", "v2")
    world.behaviours = {"v2": Behaviour(error_rate=0.9)}
    assert drive(world, status.id, until=ENDED)[-1] == "Failed"
    assert world.champion == "v1"


def test_a_start_that_came_too_late_gives_its_challenger_no_alias():
    world = new_world()
    world.controller.start("v2", QUICK, actor="ann")
    n_moves = len(world.registry.history())
    with pytest.raises(ConflictError, match="is under way"):
        world.another().start("v3", QUICK, actor="bob")
    assert len(world.registry.history()) == n_moves
    assert [each.name for each in world.registry.snapshot(is_fresh=True).challengers()] == ["v2"]


def test_a_rollout_that_cannot_be_read_holds_up_no_other_one():
    world = new_world()
    for model in ("a", "b"):
        for number in (1, 2):
            world.registry.register(
                model, "callable", f"{model}:{number}", f"{model}{number}", name=f"{model}{number}"
            )
        world.registry.move_alias(model, "champion", 1, expected=None, actor="t", reason="seed")
    broken = world.controller.start("a2", QUICK, model="a", actor="ann")
    good = world.controller.start("b2", QUICK, model="b", actor="ann")
    world.store.save(replace(world.store.load(broken.id), evidence={"champion": "?"}))
    with pytest.raises(CorruptArtifact, match="evidence of a rollout"):
        world.tick()
    assert world.controller.status(good.id).phase == "Waiting"


def test_a_rollout_that_a_newer_glassbox_keeps_stops_no_other():
    world = new_world()
    status = world.controller.start("v2", QUICK, actor="ann")
    ours = world.store.load(status.id)
    theirs = replace(ours, id="theirs", model="another", revision=0)
    world.store.create(theirs, Transition(0.0, None, "Initialized", "ann", "begun", {}))
    with world.database.transaction() as connection:
        row = sa.table("rollouts", sa.column("id"), sa.column("progress"))
        (text,) = connection.execute(sa.select(row.c.progress).where(row.c.id == "theirs")).one()
        progress = orjson.loads(text)
        progress["state"]["later"] = 1
        changed = {"progress": orjson.dumps(progress).decode()}
        connection.execute(row.update().where(row.c.id == "theirs").values(changed))
    before = world.store.load(status.id).revision
    refused = (
        r"rollout theirs of 'another': .*'later'.*A newer Glassbox may have written it: upgrade"
    )
    with pytest.raises(CorruptArtifact, match=refused):
        world.controller.tick()
    assert world.store.load(status.id).revision > before
    for read in (lambda: world.store.load("theirs"), world.store.active):
        with pytest.raises(CorruptArtifact, match="upgrade this one"):
            read()
    phases = {each.id: (each.model, each.phase) for each in world.store.briefs()}
    assert phases == {status.id: ("default", "Waiting"), "theirs": ("another", "Unreadable")}
    assert [each.id for each in world.store.latest()] == [status.id]
