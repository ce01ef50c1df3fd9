"""Windows compared column by column: what has moved is flagged, what has not is left alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from glassbox.rollout.drift.comparison import OTHER, compare_windows
from glassbox.rollout.drift.windows import Column, Window, category_column, number_column
from tests.rollout.drift.worlds import window


def alone(*columns: Column, version: str = "") -> Window:
    return Window(np.arange(columns[0].values.size, dtype=np.float64), columns, version)


def test_a_shifted_number_is_flagged_and_the_others_are_not() -> None:
    found, notes = compare_windows(window(0), window(1, 1000, shift=0.6))
    assert [each.name for each in found if each.drifted] == ["age"]
    assert found[0].name == "age"
    assert found[0].statistics["ks"] == pytest.approx(0.24, abs=0.05)
    assert found[0].statistics["wasserstein"] == pytest.approx(0.6, abs=0.1)
    assert notes == ()


def test_a_changed_mix_of_categories_is_flagged() -> None:
    found, _ = compare_windows(window(0), window(1, 1000, cities=(0.2, 0.3, 0.5)))
    (drifted,) = [each for each in found if each.drifted]
    assert drifted.name == "city"
    assert drifted.edges == tuple(sorted(drifted.edges, key=drifted.edges.index))
    assert sum(drifted.reference) == pytest.approx(1)


def test_a_change_that_is_certain_but_small_is_no_drift() -> None:
    generator = np.random.default_rng(0)
    found, _ = compare_windows(
        alone(number_column("x", list(generator.normal(size=50_000)))),
        alone(number_column("x", list(generator.normal(0.1, size=50_000)))),
    )
    assert found[0].p_adjusted < 1e-9
    assert found[0].effect < found[0].limit
    assert not found[0].drifted


def test_streams_without_drift_are_left_alone_at_every_look() -> None:
    n_streams, n_alarms = 200, 0
    for seed in range(n_streams):
        generator = np.random.default_rng(seed)

        def rows(n: int, draw: np.random.Generator = generator) -> Window:
            return alone(
                Column("a", "numeric", "feature", draw.normal(size=n)),
                Column("b", "numeric", "feature", draw.standard_t(2, size=n)),
                Column(
                    "c", "categorical", "feature", draw.integers(0, 6, n) * 1.0, tuple("uvwxyz")
                ),
            )

        reference = rows(1000)
        n_alarms += any(
            each.drifted for _ in range(3) for each in compare_windows(reference, rows(500))[0]
        )
    # At most 5 % may cry; beyond this count that would be less likely than one in a hundred.
    assert n_alarms <= stats.binom.isf(0.01, n_streams, 0.05)


@given(st.integers(0, 2**31), st.floats(0.1, 50), st.floats(-100, 100))
@settings(max_examples=20)
def test_the_verdict_does_not_depend_on_the_unit_of_a_number(
    seed: int, factor: float, offset: float
) -> None:
    generator = np.random.default_rng(seed)
    before, now = generator.normal(size=300), generator.normal(0.3, size=200)
    (plain,), _ = compare_windows(
        alone(number_column("x", list(before))), alone(number_column("x", list(now)))
    )
    (scaled,), _ = compare_windows(
        alone(number_column("x", list(factor * before + offset))),
        alone(number_column("x", list(factor * now + offset))),
    )
    assert scaled.effect == pytest.approx(plain.effect)
    assert scaled.p_value == pytest.approx(plain.p_value)
    assert scaled.statistics["wasserstein"] == pytest.approx(plain.statistics["wasserstein"])


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_a_window_has_not_drifted_from_itself(seed: int) -> None:
    same = window(seed, 200)
    found, _ = compare_windows(same, same)
    assert not any(each.drifted for each in found)
    assert all(each.effect == 0 for each in found)
    assert all(each.p_value == 1 for each in found)


def test_values_that_go_missing_are_drift_though_the_rest_looks_the_same() -> None:
    generator = np.random.default_rng(0)
    before, now = generator.normal(size=1000), generator.normal(size=1000)
    now[:300] = np.nan
    (found,), _ = compare_windows(
        alone(number_column("x", list(before))), alone(number_column("x", list(now)))
    )
    assert found.drifted
    assert found.statistics["missing_current"] == 0.3
    gone, _ = compare_windows(
        alone(number_column("x", list(before))), alone(number_column("y", list(before)))
    )
    assert gone[0].drifted
    assert gone[0].n_current == 0


def test_a_category_never_seen_counts_as_new() -> None:
    before = category_column("k", ["a"] * 400 + ["b"] * 400)
    now = category_column("k", ["a"] * 300 + ["b"] * 300 + ["c"] * 200)
    (found,), _ = compare_windows(alone(before), alone(now))
    assert found.drifted
    assert found.edges[-1] == OTHER
    assert found.statistics["new"] == 0.25
    assert found.current[-1] == 0.25


def test_rare_categories_share_a_bin() -> None:
    before = category_column("k", [f"k{i}" for i in range(300)] * 3)
    (found,), _ = compare_windows(alone(before), alone(before))
    assert len(found.edges) == 51
    assert found.edges[-1] == OTHER


def test_answers_of_another_version_are_not_compared() -> None:
    found, notes = compare_windows(window(0), window(1, version="default_model_v2"))
    assert "prediction" not in {each.name for each in found}
    assert any("default_model_v1" in note for note in notes)


def test_columns_that_cannot_be_compared_are_named() -> None:
    before = alone(number_column("x", list(range(100))), number_column("few", [1.0] * 100))
    sparse = [1.0] * 20 + [None] * 80
    now = alone(
        category_column("x", ["a"] * 100),
        number_column("new", [0.0] * 100),
        number_column("few", sparse),
    )
    found, notes = compare_windows(before, now)
    assert [each.name for each in found] == ["few"]
    assert any("new" in note for note in notes)
    assert any("x was numeric and is categorical now" in note for note in notes)
    answers = replace(before.columns[1], group="answer", values=np.full(100, np.nan))
    both = alone(answers, replace(answers, name="also"))
    _, notes = compare_windows(both, both)
    assert notes == ("Not compared, 0 values on one side where 50 are needed: few, also.",)
