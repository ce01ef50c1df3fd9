"""Sums over rows of any kind, against states that are kept whole and reduced at the end."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.engine.states import pooling
from glassbox.engine.states.pooling import Covered, Pools
from glassbox.errors import NonFiniteOutput
from glassbox.types import Capture, HookPoint

D_MODEL = 6
POINTS = tuple(HookPoint(layer) for layer in range(4))
NOTHING = range(0)


def hidden_states(seed, n):
    draw = torch.Generator().manual_seed(seed)
    return {point: torch.randn(1, n, D_MODEL, generator=draw) for point in POINTS}


captures = st.builds(
    Capture,
    st.lists(st.sampled_from(POINTS), min_size=1, max_size=4, unique=True).map(tuple),
    st.lists(
        st.sampled_from(["mean", "last", "norm", "none"]), min_size=1, max_size=4, unique=True
    ).map(tuple),
)
rows_of_steps = st.lists(
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=3, max_size=3),
    min_size=1,
    max_size=4,
)
"""Tokens of each of three rows in each step, and whether they are covered."""


@settings(deadline=None)
@given(
    wanted=st.lists(st.one_of(st.none(), captures), min_size=3, max_size=3),
    steps=rows_of_steps,
    slots=st.permutations([0, 1, 4]),
    values=st.sampled_from([1, 40, 1 << 23]),
)
def test_any_steps_add_up_to_the_whole(wanted, steps, slots, values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "POOLED_VALUES", values)
        check_steps(wanted, steps, slots)


def check_steps(wanted, steps, slots):
    pools = Pools()
    for slot, capture in zip(slots, wanted, strict=True):
        pools.enter(slot, capture)
    kept = [{point: [] for point in POINTS} for _ in slots]
    whole = [[] for _ in slots]
    for seed, parts in enumerate(steps):
        hidden = hidden_states(seed, sum(n for n, _ in parts))
        rows, first = [], 0
        for row, (n, covers) in enumerate(parts):
            covered = range(first, first + n) if covers and wanted[row] else NOTHING
            rows.append(Covered(slots[row], covered, (), NOTHING))
            for point in POINTS:
                kept[row][point].append(hidden[point][0, covered.start : covered.stop])
            first += n
        points = pools.points(rows)
        asked = [c for c, r in zip(wanted, rows, strict=True) if c and r.captured]
        assert set(points) == {point for capture in asked for point in capture.points}
        reduced = pools.reduce({point: hidden[point] for point in points}, rows)
        pools.keep(reduced)
        for row, slot in enumerate(slots):
            if slot in reduced.whole:
                whole[row].append(reduced.whole[slot])
    for row, (slot, capture) in enumerate(zip(slots, wanted, strict=True)):
        n = sum(map(len, kept[row][POINTS[0]]))
        if capture is not None and n:
            check_row(pools.captured(slot, n, whole[row]), capture, kept[row])


def check_row(found, capture, kept):
    assert [each.point for each in found] == list(capture.points)
    for each in found:
        states = torch.cat(kept[each.point]).double().numpy()
        expected = {
            "mean": states.mean(axis=0),
            "last": states[-1],
            "norm": np.linalg.norm(states, axis=1).mean(),
            "none": states,
        }
        assert each.n_positions == len(states)
        for form, value in expected.items():
            mine = getattr(each, form)
            assert (mine is None) == (form not in capture.pooling)
            if mine is not None:
                np.testing.assert_allclose(mine, value, rtol=1e-5, atol=1e-6)


def one_step(pools, hidden, spans):
    rows = [Covered(slot, span, (), NOTHING) for slot, span in enumerate(spans)]
    pools.keep(pools.reduce(hidden, rows))


@pytest.mark.parametrize("form", ["mean", "last", "norm"])
@pytest.mark.parametrize("stop", [2, 4])
def test_what_is_no_number_stays_in_its_own_row(form, stop):
    hidden = hidden_states(0, stop + 1)
    hidden[POINTS[0]][0, 0] = torch.nan
    pools, capture = Pools(), Capture(POINTS[:1], (form,))
    spans = [range(1), range(1, stop), range(stop, stop + 1)]
    for slot in range(3):
        pools.enter(slot, capture)
    one_step(pools, hidden, spans)
    with pytest.raises(NonFiniteOutput, match="NaN"):
        pools.captured(0, 1, [])
    for slot in (1, 2):
        assert pools.captured(slot, len(spans[slot]), [])[0].point == POINTS[0]


def test_sums_follow_their_row_and_begin_anew():
    hidden, capture = hidden_states(0, 3), Capture(POINTS, ("mean",))
    pools = Pools()
    for slot in range(3):
        pools.enter(slot, capture if slot == 2 else None)
    one_step(pools, hidden, [NOTHING, NOTHING, range(2, 3)])
    pools.move(2, 0)
    (first, *_) = pools.captured(0, 1, [])
    np.testing.assert_allclose(first.mean, hidden[POINTS[0]][0, 2])
    pools.enter(0, capture)
    one_step(pools, hidden, [range(1, 2)])
    np.testing.assert_allclose(pools.captured(0, 1, [])[1].mean, hidden[POINTS[1]][0, 1])


def test_a_step_that_is_not_kept_changes_nothing():
    hidden, capture = hidden_states(0, 2), Capture(POINTS, ("mean", "last", "norm"))
    pools = Pools()
    pools.enter(0, capture)
    one_step(pools, hidden, [range(2)])
    before = pools.captured(0, 2, [])
    pools.reduce(hidden_states(1, 1), [Covered(0, range(1), (), NOTHING)])
    for mine, theirs in zip(pools.captured(0, 2, []), before, strict=True):
        np.testing.assert_array_equal(mine.mean, theirs.mean)
        np.testing.assert_array_equal(mine.last, theirs.last)
        assert mine.norm == theirs.norm


def test_equal_captures_of_many_rows_are_one_to_the_sums():
    pools = Pools()
    for slot in range(40):
        pools.enter(slot, Capture(POINTS, ("mean", "last")))
    hidden = hidden_states(0, 40)
    one_step(pools, hidden, [range(at, at + 1) for at in range(40)])
    assert len(pools._unions) == 1
    for slot in (0, 39):
        np.testing.assert_allclose(pools.captured(slot, 1, [])[3].last, hidden[POINTS[3]][0, slot])
