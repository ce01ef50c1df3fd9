"""Token statistics against scipy one table at a time, against exact convolutions, and by law."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact, hypergeom

from glassbox.errors import InvalidData
from glassbox.stats.effects.token_association import (
    association_p,
    log_odds,
    pmi,
    point_probability,
    shift_bound,
)


@st.composite
def tables(draw, most=5000, least=0):
    total = draw(st.integers(2, most))
    fires = draw(st.integers(least, total))
    token = draw(st.integers(least, total))
    both = draw(st.integers(max(0, fires + token - total), min(fires, token)))
    return both, fires, token, total


def _columns(rows):
    return tuple(np.array(column) for column in zip(*rows, strict=True))


@given(st.lists(tables(), min_size=1, max_size=20))
def test_the_p_value_is_fishers_one_table_at_a_time(rows):
    found = association_p(*_columns(rows))
    for p, (both, fires, token, total) in zip(found, rows, strict=True):
        table = [[both, fires - both], [token - both, total - fires - token + both]]
        expected = fisher_exact(table, alternative="greater").pvalue
        assert p == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(st.lists(tables(most=200), min_size=1, max_size=20))
def test_many_tables_at_once_have_the_p_values_of_few(rows):
    few = association_p(*_columns(rows))
    many = association_p(*(np.tile(column, 201) for column in _columns(rows)))
    assert many == pytest.approx(np.tile(few, 201), rel=1e-9, abs=1e-300)


@given(st.lists(tables(), min_size=1, max_size=20))
def test_the_probability_of_a_table_is_scipys_and_no_more_than_its_p_value(rows):
    found = point_probability(*_columns(rows))
    both, fires, token, total = _columns(rows)
    assert found == pytest.approx(hypergeom.pmf(both, total, fires, token), rel=1e-8, abs=1e-300)
    assert (found <= association_p(both, fires, token, total) * (1 + 1e-9)).all()


@given(tables())
def test_latent_and_token_can_change_places(row):
    both, fires, token, total = row
    there = association_p(*_columns([row]))
    back = association_p(*_columns([(both, token, fires, total)]))
    assert there == pytest.approx(back, rel=1e-9)


@given(tables(most=300, least=1), st.floats(0.5, 1e4))
def test_the_log_odds_are_those_of_the_definition(row, prior):
    both, fires, token, total = row
    ratio, z = log_odds(*_columns([row]), prior=prior)
    added = prior * token / total
    if token < total:
        odds = [
            (count + added) / (n + prior - count - added)
            for count, n in ((both, fires), (token - both, total - fires))
        ]
        expected = math.log(odds[0]) - math.log(odds[1])
        assert ratio[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)
        deviation = math.sqrt(1 / (both + added) + 1 / (token - both + added))
        assert z[0] == pytest.approx(expected / deviation, rel=1e-6, abs=1e-9)
    else:
        assert ratio[0] == z[0] == 0


@given(tables(most=300, least=1))
def test_a_stronger_prior_pulls_towards_no_difference(row):
    columns = _columns([row])
    sizes = [abs(float(log_odds(*columns, prior=prior)[0][0])) for prior in (1, 10, 100, 1e6)]
    assert all(later <= sooner + 1e-6 for sooner, later in itertools.pairwise(sizes))


def test_a_token_that_is_twice_as_common_where_it_fires_has_pmi_log_two():
    assert pmi(*_columns([(20, 100, 100, 1000)])) == pytest.approx(math.log(2))
    assert pmi(*_columns([(0, 100, 100, 1000)])) == -math.inf


@st.composite
def texts(draw):
    """Texts with marks of a latent and of a token, both in each."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=7))
    marks = []
    for length in lengths:
        pair = [
            draw(st.lists(st.booleans(), min_size=length, max_size=length).filter(any))
            for _ in range(2)
        ]
        marks.append(tuple(np.array(each) for each in pair))
    return marks


def _exact_tails(marks):
    """P(joint positions >= k) for every k that can be, every shift of every text counted."""
    total = np.ones(1)
    for fires, token in marks:
        counts = [int((np.roll(fires, r) & token).sum()) for r in range(len(fires))]
        total = np.convolve(total, np.bincount(counts) / len(fires))
    return total[::-1].cumsum()[::-1]


def _bounds(marks, observed):
    """The bounds of tables that have the same texts and other joint positions."""
    n = len(observed)
    return shift_bound(
        np.asarray(observed),
        np.repeat(np.arange(n), len(marks)),
        np.tile([fires.sum() for fires, _ in marks], n),
        np.tile([token.sum() for _, token in marks], n),
        np.tile([len(fires) for fires, _ in marks], n),
    )


@settings(max_examples=40)
@given(texts())
def test_the_shift_bound_is_never_below_the_exact_tail(marks):
    exact, n = _exact_tails(marks), sum(len(fires) for fires, _ in marks) + 2
    exact = np.pad(exact, (0, n - len(exact)))
    assert (_bounds(marks, range(n)) >= exact * (1 - 1e-9)).all()


def test_the_shift_bound_is_exact_at_its_extreme_and_close_before_it():
    marks = [(np.arange(10) == 3, np.arange(10) == 3)] * 12
    extreme, before, least = _bounds(marks, [12, 8, 1])
    assert extreme == pytest.approx(1e-12)
    exact = _exact_tails(marks)[8]
    assert exact < before < 10 * exact
    assert least == 1.0


@settings(max_examples=40)
@given(st.lists(texts(), min_size=1, max_size=5), st.data())
def test_tables_are_bounded_as_if_alone(worlds, data):
    observed = [data.draw(st.integers(0, sum(len(f) for f, _ in marks))) for marks in worlds]
    parts = [(t, f, k) for t, marks in enumerate(worlds) for f, k in marks]
    together = shift_bound(
        np.array(observed),
        np.array([t for t, _, _ in parts]),
        np.array([f.sum() for _, f, _ in parts]),
        np.array([k.sum() for _, _, k in parts]),
        np.array([len(f) for _, f, _ in parts]),
    )
    alone = [_bounds(marks, [k])[0] for marks, k in zip(worlds, observed, strict=True)]
    assert together == pytest.approx(np.array(alone), rel=1e-6, abs=1e-300)


def test_a_table_without_parts_cannot_have_joint_positions():
    empty = np.zeros(0, dtype=int)
    assert shift_bound(np.array([0, 1]), empty, empty, empty, empty).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("row", [(3, 2, 9, 20), (-1, 2, 2, 20), (1, 15, 15, 20)])
def test_tables_that_cannot_be_are_refused(row):
    with pytest.raises(InvalidData, match="no table has"):
        association_p(*_columns([row]))


def test_what_has_no_meaning_is_refused():
    with pytest.raises(InvalidData, match="prior above 0"):
        log_odds(*_columns([(1, 2, 2, 9)]), prior=0.0)
    with pytest.raises(InvalidData, match="that occur"):
        pmi(*_columns([(0, 0, 2, 9)]))
    with pytest.raises(InvalidData, match="tables' order"):
        shift_bound(np.array([1, 1]), *(np.array(x) for x in ([1, 0], [1, 1], [1, 1], [4, 4])))
