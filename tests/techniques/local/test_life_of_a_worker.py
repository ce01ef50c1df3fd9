"""A worker is found, held up, killed, ends by itself; the next call starts another."""

# ruff: noqa: T201

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from glassbox.errors import DeadlineExceeded, OutOfMemory, TechniqueFailed, Unreachable
from glassbox.techniques.calls import NEVER_STARTED, Limits
from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.local.backend import LocalBackend, running
from glassbox.techniques.local.files import worker_files
from glassbox.techniques.worker_spec import WorkerSpec
from tests.techniques.local.worker_world import SPEC, counted, endless, process_id
from tests.waiting import PATIENCE_S


def held_up(model, tokenizer, seconds, *, after_s=0.05):
    import ctypes
    import time

    time.sleep(after_s)
    # Through PyDLL the interpreter's lock is kept: nothing else of the process runs.
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def test_who_waits_while_anothers_run_takes_the_worker_down_does_not_hear_of_it(
    client, backend, folder
):
    def stubborn(model, tokenizer):
        print("begun")
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(0.1)

    worker = client.run(process_id)
    holding = client.submit(stubborn)
    assert next(holding.lines()) == "begun"
    with InterpClient(backend=LocalBackend(SPEC, folder=folder), quiet=True) as other:
        waiting = other.submit(process_id)
        asked_late = other.submit(process_id)
        assert waiting.status == "queued"
        holding.cancel()
        assert waiting.result() != worker
        assert asked_late.result() == waiting.result()
    with pytest.raises(DeadlineExceeded, match="lost with its worker process"):
        holding.result()


def test_that_a_run_never_began_is_told_to_everybody_who_asks(client, backend):
    """A server asks for its callers and for its own records: who came second was told it had."""
    worker = client.run(process_id)
    holding = client.submit(endless)
    assert next(holding.lines()) == "begun"
    waiting = client.submit(process_id)
    assert waiting.status == "queued"
    lost_as = waiting.id
    os.kill(worker, signal.SIGKILL)
    told = [backend.run(lost_as, wait_s=PATIENCE_S) for _ in range(3)]
    assert {(each.status, each.error.code) for each in told} == {("lost", NEVER_STARTED)}
    assert waiting.result() != worker


def test_a_run_that_ended_unasked_is_not_taken_for_one_that_never_began(tmp_path):
    def noting(model, tokenizer, path):
        with path.open("a") as file:
            file.write("begun\n")

    backend = LocalBackend(SPEC, folder=tmp_path / "workers")
    with InterpClient(backend=backend, quiet=True) as client:
        first = client.submit(endless)
        assert next(first.lines()) == "begun"
        waiting = client.submit(noting, tmp_path / "log")
        assert waiting.status == "queued"
        first.cancel()
        assert first.wait(PATIENCE_S)
        with InterpClient(backend=LocalBackend(SPEC, folder=tmp_path / "workers")) as other:
            # In line behind it: once this has run, it has ended.
            assert other.run(process_id) > 0
            with pytest.raises(TechniqueFailed, match="exit code 3"):
                other.run(lambda model, tokenizer: os._exit(3))
        with pytest.raises(TechniqueFailed, match="lost with its worker process"):
            waiting.result()
    assert (tmp_path / "log").read_text() == "begun\n"
    backend.stop()


def test_a_technique_that_ends_the_process_loses_its_run_alone(client):
    worker = client.run(process_id)

    def leaving(model, tokenizer):
        import os

        os._exit(3)

    with pytest.raises(TechniqueFailed, match="exit code 3"):
        client.run(leaving)
    assert client.run(process_id) != worker
    assert client.last is not None
    assert client.last.timing.load_s > 0, "this call has waited for the new worker"


def test_what_holds_up_all_of_the_worker_is_killed_and_others_are_made_again(client, folder):
    worker = client.run(process_id)
    run = client.options(limits=Limits(wall_s=0.5)).submit(held_up, 5 * PATIENCE_S)
    answers = []
    other = InterpClient(backend=LocalBackend(SPEC, folder=folder), quiet=True)
    waiting = threading.Thread(target=lambda: answers.append(other.run(process_id)))
    waiting.start()
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="lost with its worker"):
        run.result()
    assert time.monotonic() - begun < PATIENCE_S
    assert run.status == "lost"
    waiting.join(PATIENCE_S)
    other.close()
    assert len(answers) == 1
    assert answers[0] != worker


def test_whoever_starts_a_worker_finds_it_noted(tmp_path):
    files = worker_files(tmp_path, "stem")
    words = [sys.executable, "-P", "-m", "glassbox.techniques.local.worker", "--owned"]
    starter = subprocess.Popen([*words, str(tmp_path), "stem"], stdin=subprocess.PIPE)
    starter.stdin.write(SPEC.to_json() + b"\n")
    starter.stdin.flush()
    assert starter.wait(PATIENCE_S) == 0
    state = files.state()
    starter.stdin.close()
    assert state is not None, "else the watcher of an earlier life removes the new socket"
    psutil.Process(state.pid).wait(PATIENCE_S)


@pytest.mark.slow
def test_a_cancelled_run_that_holds_up_all_of_the_worker_is_killed(client, monkeypatch):
    monkeypatch.setattr("glassbox.techniques.local.backend.PATIENCE_S", 0.5)
    run = client.submit(held_up, 5 * PATIENCE_S)
    run.cancel()
    begun = time.monotonic()
    assert run.wait(PATIENCE_S)
    assert time.monotonic() - begun < PATIENCE_S
    assert run.status == "lost"


@pytest.mark.slow
def test_an_interrupt_ends_even_what_holds_up_the_worker_at_once(client, monkeypatch):
    monkeypatch.setattr("glassbox.techniques.local.backend.PATIENCE_S", 0.5)
    worker = client.run(process_id)

    def interrupted(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupted)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            client.run(held_up, 5 * PATIENCE_S, after_s=0.0)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    psutil.Process(worker).wait(PATIENCE_S)


def test_a_worker_that_is_killed_in_the_middle_of_a_run_says_so(client):
    worker = client.run(process_id)
    run = client.submit(endless)
    assert next(run.lines()) == "begun"
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(TechniqueFailed, match="SIGKILL"):
        run.result(timeout_s=PATIENCE_S)
    assert run.status == "lost"


def test_a_crash_is_named(client):
    def crashing(model, tokenizer):
        import ctypes

        ctypes.string_at(0)

    with pytest.raises(TechniqueFailed, match="SIGSEGV"):
        client.run(crashing)


@pytest.mark.slow
def test_a_worker_of_ones_own_ends_with_the_program(tmp_path):
    backend = LocalBackend(SPEC, folder=tmp_path, owned=True)
    client = InterpClient(backend=backend, quiet=True)
    worker = psutil.Process(client.run(process_id))
    watcher = worker.parent()
    backend.close()
    worker.wait(PATIENCE_S)
    watcher.wait(PATIENCE_S)
    assert running(tmp_path) == ()
    assert list(tmp_path.iterdir()) == [], "each start of a server would leave some behind"


NO_ROOM = """
import resource, sys
from pathlib import Path
from glassbox.errors import NoDiskSpace
from glassbox.techniques.local.backend import LocalBackend
from glassbox.techniques.worker_spec import WorkerSpec

backend = LocalBackend(WorkerSpec(app_name="no room"), folder=Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    backend.start(lambda *_: None)
except NoDiskSpace as error:
    print(error)
"""


def test_no_room_for_a_workers_files_is_said(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", NO_ROOM, str(tmp_path)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.stdout.startswith(f"A file of {tmp_path} is larger than"), ended.stderr
    assert running(tmp_path) == ()
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"


def test_what_leads_to_a_worker_goes_with_it_even_if_its_end_cannot_be_noted(tmp_path):
    backend = LocalBackend(SPEC, folder=tmp_path)
    watcher = psutil.Process(InterpClient(backend=backend, quiet=True).run(process_id)).parent()
    assert watcher is not None
    stem = backend._connections.files.stem
    (tmp_path / f"{stem}.end.json").mkdir()
    watcher.terminate()
    watcher.wait(PATIENCE_S)
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {f"{stem}.end.json", f"{stem}.lock", f"{stem}.log"}


def test_a_worker_that_nobody_calls_ends_and_the_next_call_starts_another(tmp_path):
    spec = WorkerSpec(app_name="short", threads=1, idle_s=0.5)
    backend = LocalBackend(spec, folder=tmp_path)
    client = InterpClient(backend=backend, quiet=True)
    worker = client.run(process_id)
    psutil.Process(worker).wait(PATIENCE_S)
    assert client.run(process_id) != worker
    backend.stop()
    assert running(tmp_path) == ()
    assert [each.suffix for each in tmp_path.iterdir() if each.suffix == ".sock"] == []


@pytest.mark.slow
def test_what_a_dead_worker_left_behind_is_in_nobodys_way(tmp_path):
    backend = LocalBackend(SPEC, folder=tmp_path)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(backend._connections.files.socket))
    stale.close()
    with pytest.raises(Unreachable, match="No worker"):
        backend._connections.carry(_nothing())
    assert InterpClient(backend=backend, quiet=True).run(counted, "a") > 0
    backend.stop()


def test_memory_that_the_kernel_does_not_refuse_ends_the_worker(tmp_path):
    from glassbox.techniques.local.backend import _lost
    from glassbox.techniques.local.files import WorkerEnd
    from glassbox.techniques.local.limits import Posted
    from glassbox.techniques.local.worker import _by_itself

    run = _lost("r", WorkerEnd("i", "memory", "It took more memory than it may."), has_begun=True)
    assert run.error is not None
    assert run.error.code == OutOfMemory.code
    assert "Limits(cpu_s=…)" in _by_itself(Posted(), -signal.SIGXCPU)[1]
    assert "out" in _by_itself(Posted(), -signal.SIGKILL)[1]


def _nothing():
    from glassbox.techniques.calls import Packed

    return Packed(b'{"ask": "load"}')
