"""How many instances, and how a fleet takes a spike."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.deploy.plan.autoscaling import (
    Policy,
    Spike,
    concurrency_at,
    simulate_scaling,
)
from glassbox.deploy.plan.simulator import ServerModel
from glassbox.deploy.plan.sizing import (
    felt_at_random,
    felt_by_least_busy,
    instances_for_latency,
    instances_for_target,
)
from glassbox.deploy.plan.traffic import Traffic
from glassbox.errors import CapacityError, InvalidValue
from tests.deploy.plan.worlds import sharing

PLAIN = ServerModel(np.array([2.5]), 200)


@given(rate=st.floats(0.01, 1e5), target=st.floats(0.05, 1.0))
def test_the_fewest_instances_keep_the_target_and_one_fewer_does_not(rate, target):
    n = instances_for_target(PLAIN, rate, target)
    assert rate / (n * PLAIN.peak_rate) <= target * (1 + 1e-9)
    assert n == 1 or rate / ((n - 1) * PLAIN.peak_rate) > target * (1 - 1e-9)


def test_whole_quotients_are_not_rounded_up():
    assert instances_for_target(PLAIN, 500, 0.8) == 250


@pytest.mark.parametrize("target", [0.0, 1.2, float("nan")])
def test_a_target_is_a_fraction(target):
    with pytest.raises(InvalidValue, match="target"):
        instances_for_target(PLAIN, 1.0, target)


def test_the_fewest_instances_keep_the_time_and_one_fewer_does_not():
    rate, limit_s = 20.0, 1.2
    n = instances_for_latency(PLAIN, rate, limit_s)
    assert felt_at_random(PLAIN, rate / n).p99_s <= limit_s
    assert felt_at_random(PLAIN, rate / (n - 1)).p99_s > limit_s


def test_no_number_of_instances_is_faster_than_one_request_alone():
    with pytest.raises(CapacityError, match=r"takes 0\.4 s when it is alone"):
        instances_for_latency(PLAIN, 5.0, 0.3)


def test_the_least_busy_instance_is_never_the_worse_choice():
    anywhere = felt_at_random(PLAIN, 2.0)
    least = felt_by_least_busy(PLAIN, 20, 40.0)
    assert least.utilisation == pytest.approx(anywhere.utilisation)
    assert least.p50_s <= anywhere.p50_s
    assert least.p99_s < anywhere.p99_s / 3


def scaled(policy, spike=None, factor=1.5):
    traffic = Traffic(864_000, 1.0, factor)
    return simulate_scaling(PLAIN, traffic, policy, spike=spike, limit_s=5.0)


POLICY = Policy(concurrency_at(PLAIN, 0.8), least=2, most=60)


def test_an_ordinary_day_is_followed_without_late_requests():
    day = scaled(dataclasses.replace(POLICY, metric="utilisation", target=0.7))
    assert day.share_turned_away == 0
    assert day.share_late < 0.001
    assert day.ready.max() >= 6
    assert day.ready[:2000].min() < day.ready.max()
    assert len(day.rates) == len(day.ready) == len(day.times_s) == 8640


def test_servers_answer_a_cold_start_after_they_were_decided_on():
    day = scaled(POLICY, Spike(3.0))
    begun = int(np.argmax(day.wanted > day.ready))
    answered = begun + int(np.argmax(day.ready[begun:] > day.ready[begun]))
    assert (answered - begun) * 10 == pytest.approx(POLICY.cold_start_s, abs=10)


@pytest.mark.parametrize(("metric", "after_s"), [("concurrency", 30), ("utilisation", 180)])
def test_a_spike_is_answered_after_three_figures_of_what_is_watched(metric, after_s):
    """Requests under way are told every ten seconds, a GPU's utilisation every minute."""
    policy = dataclasses.replace(POLICY, metric=metric, target=0.8, least=8)
    spike = Spike(3.0)
    day = scaled(policy, spike, factor=1.0)
    decided_s = 10 * (int(np.argmax(day.wanted > day.ready)) + 1)
    assert decided_s - spike.at_s == after_s


def test_a_faster_start_leaves_fewer_requests_late():
    slow = scaled(POLICY, Spike(3.0))
    fast = scaled(dataclasses.replace(POLICY, cold_start_s=30.0), Spike(3.0))
    assert slow.share_late > 1.5 * fast.share_late > 0


def test_a_fleet_that_was_large_enough_before_does_not_feel_the_spike():
    day = scaled(dataclasses.replace(POLICY, least=30), Spike(3.0))
    assert day.share_late == 0


def test_the_fleet_keeps_between_its_bounds_and_requests_are_lost_at_the_upper_one():
    day = scaled(dataclasses.replace(POLICY, most=5), Spike(4.0))
    assert 2 <= day.ready.min() <= day.ready.max() <= 5
    assert day.share_turned_away > 0
    assert day.longest_s <= (PLAIN.n_waiting + PLAIN.n_rows) / PLAIN.peak_rate + 1


def test_what_is_paid_for_includes_servers_that_start():
    day = scaled(POLICY, Spike(3.0))
    assert day.mean_servers >= day.ready.mean()
    assert day.mean_servers <= day.peak_servers


def test_requests_under_way_grow_with_the_utilisation():
    server = sharing()
    counts = [concurrency_at(server, share) for share in (0.1, 0.5, 0.8, 1.0)]
    assert counts == sorted(counts)
    assert counts[-1] == server.n_rows
    assert concurrency_at(PLAIN, 0.8) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"target": 0.0}, "target"),
        ({"target": 1.0, "metric": "utilisation"}, "utilisation below 1"),
        ({"target": 1.0, "least": 0}, "instances"),
        ({"target": 1.0, "least": 5, "most": 4}, "instances"),
        ({"target": 1.0, "cold_start_s": -1.0}, "cold_start_s"),
        ({"target": 1.0, "growth": 1.0}, "growth"),
        ({"target": 1.0, "shrinkage": 1.0}, "shrinkage"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(values, what):
    with pytest.raises(InvalidValue, match=what):
        Policy(**values)


@pytest.mark.parametrize(
    "values", [{"factor": 0.5}, {"at_s": 86_000.0}, {"length_s": -1.0}, {"factor": float("inf")}]
)
def test_a_spike_that_does_not_fit_into_the_day_is_refused(values):
    with pytest.raises(InvalidValue, match="spike"):
        Spike(**values)
