import pytest

from glassbox.confidence.asking.classify import Labeller, classify_stream
from glassbox.confidence.asking.explain import explain
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.errors import InvalidData, TextTooLong
from glassbox.testing import FakeEngine

LABELS = default_labels(["negative", "positive"])
LONG = "so " * 200


def labeller(policy: str) -> Labeller:
    return Labeller(LabelModel(FakeEngine(context=160), LABELS, overlong=policy))


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_text_that_does_not_fit_is_named_and_the_rest_is_answered(policy):
    bad = InvalidData("the text is empty", source="x", line=2)
    lines = [(1, "one"), (2, bad), (3, LONG), (4, "four"), (5, "five")]
    found = list(classify_stream(labeller(policy), lines, batch_rows=4))
    assert [each.line for each in found] == [1, 2, 3, 4, 5]
    assert [each.answer is not None for each in found] == [True, False, False, True, True]
    assert found[1].error is bad
    error = found[2].error
    assert isinstance(error, TextTooLong)
    assert error.n_tokens > error.limit


def test_a_text_that_is_cut_is_answered_and_says_so():
    whole, cut = classify_stream(labeller("truncate"), [(1, "one"), (2, LONG)])
    assert cut.answer is not None
    assert cut.to_json()["truncated"] is True
    assert "truncated" not in whole.to_json()
    assert explain(labeller("truncate"), LONG).answer.truncated


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_text_that_does_not_fit_cannot_be_explained(policy):
    with pytest.raises(TextTooLong, match=r"takes \d+ tokens; the model's context leaves room for"):
        explain(labeller(policy), LONG)
