import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from glassbox.errors import CapacityError, CorruptArtifact, DeadlineExceeded, IntegrityError
from glassbox.rollout.answering.primary import Champions, ProcessPredictor, bring_where_it_fits
from glassbox.rollout.prediction import Prediction
from glassbox.rollout.shadow.process import Origin
from tests.descriptors import none_left
from tests.rollout.shadow.challengers import Challenger, honest, version
from tests.rollout.shadow.conftest import nothing_is_left
from tests.waiting import PATIENCE_S

__all__ = ["nothing_is_left"]

ORIGIN = Origin("tests.rollout.shadow.challengers:load")
ROW = {"x": 0.25, "y": 0.5}

pytestmark = pytest.mark.usefixtures("nothing_is_left")


class Model:
    """Answers with its number and remembers whether it was closed."""

    def __init__(self, number, seconds=0.0):
        self.number = number
        self.seconds = seconds
        self.is_closed = False
        self.threads = set()

    def predict(self, rows):
        assert not self.is_closed, "asked after it was closed"
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        return [Prediction(float(self.number)) for _ in rows]

    def close(self):
        self.is_closed = True


@pytest.fixture
def models():
    return {}


@pytest.fixture
def champions(models):
    def bring(wanted):
        models[wanted.number] = Model(wanted.number, 0.001)
        return models[wanted.number]

    made = Champions(bring)
    yield made
    made.close()


def answer(champions, wanted):
    return champions.submit(wanted, ROW).result(PATIENCE_S).prediction.prediction


def test_a_version_is_loaded_once_and_asked_from_one_thread(champions, models):
    one = version("honest", 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(champions.load, [one] * 8))
        assert set(pool.map(lambda _: answer(champions, one), range(40))) == {1.0}
    assert len(models) == 1
    assert len(models[1].threads) == 1
    assert threading.get_ident() not in models[1].threads
    assert [each.version for each in champions.status()] == ["v1-honest"]


def test_a_version_that_is_not_loaded_answers_nobody(champions):
    with pytest.raises(CapacityError, match="not loaded"):
        champions.submit(version("honest", 1), ROW)


def test_a_swap_under_load_loses_no_request(champions, models):
    versions = [version("honest", number) for number in range(1, 6)]
    champions.load(versions[0])
    current, stop, answers = [versions[0]], threading.Event(), []

    def ask():
        while not stop.is_set():
            wanted = current[0]
            try:
                answers.append((wanted.number, answer(champions, wanted)))
            except CapacityError:
                # Freed between looking and asking: the request is routed anew.
                assert wanted is not current[0]

    def until_answered():
        deadline = time.monotonic() + PATIENCE_S
        while current[0].number not in {number for number, _ in answers}:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for each in threads:
        each.start()
    for each in versions[1:]:
        until_answered()
        champions.load(each)
        current[0] = each
        champions.keep(frozenset({each.digest}))
    until_answered()
    stop.set()
    for each in threads:
        each.join()
    assert {number for number, _ in answers} == {1, 2, 3, 4, 5}
    assert all(number == answered for number, answered in answers)
    deadline = time.monotonic() + PATIENCE_S
    while not all(models[n].is_closed for n in range(1, 5)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [models[n].is_closed for n in range(1, 6)] == [True] * 4 + [False]


def test_what_waits_for_a_version_that_is_let_go_is_answered_first(champions, models):
    one = version("honest", 1)
    champions.load(one)
    models[1].seconds = 0.05
    waiting = [champions.submit(one, ROW) for _ in range(5)]
    champions.keep(frozenset())
    assert [each.result(PATIENCE_S).prediction.prediction for each in waiting] == [1.0] * 5
    with pytest.raises(CapacityError, match="not loaded"):
        champions.submit(one, ROW)


def test_a_version_that_cannot_be_loaded_leaves_the_others_alone():
    def bring(wanted):
        if wanted.number == 2:
            raise CorruptArtifact("weights", "its digest is another one")
        return Model(wanted.number)

    champions = Champions(bring)
    champions.load(version("honest", 1))
    for _ in range(2):
        with pytest.raises(CorruptArtifact, match="another one"):
            champions.load(version("honest", 2))
    assert answer(champions, version("honest", 1)) == 1.0
    champions.close()
    champions.close()


def test_it_is_idle_when_nobody_waits(champions, models):
    one = version("honest", 1)
    champions.load(one)
    assert champions.is_idle
    models[1].seconds = 0.1
    waiting = champions.submit(one, ROW)
    assert not champions.is_idle
    waiting.result(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while not champions.is_idle and time.monotonic() < deadline:
        time.sleep(0.001)
    assert champions.is_idle


def test_a_version_that_is_loaded_while_all_is_closed_is_closed_too():
    model, loading, go_on = Model(1), threading.Event(), threading.Event()

    def bring(_version):
        loading.set()
        assert go_on.wait(PATIENCE_S)
        return model

    champions, caught = Champions(bring), []

    def load():
        with pytest.raises(CapacityError, match="shutting down") as info:
            champions.load(version("honest", 1))
        caught.append(info.value)

    thread = threading.Thread(target=load)
    thread.start()
    assert loading.wait(PATIENCE_S)
    champions.close()
    go_on.set()
    thread.join(PATIENCE_S)
    assert caught
    deadline = time.monotonic() + PATIENCE_S
    while not model.is_closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert model.is_closed


def test_a_process_answers_like_the_version_itself():
    predictor = ProcessPredictor(version("honest"), ORIGIN)
    rows = [{"x": 0.1 * i, "y": 1 / (i + 1)} for i in range(20)]
    assert predictor.predict(rows) == [honest(row) for row in rows]
    predictor.close()
    with pytest.raises(CapacityError, match="closed"):
        predictor.predict(rows)
    predictor.close()


@pytest.mark.parametrize("how", ["exit_at_import", "corrupt", "leave_at_import"])
def test_a_process_that_cannot_load_says_so_at_once(how):
    with pytest.raises(CapacityError, match=r"not today|another one|code 3"):
        ProcessPredictor(version(how), ORIGIN)


def test_what_a_version_in_a_process_raises_is_its_error():
    predictor = ProcessPredictor(version("refuse"), ORIGIN)
    pid = predictor.pid
    with pytest.raises(IntegrityError, match="something else"):
        predictor.predict([ROW])
    assert predictor.pid == pid
    predictor.close()


def test_a_lost_process_fails_its_request_and_the_next_one_is_answered():
    predictor = ProcessPredictor(version("honest_then_leave"), ORIGIN)
    first = predictor.pid
    with pytest.raises(CapacityError, match=r"code 1.*Another one is being started"):
        predictor.predict([{"x": 0.9}])
    assert predictor.predict([{"x": 0.25}]) == [honest({"x": 0.25})]
    assert predictor.pid != first
    predictor.close()


def test_a_process_that_is_lost_while_no_descriptor_is_free_is_started_later():
    predictor = ProcessPredictor(version("honest"), ORIGIN)
    with none_left():
        os.kill(predictor.pid, signal.SIGKILL)
        for words in ("SIGKILL", "could be started.*Too many open files"):
            with pytest.raises(CapacityError, match=words):
                predictor.predict([ROW])
    assert predictor.predict([ROW]) == [honest(dict(ROW))]
    predictor.close()


def test_a_process_that_takes_too_long_is_replaced():
    predictor = ProcessPredictor(version("hang"), ORIGIN, timeout_s=0.3)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded, match="in time"):
            predictor.predict([ROW])
    predictor.close()


def test_only_classifiers_on_another_base_get_a_process():
    loaded = []

    def load(wanted):
        loaded.append(wanted.name)
        return Challenger(honest)

    bring = bring_where_it_fits(load, ORIGIN, "a" * 64)
    here = replace(
        version("honest"), kind="llm-classifier", metadata={"base": {"digest": "a" * 64}}
    )
    there = replace(
        version("honest", 3),
        kind="llm-classifier",
        metadata={"base": {"digest": "b" * 64}, "how": "honest"},
    )
    bring(version("honest", 1))
    bring(here)
    assert loaded == ["v1-honest", "v2-honest"]
    process = bring(there)
    assert process.predict([ROW]) == [honest(ROW)]
    assert process.pid is not None
    process.close()
    assert loaded == ["v1-honest", "v2-honest"]
