import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import psutil
import pytest

from glassbox.rollout.shadow.limits import ChildLimits
from glassbox.rollout.shadow.process import (
    Origin,
    VersionLost,
    VersionOverdue,
    VersionProcess,
    VersionRefused,
)
from tests.rollout.shadow.challengers import honest, version
from tests.waiting import PATIENCE_S, clock_of_this_process, until

ORIGIN = Origin("tests.rollout.shadow.challengers:load")
ROW = {"x": 0.25, "y": 0.5}
ROWS = orjson.dumps([ROW])

# One that yields to all else takes seconds to start where other tests keep the processors busy.
QUICK = ChildLimits(yields=False)

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def started(how, limits=QUICK, origin=ORIGIN):
    process = VersionProcess(version(how), origin, limits)
    process.wait_until_loaded(PATIENCE_S)
    return process


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_version_answers_from_a_process_of_its_own():
    process = started("honest")
    assert process.pid != os.getpid()
    answered = process.ask(ROWS, timeout_s=PATIENCE_S)
    assert answered.predictions == (honest(dict(ROW)),)
    assert answered.latency_ms > 0
    assert process.resident_bytes > 10**6
    process.close()
    assert gone(process.pid)
    assert process.resident_bytes == 0
    process.close()
    process.kill()


def test_several_rows_are_answered_in_order():
    process = started("classes")
    rows = [{"x": 0.1 * i} for i in range(5)]
    answered = process.ask(orjson.dumps(rows), n_rows=5, timeout_s=PATIENCE_S)
    assert [each.prediction for each in answered.predictions] == [
        honest(row).prediction for row in rows
    ]
    assert list(answered.predictions[0].label_probs) == ["a", "b"]
    assert answered.predictions[0].summaries == {"n_tokens": 3.0}
    process.close()


def test_settings_given_to_this_process_reach_the_other():
    origin = Origin(ORIGIN.factory, {"answer": 0.5})
    process = started("overridden", origin=origin)
    assert process.ask(ROWS, timeout_s=PATIENCE_S).predictions[0].prediction == 0.5
    process.close()


@pytest.mark.skipif(sys.platform != "linux", reason="scheduling classes are Linux's")
@pytest.mark.parametrize("yields", [True, False])
def test_it_yields_to_all_else_if_it_should(yields):
    process = started("scheduling", ChildLimits(yields=yields))
    policy = os.SCHED_IDLE if yields else os.SCHED_OTHER
    assert process.ask(ROWS, timeout_s=PATIENCE_S).predictions[0].prediction == policy
    allowed = os.sched_getaffinity(0)
    assert os.sched_getaffinity(process.pid) <= allowed
    if yields and len(allowed) > 1:
        assert len(os.sched_getaffinity(process.pid)) == (len(allowed) + 1) // 2
    process.close()


@pytest.fixture(scope="module")
def one_for_all():
    process = started("as_told")
    yield process
    process.close()


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("refuse", "invalid-value", "something else"),
        ("crash", "raised", "ZeroDivisionError: by nothing"),
        ("leave_politely", "raised", "SystemExit: enough"),
        ("recurse", "raised", "RecursionError"),
        ("not_a_number", "non-finite-output", "NaN or infinity"),
        ("infinite", "non-finite-output", "NaN or infinity"),
        ("nonsense", "corrupt-artifact", "type str"),
        ("too_many", "raised", "one answer to each row"),
    ],
)
def test_what_a_version_raises_is_told_and_it_lives_on(one_for_all, how, code, words):
    for _ in range(2):
        with pytest.raises(VersionRefused, match=words) as caught:
            one_for_all.ask(orjson.dumps([{"x": 0.5, "how": how}]), timeout_s=PATIENCE_S)
        assert caught.value.told == code
    assert not gone(one_for_all.pid)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("kill_itself", "SIGKILL"),
        ("kill_its_group", "SIGKILL"),
        ("segfault", "SIGSEGV"),
        ("leave", "by itself with code 0"),
        ("breed_and_leave", "by itself with code 7"),
        ("scribble", "."),
        ("shut_all", "."),
        ("no_memory", "ran out of memory"),
        ("huge", "."),
    ],
)
def test_a_version_that_is_lost_is_told_and_nothing_of_it_is_left(how, words):
    process = started(how)
    with pytest.raises(VersionLost, match=words):
        process.ask(ROWS, timeout_s=PATIENCE_S)
    assert gone(process.pid)
    with pytest.raises(VersionLost, match="process of"):
        process.ask(ROWS, timeout_s=1)


@pytest.mark.parametrize("how", ["hang", "spin", "stop_itself", "breed"])
def test_a_version_that_takes_too_long_is_ended_with_all_that_it_started(how):
    process = started(how)
    with clock_of_this_process() as clock:
        with pytest.raises(VersionOverdue, match="did not answer in time"):
            process.ask(ROWS, timeout_s=0.3)
        assert clock() < 5
    assert gone(process.pid)
    left = [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == SLEEPER]
    assert not left


SLEEPER = ["sleep", "600"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit_at_import", "not today"),
        ("leave_at_import", "code 3"),
        ("corrupt", "weights.bin: its digest is another one"),
        ("raise_at_import", "RuntimeError: no weights"),
    ],
)
def test_a_version_that_cannot_be_loaded_says_why(how, words):
    process = VersionProcess(version(how), ORIGIN, QUICK)
    with pytest.raises(VersionLost, match=words):
        process.wait_until_loaded(PATIENCE_S)
    assert gone(process.pid)


def test_a_version_that_loads_for_ever_is_ended():
    process = VersionProcess(version("hang_at_import"), ORIGIN, QUICK)
    with pytest.raises(VersionOverdue, match="in time"):
        process.wait_until_loaded(0.5)
    assert gone(process.pid)


def test_a_factory_that_is_not_there_is_named():
    process = VersionProcess(version("honest"), Origin("tests.rollout:nothing"), QUICK)
    with pytest.raises(VersionLost, match="nothing"):
        process.wait_until_loaded(PATIENCE_S)


def test_what_it_prints_goes_nowhere(capfd):
    process = started("shout")
    for _ in range(3):
        assert process.ask(ROWS, timeout_s=PATIENCE_S).predictions == (honest(dict(ROW)),)
    process.close()
    assert capfd.readouterr() == ("", "")


def test_its_own_copy_is_all_that_it_can_change():
    process = started("mutate")
    row = {"x": 0.25, "deep": 0.5}
    rows = orjson.dumps([row])
    first = process.ask(rows, timeout_s=PATIENCE_S)
    assert process.ask(rows, timeout_s=PATIENCE_S).predictions == first.predictions
    assert row == {"x": 0.25, "deep": 0.5}
    process.close()


def test_memory_beyond_the_limit_ends_it():
    process = started("leak", ChildLimits(yields=False, memory_bytes=300 * 2**20))

    def ask_often():
        for _ in range(40):
            process.ask(ROWS, timeout_s=PATIENCE_S)
            process.require_memory()

    with pytest.raises(VersionLost, match="memory"):
        ask_often()
    assert gone(process.pid)


def test_being_killed_from_another_thread_ends_the_wait():
    process = started("hang")
    threading.Timer(0.3, process.kill).start()
    # It would be another error, had the wait gone on to its end.
    with pytest.raises(VersionLost, match="SIGKILL"):
        process.ask(ROWS, timeout_s=PATIENCE_S)


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
def test_it_ends_with_its_parent_however_hard_it_hangs(tmp_path):
    script = (
        "import sys, time\n"
        "from glassbox.rollout.shadow.limits import ChildLimits\n"
        "from glassbox.rollout.shadow.process import Origin, VersionProcess\n"
        "from tests.rollout.shadow.challengers import version\n"
        f"process = VersionProcess(version('spin'), Origin({ORIGIN.factory!r}), {QUICK})\n"
        f"process.wait_until_loaded({PATIENCE_S})\n"
        "print(process.pid, flush=True)\n"
        f"process.ask({ROWS!r}, timeout_s=600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait(PATIENCE_S)
    parent.stdout.close()
    until(lambda: gone(pid))
