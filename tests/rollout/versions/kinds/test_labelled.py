"""An LLM classifier as a version: its answers, its refusals, its numbers for drift."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from glassbox.errors import InvalidData, InvalidValue, QueueFull, TextTooLong, UnknownName
from glassbox.rollout.versions.kinds.labelled import MOST_TEXT_CHARS, LabelledPredictor


@dataclass(frozen=True)
class Answer:
    label: str = "yes"
    confidence: float = 0.75
    label_probs: dict[str, float] = field(default_factory=lambda: {"no": 0.25, "yes": 0.75})
    raw_confidence: float = 0.9
    label_mass: float = 0.5
    truncated: bool = False


class Labeller:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def classify(self, texts: Sequence[str]) -> list[Answer | None]:
        self.asked.append(list(texts))
        if any(each == "refused" for each in texts):
            raise TextTooLong(9, 8)
        return [None if each == "skipped" else Answer(truncated=each == "cut") for each in texts]


class Lengths:
    def summaries(self, texts: Sequence[str]) -> list[dict[str, float]]:
        return [{"n_chars": float(len(each))} for each in texts]


class Busy:
    def summaries(self, texts: Sequence[str]) -> list[dict[str, float]]:
        raise QueueFull(3, 1.0)


def test_rows_are_one_call_and_the_first_label_is_the_prediction() -> None:
    labeller = Labeller()
    answers = LabelledPredictor(labeller, summariser=Lengths()).predict(
        [{"text": "one"}, {"text": "three"}]
    )
    assert labeller.asked == [["one", "three"]]
    assert [each.prediction for each in answers] == [0.25, 0.25]
    assert (answers[0].label, answers[0].confidence) == ("yes", 0.75)
    assert answers[1].summaries == {"n_chars": 5.0, "raw_confidence": 0.9, "label_mass": 0.5}


def test_an_answer_to_a_text_that_was_cut_says_so() -> None:
    answers = LabelledPredictor(Labeller()).predict([{"text": "one"}, {"text": "cut"}])
    assert [each.truncated for each in answers] == [False, True]


def test_a_busy_machine_costs_the_numbers_and_not_the_answer() -> None:
    answer = LabelledPredictor(Labeller(), summariser=Busy()).predict([{"text": "one"}])[0]
    assert answer.label == "yes"
    assert answer.summaries == {"raw_confidence": 0.9, "label_mass": 0.5}


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({}, InvalidValue, "feature 'text' is None.*missing"),
        ({"text": 1}, InvalidValue, "feature 'text' is 1"),
        ({"text": None}, InvalidValue, "feature 'text' is None"),
        ({"text": "a", "more": 1}, UnknownName, "No feature 'more'"),
        ({"text": "a" * (MOST_TEXT_CHARS + 1)}, InvalidValue, "up to 1000000 characters"),
        ({"text": "skipped"}, InvalidData, "was skipped"),
        ({"text": "refused"}, TextTooLong, "9 tokens"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(
    row: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        LabelledPredictor(Labeller()).predict([row])


def test_closing_lets_go_of_what_it_was_given() -> None:
    closed: list[bool] = []
    LabelledPredictor(Labeller()).close()
    LabelledPredictor(Labeller(), close=lambda: closed.append(True)).close()
    assert closed == [True]
