"""The promise of the shadow, through everything that a server has between a request and its row."""

import asyncio
import struct
import time

import psutil
import pytest

from glassbox.rollout.assembly.side import RolloutSide
from tests.rollout.shadow.lanes import unstalled_s
from tests.rollout.side_world import open_side
from tests.waiting import clock_of_this_process, until

N = 12
ROWS = [{"x": 1 / (i + 1)} for i in range(N)]
QUICK = {"rollout__shadow_timeout_s": 0.3, "rollout__shadow_queue": 1}


def answers(side: RolloutSide) -> tuple[list[bytes], list[float]]:
    found, took_s = [], []
    with clock_of_this_process() as clock:
        for row in ROWS:
            kept = dict(row)
            began = clock()
            answered = asyncio.run(side.inference.predict(row))
            took_s.append(clock() - began)
            assert row == kept
            prediction = answered.prediction.prediction
            found.append(struct.pack("dd", prediction, answered.event.confidence))
            time.sleep(0.02)
    return found, took_s


def state(side: RolloutSide) -> str:
    (lane,) = side.looks.health().components["shadow"].details["challengers"].values()
    return str(lane["state"])


@pytest.mark.parametrize(
    ("challenger", "statuses"),
    [
        # On a busy machine the time of any of them may be up before it has answered or ended.
        ("other", {"ok", "timeout", "dropped"}),
        ("changing", {"ok", "timeout", "dropped"}),
        ("picky", {"ok", "error", "timeout", "dropped"}),
        ("sleepy", {"ok", "timeout", "dropped", "breaker_open"}),
        ("deadly", {"error", "timeout", "dropped", "breaker_open"}),
    ],
)
def test_answers_and_their_records_are_those_without_a_challenger(tmp_path, challenger, statuses):
    before = set(psutil.Process().children(recursive=True))
    for name in ("off", "on"):
        (tmp_path / name).mkdir()
    with open_side(tmp_path / "off", "steady") as side:
        expected, _ = answers(side)
    with open_side(tmp_path / "on", "steady", challenger, yields=True, **QUICK) as side:
        until(lambda: state(side) != "loading")
        found, took_s = answers(side)
        assert found == expected
        assert unstalled_s(took_s) < 0.25, "no answer ever waits for a challenger"
        until(lambda: all(each.shadows for each in side.ring.records()))
        records = side.ring.records()
    assert not set(psutil.Process().children(recursive=True)) - before
    assert len(records) == N
    assert {each.primary.status for each in records} == {"success"}
    assert all(len(each.shadows) == 1 for each in records)
    assert {each.shadows[0].status for each in records} <= statuses
