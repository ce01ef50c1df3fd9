"""Who answers requests and who only sees them while a rollout is under way: pure."""

from dataclasses import replace

from glassbox.rollout.decisions.policy import CANARY_PHASES
from glassbox.rollout.decisions.rollout_rows import Rollout
from glassbox.rollout.routing import Routing
from glassbox.rollout.version import Snapshot, Version


def routing_within(rollout: Rollout, snapshot: Snapshot, plain: Routing) -> Routing:
    """Return who answers requests to a model, and who only sees them, under a rollout of it.

    Args:
        rollout: What is under way.
        snapshot: The registry.
        plain: The routing without a rollout, of the same snapshot.
    """
    canary: Version | None = None
    standby: Version | None = None
    if rollout.state.phase in CANARY_PHASES and rollout.champion == plain.champion.name:
        canary = next((each for each in plain.shadows if each.name == rollout.challenger), None)
    if rollout.state.phase == "Finalising" and rollout.challenger == plain.champion.name:
        # The bake may end with the way back at any look, and must not wait for it to load.
        standby = snapshot.named(rollout.champion)
    weight = rollout.state.weight if canary else 0.0
    return replace(
        plain, canary=canary, canary_weight=weight, standby=standby, rollout_id=rollout.id
    )
