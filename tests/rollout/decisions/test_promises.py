"""What a rollout promises, over many rollouts through the policy itself."""

import numpy as np
import pytest

from glassbox.rollout.decisions.evidence import Evidence
from glassbox.rollout.decisions.plan import GateLimits, RolloutPlan
from glassbox.rollout.decisions.policy import State, decide
from glassbox.stats.intervals import clopper_pearson

LIMITS = GateLimits(difference=None, error_rate=0.05, slow_share=None, calibration=None)
PLAN = RolloutPlan(min_requests=20, min_distinct=1, consecutive_passes=1, limits=LIMITS)


def ended(rng, increase, *, n_requests=1500, step=25):
    """What the shadow phase of one rollout comes to: advance, rollback or wait."""
    evidence, state = Evidence.begin("r", "v1", "v2", PLAN), State("Waiting")
    evidence.distinct.add("x")
    champion = rng.random(n_requests) < 0.02
    challenger = rng.random(n_requests) < 0.02 + increase
    pairs = challenger.astype(float) - champion
    for start in range(0, n_requests, step):
        evidence.tallies["errors"].extend(pairs[start : start + step])
        found = decide(PLAN, state, evidence)
        if found.verdict != "wait":
            return found.verdict
        state = found.state
    return "wait"


@pytest.mark.slow
def test_one_worse_by_exactly_the_limit_is_rarely_let_through():
    rng = np.random.default_rng(8)
    verdicts = [ended(rng, 0.05) for _ in range(400)]
    assert clopper_pearson(verdicts.count("advance"), 400, level=0.98)[0] <= 0.05
    assert clopper_pearson(verdicts.count("rollback"), 400, level=0.98)[0] <= 0.05


def test_one_that_is_fine_is_let_through_and_one_that_is_not_is_taken_back():
    rng = np.random.default_rng(9)
    assert [ended(rng, 0.0) for _ in range(12)].count("advance") >= 10
    assert [ended(rng, 0.2) for _ in range(12)].count("rollback") == 12
