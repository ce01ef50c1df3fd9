"""One thread for one version: what waits together is answered together; each alone if one fails."""

import threading
import time
from collections.abc import Sequence

import pytest

from glassbox.errors import (
    CapacityError,
    IntegrityError,
    InvalidValue,
    NonFiniteOutput,
    QueueFull,
)
from glassbox.rollout.answering.batching import Batcher
from glassbox.rollout.prediction import Features, Prediction
from tests.waiting import PATIENCE_S


class Doubling:
    """Answers twice ``x``; refuses what is negative."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.is_closed = False

    def predict(self, rows: Sequence[Features]) -> list[Prediction]:
        self.gate.wait(PATIENCE_S)
        self.calls.append(len(rows))
        for row in rows:
            if row["x"] < 0:
                raise InvalidValue("x", row["x"], "at least 0")
            if row["x"] == 1313:
                raise ZeroDivisionError("the user's words")
        return [Prediction(2.0 * row["x"]) for row in rows]

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def doubling():
    return Doubling()


@pytest.fixture
def batcher(doubling):
    batcher = Batcher(doubling, 64)
    yield batcher
    doubling.gate.set()
    batcher.close()
    assert batcher.join(PATIENCE_S)


def waiting(batcher, doubling, values):
    """Return the futures of rows that all wait while another one is answered."""
    doubling.gate.clear()
    first = batcher.submit({"x": 0})
    until = time.monotonic() + PATIENCE_S
    while batcher.n_waiting and time.monotonic() < until:
        time.sleep(0.001)
    futures = [batcher.submit({"x": value}) for value in values]
    doubling.gate.set()
    first.result(PATIENCE_S)
    return futures


def test_rows_that_wait_are_answered_in_one_call(batcher, doubling):
    futures = waiting(batcher, doubling, range(20))
    assert [each.result(PATIENCE_S).prediction.prediction for each in futures] == [
        2.0 * x for x in range(20)
    ]
    assert doubling.calls == [1, 20]


def test_one_bad_row_does_not_take_the_others_with_it(batcher, doubling):
    good, bad, fault, last = waiting(batcher, doubling, [1, -1, 1313, 4])
    assert good.result(PATIENCE_S).prediction.prediction == 2.0
    assert last.result(PATIENCE_S).prediction.prediction == 8.0
    with pytest.raises(InvalidValue, match="x is -1"):
        bad.result(PATIENCE_S)
    with pytest.raises(IntegrityError, match="ZeroDivisionError"):
        fault.result(PATIENCE_S)


def test_a_fault_does_not_repeat_what_the_user_wrote(batcher):
    with pytest.raises(IntegrityError) as caught:
        batcher.submit({"x": 1313}).result(PATIENCE_S)
    assert "words" not in str(caught.value)


def test_a_call_takes_no_more_rows_than_allowed(doubling):
    batcher = Batcher(doubling, 3)
    futures = waiting(batcher, doubling, range(7))
    assert [each.result(PATIENCE_S).prediction.prediction for each in futures] == [
        2.0 * x for x in range(7)
    ]
    assert max(doubling.calls) == 3
    batcher.close()
    assert batcher.join(PATIENCE_S)


def test_a_full_queue_is_said_at_once(doubling):
    batcher = Batcher(doubling, 1, max_waiting=2)
    doubling.gate.clear()
    futures = [batcher.submit({"x": 1})]
    until = time.monotonic() + PATIENCE_S
    while batcher.n_waiting and time.monotonic() < until:
        time.sleep(0.001)
    futures += [batcher.submit({"x": 1}) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 requests wait"):
        batcher.submit({"x": 1})
    doubling.gate.set()
    assert [each.result(PATIENCE_S).prediction.prediction for each in futures] == [2.0] * 3
    batcher.close()


def test_what_waits_is_answered_before_the_end_and_nothing_after(doubling):
    batcher = Batcher(doubling, 1)
    futures = [batcher.submit({"x": x}) for x in range(5)]
    batcher.close()
    assert [each.result(PATIENCE_S).prediction.prediction for each in futures] == [
        0.0,
        2.0,
        4.0,
        6.0,
        8.0,
    ]
    assert batcher.join(PATIENCE_S)
    assert doubling.is_closed
    with pytest.raises(CapacityError, match="no longer asked"):
        batcher.submit({"x": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_no_answers(value):
    class Broken(Doubling):
        def predict(self, rows):
            return [Prediction(value) for _ in rows]

    batcher = Batcher(Broken(), 4)
    with pytest.raises(NonFiniteOutput):
        batcher.submit({"x": 1}).result(PATIENCE_S)
    batcher.close()


def test_too_few_answers_are_none():
    class Short(Doubling):
        def predict(self, rows):
            return []

    batcher = Batcher(Short(), 4)
    with pytest.raises(IntegrityError, match="0 answers to 1"):
        batcher.submit({"x": 1}).result(PATIENCE_S)
    batcher.close()


def test_a_row_whose_caller_has_gone_away_is_not_computed(batcher, doubling):
    futures = None
    doubling.gate.clear()
    first = batcher.submit({"x": 0})
    until = time.monotonic() + PATIENCE_S
    while batcher.n_waiting and time.monotonic() < until:
        time.sleep(0.001)
    futures = [batcher.submit({"x": x}) for x in (1, 2)]
    assert futures[0].cancel()
    doubling.gate.set()
    first.result(PATIENCE_S)
    assert futures[1].result(PATIENCE_S).prediction.prediction == 4.0
    assert doubling.calls == [1, 1]


def odd(**parts):
    """Return an answer as a function without types may make it."""
    made = Prediction(0.5)
    for name, value in parts.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize(
    "answer",
    [
        None,
        0.5,
        odd(label=7),
        odd(label_probs={"yes": "much"}),
        odd(confidence="high"),
        odd(prediction="half"),
        odd(summaries={"n": None}),
    ],
)
def test_what_is_no_answer_fails_its_row_and_the_thread_goes_on(answer):
    class Odd(Doubling):
        def predict(self, rows):
            return [answer if row["x"] else Prediction(1.0) for row in rows]

    batcher = Batcher(Odd(), 1)
    with pytest.raises(IntegrityError, match="wrong types"):
        batcher.submit({"x": 1}).result(PATIENCE_S)
    assert batcher.submit({"x": 0}).result(PATIENCE_S).prediction.prediction == 1.0
    batcher.close()
    assert batcher.join(PATIENCE_S)


def test_what_is_no_list_of_answers_fails_and_the_thread_goes_on():
    class Silent(Doubling):
        def predict(self, rows):
            return None

    batcher = Batcher(Silent(), 4)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="NoneType"):
            batcher.submit({"x": 1}).result(PATIENCE_S)
    batcher.close()
