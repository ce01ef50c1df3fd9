import math
from dataclasses import asdict

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import CorruptArtifact, NonFiniteOutput
from glassbox.rollout.prediction import Prediction
from glassbox.rollout.shadow.packing import packed, unpacked
from glassbox.rollout.version import Version
from tests.rollout.shadow.challengers import version

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.dictionaries(st.text(), FLOATS, max_size=4)
ANSWERS = st.builds(
    Prediction,
    FLOATS,
    st.none() | FLOATS,
    st.none() | st.text(),
    st.none() | NUMBERS,
    NUMBERS,
    st.booleans(),
)


@given(ANSWERS)
def test_an_answer_comes_back_bit_for_bit_and_in_its_order(answer):
    back = unpacked(orjson.loads(orjson.dumps(packed(answer))))
    assert back == answer
    assert math.copysign(1.0, back.prediction) == math.copysign(1.0, answer.prediction)
    if answer.label_probs is not None:
        assert list(back.label_probs) == list(answer.label_probs)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "make",
    [
        lambda bad: Prediction(bad),
        lambda bad: Prediction(0.5, bad),
        lambda bad: Prediction(0.5, None, None, {"a": bad}),
        lambda bad: Prediction(0.5, None, None, None, {"n": bad}),
    ],
)
def test_what_is_not_finite_is_no_answer(make, bad):
    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        packed(make(bad))


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        {"prediction": None},
        {"prediction": "1"},
        {"prediction": True},
        {"prediction": 1.0, "confidence": "high"},
        {"prediction": 1.0, "label": 3},
        {"prediction": 1.0, "label_probs": [1.0]},
        {"prediction": 1.0, "label_probs": {"a": None}},
        {"prediction": 1.0, "summaries": {"a": {}}},
        {"prediction": 1.0, "truncated": 1},
    ],
)
def test_what_a_challenger_makes_up_is_refused(told):
    with pytest.raises(CorruptArtifact, match="answer"):
        unpacked(told)


def test_a_version_comes_back_as_it_was():
    known = version("honest")
    assert Version(**orjson.loads(orjson.dumps(asdict(known)))) == known
