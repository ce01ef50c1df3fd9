"""Signals are the numbers of JSON answers, by path."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from glassbox.rollout.alerts.signals import MOST_DEEP, flattened, value_of

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcname.", min_size=1, max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


def test_numbers_are_found_by_their_place():
    signals = flattened(
        {
            "summary": {"shadow_avg_diff": 0.03, "shadow_model": "v2", "success_rate": None},
            "drift": {"features": [{"name": "age", "effect": 0.4, "drifted": True}]},
        }
    )
    assert signals == {
        "summary.shadow_avg_diff": 0.03,
        "drift.features.age.effect": 0.4,
        "drift.features.age.drifted": 1.0,
    }


def test_a_word_is_a_signal_and_the_other_words_are_zero():
    signals = flattened({"rollout": {"phase": "Progressing", "model": "default"}})
    assert value_of(signals, "rollout.phase.Progressing") == 1.0
    assert value_of(signals, "rollout.phase.Failed") == 0.0
    assert value_of(signals, "rollout.model.default") is None
    assert value_of(signals, "drift.verdict.drift") is None


def test_what_is_no_number_is_not_reported():
    signals = flattened({"a": float("nan"), "b": float("inf"), "c": [1.0, 2.0], "d": 1})
    assert signals == {"d": 1.0}
    assert value_of({"x": float("nan")}, "x") is None


def test_json_that_is_too_deep_ends_somewhere():
    deep = {"x": 1.0}
    for _ in range(500):
        deep = {"x": deep}
    assert flattened(deep) == {}
    assert len(flattened({"x": {"y": 1.0}})) == 1
    assert MOST_DEEP < 500


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), JSON, max_size=4))
def test_every_signal_is_a_finite_number_whatever_the_json(answers):
    signals = flattened(orjson.loads(orjson.dumps(answers)))
    assert all(isinstance(value, float) and abs(value) < float("inf") for value in signals.values())
