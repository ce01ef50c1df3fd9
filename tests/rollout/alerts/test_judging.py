"""Edges alone are told, whatever a value does."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.rollout.alerts.judging import UNREPORTED_S, Increases, step
from glassbox.rollout.alerts.rules import AlertRule

START_S = 1_800_000_000.0

LOOKS = st.lists(
    st.tuples(st.floats(0.1, 100.0), st.sampled_from([True, False, None])), max_size=60
)
"""Seconds since the look before, and whether the value is beyond its limit."""


def rule(**values):
    return AlertRule(name="r", signal="s", above=0.0, **values)


def walked(one, looks):
    """Return (time, is_beyond, step) of every look."""
    standing, now_s, walk = None, START_S, []
    for seconds, is_beyond in looks:
        now_s += seconds
        after = step(one, standing, is_beyond, now_s)
        walk.append((now_s, is_beyond, after))
        standing = after.standing
    return walk


@given(LOOKS, st.sampled_from([0.0, 5.0, 60.0]), st.sampled_from([0.0, 30.0]))
def test_what_is_told_alternates_between_firing_and_resolved(looks, for_s, keep_s):
    told = [
        each.edge
        for _, _, each in walked(rule(for_s=for_s, keep_firing_for_s=keep_s), looks)
        if each.edge
    ]
    assert all(edge == ("firing", "resolved")[index % 2] for index, edge in enumerate(told))


@given(LOOKS, st.sampled_from([0.0, 5.0, 60.0]), st.sampled_from([0.0, 30.0]))
def test_an_alert_begins_only_after_it_lasted_and_ends_only_after_it_was_quiet(
    looks, for_s, keep_s
):
    walk = walked(rule(for_s=for_s, keep_firing_for_s=keep_s), looks)
    for index, (now_s, _, after) in enumerate(walk):
        before = walk[: index + 1]
        if after.edge == "firing":
            lasting = list(itertools.takewhile(lambda look: look[1] is not False, before[::-1]))
            began_s = min(moment for moment, is_beyond, _ in lasting if is_beyond)
            assert now_s - began_s >= for_s
        if after.edge == "resolved":
            quiet = list(itertools.takewhile(lambda look: not look[1], before[::-1]))
            assert now_s - quiet[-1][0] >= keep_s


@given(LOOKS)
def test_flapping_is_told_no_more_often_than_quiet_times_fit(looks):
    walk = walked(rule(keep_firing_for_s=30.0), looks)
    n_told = sum(1 for _, _, after in walk if after.edge)
    lasted_s = walk[-1][0] - START_S if walk else 0.0
    assert n_told <= 2 * (lasted_s // 30.0) + 1


def test_a_value_that_flaps_at_every_look_is_told_once():
    looks = [(5.0, index % 2 == 0) for index in range(1000)]
    told = [after.edge for _, _, after in walked(rule(), looks) if after.edge]
    assert told == ["firing"]


def test_what_is_not_reported_changes_nothing_for_an_hour():
    walk = walked(rule(), [(5.0, True), *[(60.0, None)] * 59])
    assert [after.edge for _, _, after in walk if after.edge] == ["firing"]
    later = walked(rule(), [(5.0, True), (60.0, None), (UNREPORTED_S, None)])
    assert [after.edge for _, _, after in later if after.edge] == ["firing", "resolved"]


def test_a_clock_that_is_set_back_does_not_hold_an_alert_for_ever():
    one = rule(for_s=60.0)
    pending = step(one, None, True, START_S).standing
    back_s = START_S - 86400.0
    begun = step(one, pending, True, back_s)
    assert begun.standing is not None
    assert begun.standing.since_s == back_s
    assert step(one, begun.standing, True, back_s + 60.0).edge == "firing"


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50))
def test_growth_is_what_a_counter_gained_within_the_window(gains):
    increases, total = Increases(), 0
    for index, gain in enumerate(gains):
        total += gain
        grown = increases.grown("s", float(total), 10.0, START_S + index)
        assert grown == sum(gains[max(1, index - 9) : index + 1])


def test_a_counter_that_fell_began_anew_at_zero():
    increases = Increases()
    assert increases.grown("s", 100.0, 60.0, START_S) == 0.0
    assert increases.grown("s", 107.0, 60.0, START_S + 1) == 7.0
    assert increases.grown("s", 2.0, 60.0, START_S + 2) == 9.0


def test_the_limit_itself_is_not_beyond_it():
    assert not AlertRule(name="r", signal="s", above=0.5).holds(0.5)
    assert not AlertRule(name="r", signal="s", below=0.5).holds(0.5)
    assert AlertRule(name="r", signal="s", below=0.5).holds(0.4)


@pytest.mark.parametrize(
    ("pattern", "signal", "fits"),
    [
        ("drift.features.*.drifted", "drift.features.age.drifted", True),
        ("drift.features.*.drifted", "drift.features.age.effect", False),
        ("drift.features.a[1].*", "drift.features.a[1].effect", True),
        ("drift.features.a[1].*", "drift.features.a1.effect", False),
        ("summary.x?*", "summary.xy", False),
    ],
)
def test_only_the_star_is_special_in_a_signal(pattern, signal, fits):
    assert AlertRule(name="r", signal=pattern, above=0.0).fits(signal) is fits
