import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from glassbox.pathways.experiment.conditions import CONDITIONS
from glassbox.pathways.experiment.effects import Trials, cohen_d, contrast_of, result_of
from glassbox.pathways.latents import LatentId

decisions = st.lists(st.sampled_from(["stop", "continue", None]), min_size=30, max_size=30)


def _trials(**changed):
    usual = {each.name: Trials(["stop", "continue"] * 15, [0.5] * 30) for each in CONDITIONS}
    return usual | {name: Trials(each, [0.5] * 30) for name, each in changed.items()}


@given(decisions, decisions)
def test_d_and_p_are_those_of_the_textbook(after, before):
    found = contrast_of(_trials(safe_with_risky_patch=after, safe_baseline=before), "safe")
    values = {"stop": 1.0, "continue": 0.0}
    x, y = ([values[each] for each in side if each] for side in (after, before))
    assert (found.n_treated, found.n_baseline) == (len(x), len(y))
    if len(x) > 1 and len(y) > 1 and np.ptp(x) + np.ptp(y) > 0:
        pooled = ((len(x) - 1) * np.var(x, ddof=1) + (len(y) - 1) * np.var(y, ddof=1)) / (
            len(x) + len(y) - 2
        )
        assert found.cohen_d == pytest.approx((np.mean(x) - np.mean(y)) / np.sqrt(pooled))
    else:
        assert found.cohen_d is None
    pairs = [(a, b) for a, b in zip(after, before, strict=True) if a and b and a != b]
    n_up = sum(a == "stop" for a, _ in pairs)
    expected = scipy_stats.binom.cdf(min(n_up, len(pairs) - n_up), len(pairs), 0.5) * 2
    assert found.p_value == pytest.approx(min(1.0, expected))


def test_the_means_choose_the_contrast_and_both_size_and_test_are_needed():
    down = ["continue"] * 30
    trials = _trials(safe_with_risky_patch=down)
    means = {"safe": {"span": 1.0, "last": 0.0}, "risky": {"span": 0.0, "last": 0.0}}

    def result(stronger, **limits):
        limits = {"alpha": 0.05, "min_abs_d": 0.3} | limits
        return result_of(LatentId(3, 7), trials, stronger, means, **limits)

    found = result("safe")
    assert found["is_causal"]
    assert found["contrast"] == ["safe_with_risky_patch", "safe_baseline"]
    assert found["cohen_d"] < -1
    assert (found["feature"], found["layer"], found["feature_id"]) == ("L3-7", 3, 7)
    assert found["stop_rates"]["safe_baseline"] == 0.5
    other = result("risky")
    assert not other["is_causal"]
    assert other["cohen_d"] == 0
    assert other["other_contrast"]["cohen_d"] == found["cohen_d"]
    assert not result("safe", min_abs_d=5.0)["is_causal"]


def test_decisions_without_variance_have_no_d_and_a_whole_reversal_is_still_found():
    trials = _trials(safe_with_risky_patch=["continue"] * 30, safe_baseline=["stop"] * 30)
    means = {kind: {"span": 0.0, "last": 0.0} for kind in ("safe", "risky")}
    found = result_of(LatentId(0, 0), trials, "safe", means, alpha=0.05, min_abs_d=0.3)
    assert found["cohen_d"] is None
    assert found["difference"] == -1
    assert found["is_causal"]


def test_nothing_decided_is_no_effect():
    trials = _trials(safe_with_risky_patch=[None] * 30)
    means = {kind: {"span": 0.0, "last": 0.0} for kind in ("safe", "risky")}
    found = result_of(LatentId(0, 0), trials, "safe", means, alpha=0.05, min_abs_d=0.3)
    assert not found["is_causal"]
    assert found["difference"] is None
    assert found["n_undecided"] == 30


def test_d_needs_two_trials_a_side():
    assert cohen_d(np.array([1.0]), np.array([0.0, 1.0, 1.0])) is None
    assert cohen_d(np.array([]), np.array([0.0, 1.0])) is None
