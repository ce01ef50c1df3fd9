"""A quick plan, and requests that come until a rollout is where a test wants it."""

from glassbox.rollout.decisions.plan import GateLimits, RolloutPlan
from tests.rollout.traffic import World

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
