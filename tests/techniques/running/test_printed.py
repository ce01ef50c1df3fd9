# ruff: noqa: T201
import io
import logging
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from glassbox.techniques.running import printed as module
from glassbox.techniques.running.printed import Printed, kept_lines
from tests.waiting import PATIENCE_S


def lines_of(act, **options):
    printed = Printed(**options)
    with kept_lines(printed):
        act()
    return printed.lines


def test_both_streams_and_logging_are_lines():
    def act():
        print("out", 1)
        print("err", file=sys.stderr)
        logging.getLogger("mine").warning("careful %s", "now")
        logging.getLogger("mine").info("not shown by default")
        sys.stdout.write("no end")

    assert lines_of(act) == ["out 1", "err", "WARNING mine: careful now", "no end"]


def test_other_threads_keep_their_output(capsys):
    done, begun = threading.Event(), threading.Event()

    def other():
        begun.wait(PATIENCE_S)
        print("theirs")
        logging.getLogger("theirs").warning("also theirs")
        done.set()

    thread = threading.Thread(target=other)
    thread.start()

    def act():
        print("mine")
        begun.set()
        assert done.wait(PATIENCE_S)

    assert lines_of(act) == ["mine"]
    thread.join()
    seen = capsys.readouterr()
    assert seen.out == "theirs\n"


def test_threads_that_a_run_starts_are_its_own():
    def say(name):
        for part in ("first", "second"):
            print(name, end=" ")
            time.sleep(0.001)
            print(part)
        logging.getLogger("deep").warning("from %s", name)
        inner = threading.Thread(target=print, args=("inside", name))
        inner.start()
        inner.join()

    def act():
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(say, "abc"))
        print("all said")

    lines = lines_of(act)
    assert lines[-1] == "all said"
    assert sorted(lines[:-1]) == sorted(
        line
        for name in "abc"
        for line in (f"{name} first", f"{name} second", f"WARNING deep: from {name}",
                     f"inside {name}")
    )  # fmt: skip


def test_a_thread_that_outlives_its_run_is_nobodys(capsys):
    over = threading.Event()
    threads = []

    def late():
        print("in time")
        over.wait(PATIENCE_S)
        print("too late")

    def act():
        threads.append(threading.Thread(target=late))
        threads[0].start()
        while not printed.lines:
            time.sleep(0.001)

    printed = Printed()
    with kept_lines(printed):
        act()
    other = Printed()
    with kept_lines(other):
        over.set()
        threads[0].join()
    assert (printed.lines, other.lines) == (["in time"], [])
    assert capsys.readouterr().out == "too late\n"


def test_the_streams_are_as_before_afterwards():
    def seen():
        return sys.stdout, sys.stderr, threading.Thread.start, list(logging.getLogger().handlers)

    before = seen()
    lines_of(lambda: print("x"))
    assert seen() == before


def test_a_stream_is_left_alone_by_the_end_of_what_stood_for_it(monkeypatch):
    class Stream(io.StringIO):
        n_flushes = 0

        def flush(self):
            self.n_flushes += 1

    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    lines_of(lambda: print("x"))
    lines_of(lambda: print("the stand-in of the run before is gone"))
    assert stream.n_flushes == 0


def test_two_runs_at_a_time_get_their_own_lines():
    barrier = threading.Barrier(2)
    found = {}

    def run(name):
        def act():
            for number in range(50):
                barrier.wait(PATIENCE_S)
                print(name, number)

        found[name] = lines_of(act)

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [f"{name} {number}" for number in range(50)] for name in "ab"}


def test_lines_are_limited_in_number_and_length(monkeypatch):
    monkeypatch.setattr(module, "N_LINES", 3)
    monkeypatch.setattr(module, "LINE_CHARACTERS", 5)

    def act():
        print("123456789")
        for number in range(4):
            print(number)

    assert lines_of(act) == [
        "12345 [at least 4 more characters dropped]", "0", "1", "[2 more lines dropped]",
    ]  # fmt: skip


def test_half_characters_are_spelled_out():
    assert lines_of(lambda: print("a\ud800b")) == ["a\\ud800b"]


def test_a_line_without_end_takes_no_memory(monkeypatch):
    monkeypatch.setattr(module, "LINE_CHARACTERS", 10)
    printed = Printed()
    for _ in range(1000):
        printed.write("x" * 100)
    assert sum(map(len, printed._begun.values())) <= 120


def test_a_bar_of_progress_is_a_few_lines():
    def act():
        for _ in tqdm(range(200), mininterval=0):
            time.sleep(0.0001)

    lines = lines_of(act)
    assert 1 <= len(lines) < 5
    assert "200/200" in lines[-1]


def test_lines_are_edited_before_anybody_sees_them():
    assert lines_of(lambda: print("my secret"), edit=lambda line: line.replace("secret", "-")) == [
        "my -"
    ]


def test_whoever_watches_is_told_of_every_line():
    told = []
    lines_of(lambda: print("a\nb"), told=lambda: told.append(1))
    assert len(told) == 2
