"""The board between worker and watcher, and limits as the kernel and threads hold them."""

import resource
import tempfile
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import DeadlineExceeded
from glassbox.techniques.calls import Call, Limits, Packed
from glassbox.techniques.local.limits import (
    BOARD_BYTES,
    Board,
    Posted,
    RunLimits,
    free_bytes,
    least,
)
from tests.waiting import PATIENCE_S

LIMIT = st.none() | st.floats(min_value=0.1, max_value=1e6)


@pytest.fixture
def board():
    with tempfile.TemporaryFile() as page:
        page.truncate(BOARD_BYTES)
        made = Board(page)
        made.post(Posted())
        yield made


def call(**limits):
    return Call("digest", "name", Packed(b"[]"), limits=Limits(**limits), caller="me")


def test_what_is_posted_is_read(board):
    posted = Posted("run-1", "somebody", 1.5, 2.5, 3, "")
    board.post(posted)
    assert board.read() == posted
    board.leave("idle")
    assert board.read().leaving == "idle"


def test_the_latest_runs_that_had_begun_stay_on_the_board(board):
    assert board.begun() == ()
    board.post(Posted("run-0"))
    board.post(Posted())
    assert board.begun() == ("run-0",)
    for number in range(1, 200):
        board.post(Posted(f"run-{number:060d}", "somebody", 1.5, 2.5, 3, "idle"))
    latest = board.begun()
    assert set(latest) == {f"run-{number:060d}" for number in range(200 - len(latest), 200)}
    assert len(latest) > 50
    assert board.read().leaving == "idle"


def test_killing_is_brought_forward_and_never_put_off(board):
    board.post(Posted("run-1", kill_at_s=100.0))
    board.hasten("run-2", 50.0)
    assert board.read().kill_at_s == 100.0
    board.hasten("run-1", 50.0)
    board.hasten("run-1", 70.0)
    assert board.read().kill_at_s == 50.0
    board.post(Posted("run-1"))
    board.hasten("run-1", 70.0)
    assert board.read().kill_at_s == 70.0


def test_nothing_half_written_is_ever_read(board):
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            board.post(Posted(str(number), str(number), float(number), float(number), number))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2000):
            seen = board.read()
            number = int(seen.run or 0)
            assert seen in (Posted(), Posted(str(number), str(number), number, number, number))
    finally:
        stop.set()
        writer.join()


@given(st.tuples(LIMIT, LIMIT), st.tuples(LIMIT, LIMIT))
def test_the_stricter_limit_counts(one, other):
    both = least(Limits(wall_s=one[0], cpu_s=one[1]), Limits(wall_s=other[0], cpu_s=other[1]))
    for value, pair in ((both.wall_s, (one[0], other[0])), (both.cpu_s, (one[1], other[1]))):
        given_ones = [each for each in pair if each is not None]
        assert value == (min(given_ones) if given_ones else None)


def test_a_run_is_on_the_board_with_its_limits_while_it_lasts(board):
    limits = RunLimits(board, Limits(wall_s=5.0), 1.0, lambda _run, _error: None)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with limits.guard("run-1", call(wall_s=3.0, cpu_s=2.0, memory_bytes=2**30)):
        posted = board.read()
        assert posted.run == "run-1"
        assert posted.caller == "me"
        assert 3.0 < posted.kill_at_s - time.monotonic() <= 4.0
        assert posted.cpu_end_s > 2.0
        assert posted.memory_end_bytes > 2**30
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] != before[0]
    assert board.read() == Posted()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY


def test_memory_beyond_the_limit_is_refused_and_allowed_again_afterwards(board):
    limits = RunLimits(board, Limits(), 1.0, lambda _run, _error: None)
    with limits.guard("run-1", call(memory_bytes=2**27)), pytest.raises(MemoryError):
        bytearray(2**29)
    assert len(bytearray(2**29)) == 2**29


@pytest.mark.parametrize("asked", [{"memory_bytes": 2**64 - 1}, {"cpu_s": 1e308}])
def test_a_limit_beyond_all_machines_is_none_and_harms_nobody(board, asked):
    limits = RunLimits(board, Limits(), 1.0, lambda _run, _error: None)
    with limits.guard("run-1", call(**asked)):
        assert board.read().run == "run-1"
        assert len(bytearray(2**20)) == 2**20
    assert board.read() == Posted()


def test_a_run_that_uses_up_its_processor_time_is_ended(board):
    ended = {}
    limits = RunLimits(board, Limits(), 1.0, ended.__setitem__)
    with limits.guard("run-1", call(cpu_s=0.1)):
        until = time.monotonic() + PATIENCE_S
        while not ended and time.monotonic() < until:
            sum(range(10_000))
    assert isinstance(ended["run-1"], DeadlineExceeded)
    assert "processor time" in str(ended["run-1"])


def test_there_is_memory_left():
    assert free_bytes() > 2**20
