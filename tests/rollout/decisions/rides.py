"""A quick plan, and requests that come until a rollout is where a test wants it."""

from dataclasses import replace
from functools import cache

from glassbox.rollout.decisions.plan import GateLimits, RolloutPlan
from tests.rollout.traffic import World, new_world

QUICK = RolloutPlan(
    step_weight=0.25,
    max_weight=0.5,
    step_s=10.0,
    min_requests=100,
    min_distinct=20,
    min_step_requests=20,
    consecutive_passes=2,
    bake_s=20.0,
    min_bake_requests=50,
    cooldown_s=60.0,
    limits=GateLimits(difference=0.1, error_rate=0.1, slow_share=0.2, calibration=0.1),
)


def drive(world: World, rollout_id: str, *, until: tuple[str, ...], looks: int = 400, n: int = 50):
    """Let requests come and look, until a phase is reached."""
    phases = []
    for _ in range(looks):
        status = world.controller.status(rollout_id)
        if not phases or phases[-1] != status.phase:
            phases.append(status.phase)
        if status.phase in until:
            return phases
        world.ask(n, seconds=2.0)
        world.tick(0.0)
    raise AssertionError(f"{phases}: {status.decision}")


ENDED = ("Succeeded", "Failed")

BEFORE = {"Progressing": "Waiting", "WaitingPromotion": "Progressing", "Finalising": "Progressing"}


def world_at(phase: str) -> tuple[World, str]:
    """Return a world of one's own whose rollout, of v2, has just come to a phase; and its id.

    Somebody has to confirm the promotion only where the phase is the one that waits for that.
    """
    world, rollout_id = _reached(phase, confirm=phase == "WaitingPromotion")
    return world.copied(), rollout_id


@cache
def _reached(phase: str, *, confirm: bool) -> tuple[World, str]:
    if phase in BEFORE:
        before, rollout_id = _reached(BEFORE[phase], confirm=confirm)
        world = before.copied()
    else:
        world = new_world()
        rollout_id = world.controller.start("v2", replace(QUICK, confirm=confirm), actor="ann").id
    drive(world, rollout_id, until=(phase,))
    return world, rollout_id
