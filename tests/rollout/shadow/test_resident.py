import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import orjson
import pytest

from glassbox.errors import AdapterMismatch
from glassbox.rollout.prediction import Prediction
from glassbox.rollout.shadow.in_engine import in_engine, shares_base
from glassbox.rollout.shadow.lane import Copy, Lane
from glassbox.rollout.shadow.process import (
    VersionBusy,
    VersionLost,
    VersionOverdue,
    VersionRefused,
)
from glassbox.rollout.shadow.resident import ResidentSide
from tests.rollout.shadow.challengers import BEHAVIOURS, Challenger, honest, version
from tests.waiting import PATIENCE_S, until

ROW = {"x": 0.25}
ROWS = orjson.dumps([ROW])
DIGEST = "a" * 64


def side(how="honest", is_idle=lambda: True):
    made = ResidentSide(how, lambda: Challenger(BEHAVIOURS[how]), is_idle)
    made.wait_until_loaded()
    return made


def test_it_is_asked_in_this_process_on_a_copy():
    answered = side("mutate").ask(ROWS, timeout_s=PATIENCE_S)
    assert answered.predictions == (honest(dict(ROW)),)
    assert side().pid is None
    assert side().resident_bytes == 0


def test_it_waits_until_nothing_else_is_asked():
    busy = threading.Event()
    made = side(is_idle=lambda: not busy.is_set())
    busy.set()
    with pytest.raises(VersionBusy, match="no moment"):
        made.ask(ROWS, timeout_s=0.05)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(made.ask, ROWS, timeout_s=PATIENCE_S)
        with pytest.raises(TimeoutError):
            asked.result(0.1)
        busy.clear()
        assert asked.result(PATIENCE_S).predictions == (honest(dict(ROW)),)


def test_being_ended_ends_the_wait():
    made = side(is_idle=lambda: False)
    threading.Timer(0.05, made.kill).start()
    with pytest.raises(VersionLost, match="was ended"):
        made.ask(ROWS, timeout_s=PATIENCE_S)
    made.close()
    made.close()


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("refuse", "invalid-value", "something else"),
        ("crash", "raised", "ZeroDivisionError"),
        ("not_a_number", "non-finite-output", "NaN"),
        ("nonsense", "corrupt-artifact", "type str"),
        ("too_many", "raised", "one answer to each row"),
        ("no_memory", "raised", "MemoryError"),
    ],
)
def test_what_it_raises_is_told(how, code, words):
    with pytest.raises(VersionRefused, match=words) as caught:
        side(how).ask(ROWS, timeout_s=PATIENCE_S)
    assert caught.value.told == code


def test_what_takes_too_long_is_told_afterwards():
    with pytest.raises(VersionOverdue, match=r"it may take 0\.05"):
        side("slow").ask(ROWS, timeout_s=0.05)


def test_what_cannot_be_loaded_says_why():
    def fail():
        raise AdapterMismatch("made for another model")

    with pytest.raises(VersionLost, match="made for another model"):
        ResidentSide("v2", fail, lambda: True).wait_until_loaded()


def test_a_copy_that_finds_no_moment_is_shed():
    ended = []
    lane = Lane(
        version("honest"), lambda: side(is_idle=lambda: False), ended.append, timeout_s=0.05
    )
    lane.offer(Copy("r1", ROWS, Prediction(0.5), None))
    until(lambda: ended)
    assert [each.status for each in ended] == ["dropped"]
    assert lane.status().state == "ready"
    lane.close()


@dataclass
class Engine:
    n_running: int = 0
    n_waiting: int = 0


def classifier(digest):
    return replace(version("honest"), kind="llm-classifier", metadata={"base": {"digest": digest}})


def test_only_challengers_on_the_resident_model_find_a_place_in_it():
    place = in_engine(Engine(), DIGEST, lambda _: Challenger(honest))
    assert place(version("honest")) is None
    assert place(classifier("b" * 64)) is None
    assert not shares_base(replace(classifier(DIGEST), metadata={}), DIGEST)
    assert not shares_base(classifier(""), "")
    found = place(classifier(DIGEST))
    found.wait_until_loaded()
    assert found.ask(ROWS, timeout_s=PATIENCE_S).predictions == (honest(dict(ROW)),)


@pytest.mark.parametrize("busy", ["n_running", "n_waiting", "champion"])
def test_in_the_engine_it_goes_behind_all_else(busy):
    engine, champion_is_idle = Engine(), busy != "champion"
    if busy != "champion":
        setattr(engine, busy, 1)
    place = in_engine(engine, DIGEST, lambda _: Challenger(honest), lambda: champion_is_idle)
    found = place(classifier(DIGEST))
    found.wait_until_loaded()
    with pytest.raises(VersionBusy, match="no moment"):
        found.ask(ROWS, timeout_s=0.05)
