"""A server that dies behind any statement: aliases and phase agree at once, and another goes on."""

from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from glassbox.errors import ConflictError
from glassbox.rollout.decisions.status import Transition
from glassbox.rollout.versions.alias_rules import replayed
from tests.rollout.decisions.rides import QUICK, world_at
from tests.rollout.traffic import World, new_world


class Killed(Exception):
    """The process ended here; what was not committed is lost."""


@contextmanager
def killed_behind(world: World, place: int):
    """Let the world's server die right behind one of the statements that write, or commits."""
    dialect = world.database._engine.dialect
    names = ("do_execute", "do_executemany", "do_commit")
    n_seen = 0

    def mortal(run):
        def wrapped(*given, **named):
            nonlocal n_seen
            run(*given, **named)
            n_seen += not str(given[1:2]).startswith("('SELECT")
            if n_seen == place:
                raise Killed

        return wrapped

    for name in names:
        setattr(dialect, name, mortal(getattr(dialect, name)))
    try:
        yield
    finally:
        for name in names:
            delattr(dialect, name)


def started() -> tuple[World, str]:
    return new_world(), ""


def confirmed() -> tuple[World, str]:
    world, rollout_id = world_at("WaitingPromotion")
    world.controller.promote(rollout_id, actor="ann")
    return world, rollout_id


def taken_over() -> tuple[World, str]:
    """Decided, but somebody else makes a third version champion before it is done."""
    world, rollout_id = world_at("Progressing")
    (kept,) = world.store.active()
    step = Transition(world.clock(), "Progressing", "Promoting", "ann", "Decided.", {})
    world.store.save(replace(kept, state=replace(kept.state, phase="Promoting")), [step])
    world.registry.promote("default", 3, expected_champion=1, actor="carl", reason="mine")
    return world, rollout_id


DEEDS = {
    "start": (started, lambda it, _: it.start("v2", QUICK, actor="ann")),
    "promote": (
        lambda: world_at("Progressing"),
        lambda it, rollout_id: it.promote(rollout_id, actor="ann", force=True),
    ),
    "look that promotes": (confirmed, lambda it, _: it.tick()),
    "look at what was taken over": (taken_over, lambda it, _: it.tick()),
    "abort": (lambda: world_at("Progressing"), lambda it, which: it.abort(which, actor="ann")),
    "abort of a bake": (
        lambda: world_at("Finalising"),
        lambda it, rollout_id: it.abort(rollout_id, actor="ann"),
    ),
    "finish": (lambda: world_at("Finalising"), lambda it, which: it.finish(which, actor="ann")),
}


def agreed(world: World):
    """What is kept, once it was seen that all of it agrees."""
    history = world.registry.history(limit=1000)[::-1]
    assert [each.sequence for each in history] == list(range(1, len(history) + 1))
    aliases = world.registry.snapshot(is_fresh=True).aliases["default"]
    assert replayed(history) == {"default": aliases}
    steps = []
    for brief in world.store.briefs():
        status = world.controller.status(brief.id)
        steps = [(each.before, each.after, each.actor) for each in status.transitions]
        assert [None, *(after for _, after, _ in steps)][:-1] == [before for before, *_ in steps]
        assert status.phase == steps[-1][1]
        is_champion = status.phase in ("Finalising", "Succeeded")
        assert (aliases["champion"] == 2) == is_champion
        assert (aliases.get("challenger") == 2) == (status.phase != "Failed" and not is_champion)
    moves = [(each.alias, each.before, each.after, each.actor) for each in history]
    return steps, moves, aliases


@pytest.mark.parametrize("deed", DEEDS)
def test_a_server_that_dies_anywhere_leaves_what_agrees_and_another_goes_on(deed):
    prepared, act = DEEDS[deed]
    before, rollout_id = prepared()
    world = before.copied()
    act(world.controller, rollout_id)
    world.tick(0.0)
    whole = agreed(world)
    place, is_killed = 0, True
    while is_killed:
        place += 1
        world.become(before)
        is_killed = False
        with killed_behind(world, place):
            try:
                act(world.controller, rollout_id)
            except Killed:
                is_killed = True
        if deed != "look at what was taken over" or not world.store.active():
            agreed(world)
        # Whoever tries again is told that it was done, or does it now.
        with suppress(ConflictError):
            act(world.another(), rollout_id)
        world.tick(0.0)
        assert agreed(world) == whole, place
    assert place > 4
