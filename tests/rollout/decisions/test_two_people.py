"""Several people and servers that act on one rollout at once: one wins, the others are told."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from glassbox.errors import ConflictError
from glassbox.storage.database import open_database
from tests.rollout.decisions.rides import QUICK, drive, world_at
from tests.rollout.traffic import World


def test_an_abort_in_the_middle_of_a_promotion_leaves_the_old_champion():
    world, rollout_id = world_at("Progressing")
    other = world.another()
    promoted = world.controller._moves.promoted

    def late(*given):
        # Between the word that it is being promoted and the move of the alias.
        other.abort(rollout_id, actor="bob", reason="looks bad")
        return promoted(*given)

    world.controller._moves.promoted = late
    assert world.controller.promote(rollout_id, actor="ann", force=True).phase == "Failed"
    assert world.champion == "v1"
    assert world.registry.snapshot(is_fresh=True).challengers() == ()


def test_an_abort_right_behind_the_word_to_promote_is_the_last_word():
    world, rollout_id = world_at("Progressing")
    other = world.another()
    save = world.store.save

    def late(*given, **named):
        kept = save(*given, **named)
        if kept.state.phase == "Promoting":
            other.abort(rollout_id, actor="bob", reason="looks bad")
        return kept

    world.store.save = late
    ended = world.controller.promote(rollout_id, actor="ann", force=True)
    assert [each.after for each in ended.transitions[-2:]] == ["Promoting", "Failed"]
    assert (ended.phase, world.champion) == ("Failed", "v1")


def test_what_somebody_else_moved_is_neither_promoted_nor_finished():
    world, rollout_id = world_at("Progressing")
    world.registry.promote("default", 3, expected_champion=1, actor="carl", reason="mine")
    with pytest.raises(ConflictError, match=r"The champion is v3 now: somebody else moved it\."):
        world.controller.promote(rollout_id, actor="ann", force=True)
    assert world.controller.status(rollout_id).phase == "Progressing"
    world, rollout_id = world_at("Finalising")
    world.registry.rollback("default", expected_champion=2, actor="carl", reason="mine")
    with pytest.raises(ConflictError, match=r"The champion is v1 now: somebody else moved it\."):
        world.controller.finish(rollout_id, actor="ann")
    (ended,) = world.tick()
    assert (ended.phase, world.champion) == ("Failed", "v1")


def test_an_abort_that_comes_after_the_end_of_the_bake_moves_nothing():
    world, rollout_id = world_at("Finalising")
    other = world.another()
    undone = world.controller._moves.undone

    def late(*given):
        other.finish(rollout_id, actor="bob")
        return undone(*given)

    world.controller._moves.undone = late
    with pytest.raises(ConflictError, match="has ended: Succeeded"):
        world.controller.abort(rollout_id, actor="ann")
    assert world.champion == "v2"


def test_a_second_promotion_does_not_end_the_bake_of_the_first():
    world, rollout_id = world_at("Progressing")
    assert world.controller.promote(rollout_id, actor="ann", force=True).phase == "Finalising"
    with pytest.raises(ConflictError, match=f"champion already.*rollout finish {rollout_id}"):
        world.another().promote(rollout_id, actor="bob", force=True)
    assert world.controller.status(rollout_id).phase == "Finalising"


def test_a_second_confirmation_is_told_of_the_first():
    world, rollout_id = world_at("WaitingPromotion")
    world.controller.promote(rollout_id, actor="ann")
    with pytest.raises(ConflictError, match=r"was confirmed already\. Confirmed by ann\."):
        world.another().promote(rollout_id, actor="bob")


def test_force_overrules_doubt_that_came_back_before_the_confirmation():
    world, rollout_id = world_at("WaitingPromotion")
    (kept,) = world.store.active()
    tallies = kept.evidence["tallies"]
    few = {**tallies, "difference": {**tallies["difference"], "n": 1}}
    world.store.save(replace(kept, evidence={**kept.evidence, "tallies": few}))
    world.tick()
    assert "In doubt again" in world.controller.status(rollout_id).decision.reason
    promoted = world.controller.promote(rollout_id, actor="ann", force=True)
    assert (promoted.phase, world.champion) == ("Finalising", "v2")


def test_what_may_be_said_follows_the_phase():
    world, rollout_id = world_at("Progressing")
    assert world.controller.status(rollout_id).verbs == ("pause", "promote", "abort")
    with pytest.raises(ConflictError, match="does not bake: it is Progressing"):
        world.controller.finish(rollout_id, actor="ann")
    world.controller.pause(rollout_id, actor="ann")
    assert world.controller.status(rollout_id).verbs == ("resume", "promote", "abort")
    world.controller.promote(rollout_id, actor="ann", force=True)
    baking = world.controller.status(rollout_id)
    assert (baking.verbs, baking.weight) == (("pause", "finish", "abort"), 1.0)
    assert baking.transitions[-1].evidence["weight"] == 1.0
    ended = world.controller.finish(rollout_id, actor="ann", reason="sure")
    assert (ended.phase, ended.verbs, world.champion) == ("Succeeded", (), "v2")
    assert ended.transitions[-1].reason == "Bake ended: sure"
    assert (ended.decision.verdict, ended.decision.reason) == ("finish", "Bake ended by ann.")


@pytest.mark.parametrize(
    "verbs", [("promote", "promote"), ("promote", "abort"), ("abort", "abort")]
)
def test_people_who_act_at_once_leave_one_truth(database_url, verbs):
    database = open_database(database_url)
    world = World(database)
    rollout_id = world.controller.start("v2", QUICK, actor="ann").id
    drive(world, rollout_id, until=("Progressing",), n=200)
    people = [world.another() for _ in verbs for _ in range(3)]
    together = Barrier(len(people))

    def act(place):
        verb = verbs[place % len(verbs)]
        together.wait()
        try:
            if verb == "promote":
                people[place].promote(rollout_id, actor=f"p{place}", force=True)
            else:
                people[place].abort(rollout_id, actor=f"p{place}")
        except ConflictError:
            return None
        return verb

    with ThreadPoolExecutor(len(people)) as pool:
        won = [each for each in pool.map(act, range(len(people))) if each]
    ended = world.controller.status(rollout_id)
    database.close()
    is_aborted = "abort" in verbs
    # Whoever promotes may be first and whoever aborts second; nobody does the same twice.
    assert len(won) == len(set(won))
    assert ended.phase == ("Failed" if is_aborted else "Finalising")
    assert world.champion == ("v1" if is_aborted else "v2")
