"""A worker process on this machine: found again, survived, limited, replaced."""

# ruff: noqa: T201

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from glassbox.errors import (
    DeadlineExceeded,
    NotShippable,
    OutOfMemory,
    TechniqueFailed,
    UnknownName,
    Unreachable,
)
from glassbox.techniques.calls import Limits, Packed
from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.local.backend import ANSWER_S, LocalBackend, running
from glassbox.techniques.local.connections import NoAnswer
from glassbox.techniques.local.files import worker_files
from glassbox.techniques.local.limits import BOARD_BYTES, Board
from glassbox.techniques.local.process import WorkerServer
from glassbox.techniques.local.socket_carrier import receive, send
from glassbox.techniques.worker_spec import WorkerSpec
from tests.contracts.backend_world import call_of
from tests.descriptors import none_left

SPEC = WorkerSpec(app_name="tests", threads=1, grace_s=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def backend(folder):
    made = LocalBackend(SPEC, folder=folder)
    made.start(lambda _doing, _share: None)
    yield made
    made.stop()


@pytest.fixture
def client(backend):
    return InterpClient(backend=backend, quiet=True)


def process_id(model, tokenizer):
    import os

    return os.getpid()


def counted(model, tokenizer, text):
    print("counting")
    return len(tokenizer(text)["input_ids"])


def endless(model, tokenizer):
    print("begun")
    while True:
        pass


def held_up(model, tokenizer, seconds, *, after_s=0.05):
    import ctypes
    import time

    time.sleep(after_s)
    # Through PyDLL the interpreter's lock is kept: nothing else of the process runs.
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def test_a_technique_runs_beside_the_model_of_another_process(client):
    assert client.run(counted, "Once upon a time") > 3
    assert client.last is not None
    assert client.last.lines == ("counting",)
    assert client.run(process_id) != os.getpid()
    info = client.model_info()
    assert info.n_layers >= 8
    assert info.is_isolated


def test_the_next_client_finds_the_worker(client, folder):
    worker = client.run(process_id)
    with InterpClient(backend=LocalBackend(SPEC, folder=folder), quiet=True) as other:
        assert other.run(process_id) == worker
    assert client.run(process_id) == worker, "closing a client leaves the worker"
    assert [state.app_name for state in running(folder)] == ["tests"]


def test_its_files_are_its_owners_alone(backend, client, folder):
    client.run(process_id)
    files = backend._connections.files
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(files.socket.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(files.log.stat().st_mode) == 0o600


def test_an_error_leaves_the_worker_alive(client):
    worker = client.run(process_id)

    def failing(model, tokenizer):
        return {}["missing"]

    with pytest.raises(KeyError, match="missing"):
        client.run(failing)
    assert client.run(process_id) == worker


def test_lines_come_while_it_runs(client):
    def slow(model, tokenizer):
        import time

        print("first")
        time.sleep(0.4)
        print("second")
        return 1

    run = client.submit(slow)
    lines = run.lines()
    assert next(lines) == "first"
    assert not run.has_ended
    assert list(lines) == ["second"]
    assert run.result() == 1


def test_tensors_arrive_as_they_were(client):
    torch = pytest.importorskip("torch")

    def tensors(model, tokenizer):
        import torch

        return [torch.arange(6).reshape(2, 3), {"half": torch.ones(3, dtype=torch.float16)}]

    whole, more = client.run(tensors)
    assert torch.equal(whole, torch.arange(6).reshape(2, 3))
    assert more["half"].dtype is torch.float16


def test_a_large_result_comes_in_one_piece(client):
    def large(model, tokenizer):
        import torch

        return torch.full((5_000_000,), 2.0)

    assert float(client.run(large).sum()) == 1e7


def test_a_result_beyond_the_limit_is_refused_by_size(client):
    def huge(model, tokenizer):
        import torch

        return torch.empty(250_000_000)

    limited = client.options(limits=Limits(result_bytes=2**20))
    with pytest.raises(NotShippable, match=r"at most 1\.0 MiB"):
        limited.run(huge)


def test_a_session_keeps_values_in_the_worker(client):
    def doubled(model, tokenizer, x):
        return 2 * x

    torch = pytest.importorskip("torch")
    with client.session() as session:
        kept = session.keep(doubled, torch.ones(3))
        assert torch.equal(session.run(doubled, kept), torch.full((3,), 4.0))


def test_a_map_answers_in_order(client):
    assert client.map(counted, ["a", "a b c d e f"])[0] < client.map(counted, ["a b c d e f"])[0]


def test_two_clients_at_once_get_their_own_answers(backend, folder):
    answers = {}

    def work(name):
        with InterpClient(backend=LocalBackend(SPEC, folder=folder), quiet=True) as client:
            answers[name] = [client.run(counted, "word " * name) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(set(answers[name])) for name in sorted(answers)] == [1, 1, 1, 1]
    assert sorted(answers, key=lambda name: answers[name][0]) == [1, 2, 3, 4]


def test_an_endless_loop_ends_at_its_deadline_and_the_worker_lives(client):
    worker = client.run(process_id)
    with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
        client.options(limits=Limits(wall_s=0.3)).run(endless)
    assert client.run(process_id) == worker


def test_processor_time_is_limited_too(client):
    with pytest.raises(DeadlineExceeded, match="processor time"):
        client.options(limits=Limits(cpu_s=0.2)).run(endless)
    assert client.last is not None
    assert client.last.timing.run_s < 5


def test_a_cancelled_run_ends(client):
    run = client.submit(endless)
    assert next(run.lines()) == "begun"
    run.cancel()
    assert run.wait(10)
    assert run.status == "cancelled"


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
        assert first.wait(60)
        with InterpClient(backend=LocalBackend(SPEC, folder=tmp_path / "workers")) as other:
            # In line behind it: once this has run, it has ended.
            assert other.run(process_id) > 0
            with pytest.raises(TechniqueFailed, match="exit code 3"):
                other.run(lambda model, tokenizer: os._exit(3))
        with pytest.raises(TechniqueFailed, match="lost with its worker process"):
            waiting.result()
    assert (tmp_path / "log").read_text() == "begun\n"
    backend.stop()


def test_memory_beyond_the_limit_is_refused_to_the_technique(client):
    worker = client.run(process_id)

    def greedy(model, tokenizer):
        hoard = []
        while True:
            hoard.append(bytearray(2**24))

    with pytest.raises(MemoryError):
        client.options(limits=Limits(memory_bytes=2**28)).run(greedy)
    assert client.run(process_id) == worker


def test_runs_of_a_client_that_went_away_are_ended(client, folder):
    code = (
        "import sys; from pathlib import Path\n"
        "from glassbox.techniques.client.blocking import InterpClient\n"
        "from glassbox.techniques.local.backend import LocalBackend\n"
        "from glassbox.techniques.worker_spec import WorkerSpec\n"
        "spec = WorkerSpec(app_name='tests', threads=1, grace_s=0.5)\n"
        "client = InterpClient(backend=LocalBackend(spec, folder=Path(sys.argv[1])), quiet=True)\n"
        "def endless(model, tokenizer):\n"
        "    while True:\n        pass\n"
        "client.submit(endless)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)
    begun = time.monotonic()
    assert client.run(counted, "free again") > 0
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("path", ["/nowhere/at/all"])
def test_a_model_that_is_not_there_is_said_to_be_unknown(tmp_path, path):
    backend = LocalBackend(WorkerSpec(model=path, app_name="broken"), folder=tmp_path)
    with pytest.raises(UnknownName, match="nowhere"):
        InterpClient(backend=backend, quiet=True).run(process_id)
    backend.stop()


# From here on the worker is taken down; the next test starts it anew.


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
    run = client.options(limits=Limits(wall_s=0.5)).submit(held_up, 60)
    answers = []
    other = InterpClient(backend=LocalBackend(SPEC, folder=folder), quiet=True)
    waiting = threading.Thread(target=lambda: answers.append(other.run(process_id)))
    waiting.start()
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="lost with its worker"):
        run.result()
    assert time.monotonic() - begun < 15
    assert run.status == "lost"
    waiting.join(60)
    other.close()
    assert len(answers) == 1
    assert answers[0] != worker


def test_nobody_waits_without_end_for_a_worker_that_is_held_up(tmp_path, monkeypatch):
    backend, patience = LocalBackend(SPEC, folder=tmp_path), []

    def held(_asked, *, timeout_s=None):
        patience.append(timeout_s)
        raise NoAnswer("It does not answer.")

    monkeypatch.setattr(backend._connections, "carry", held)
    asked = call_of(process_id)
    for question in (
        lambda: backend.submit(asked),
        lambda: backend.open_session(),
        lambda: backend.result("run-1"),
    ):
        with pytest.raises(NoAnswer, match="does not answer"):
            question()
    assert patience == [ANSWER_S] * 3


def test_whoever_starts_a_worker_finds_it_noted(tmp_path):
    files = worker_files(tmp_path, "stem")
    words = [sys.executable, "-P", "-m", "glassbox.techniques.local.worker", "--owned"]
    starter = subprocess.Popen([*words, str(tmp_path), "stem"], stdin=subprocess.PIPE)
    starter.stdin.write(SPEC.to_json() + b"\n")
    starter.stdin.flush()
    assert starter.wait(30) == 0
    state = files.state()
    starter.stdin.close()
    assert state is not None, "else the watcher of an earlier life removes the new socket"
    psutil.Process(state.pid).wait(30)


def test_a_worker_that_had_no_descriptor_left_takes_connections_again(tmp_path, monkeypatch):
    had_none = threading.Event()

    class Listening(socket.socket):
        def accept(self):
            try:
                return super().accept()
            except OSError:
                had_none.set()
                raise

    # The system takes short names of sockets alone.
    monkeypatch.chdir(tmp_path)
    with (
        (tmp_path / "board").open("w+b") as page,
        Listening(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX) as first,
        socket.socket(socket.AF_UNIX) as second,
    ):
        page.truncate(BOARD_BYTES)
        listening.bind("socket")
        listening.listen()
        server = WorkerServer(SPEC, Board(page), "life")
        accepting = threading.Thread(target=server._accept, args=(listening,), daemon=True)
        accepting.start()
        with none_left():
            # Who waits for a connection may have the descriptor of the first one already.
            for each in (first, second):
                each.settimeout(30)
                each.connect("socket")
                send(each, Packed(b'{"client": "me", "idle_s": null}'))
            assert had_none.wait(30)
        for each in (first, second):
            assert b"life" in bytes(receive(each).tree)
        listening.shutdown(socket.SHUT_RDWR)
    accepting.join(30)
    assert not accepting.is_alive()


def test_a_program_without_descriptors_takes_no_run_for_lost(client, folder):
    client.run(process_id)
    other = LocalBackend(SPEC, folder=folder)
    with none_left():
        assert other.run("run-1").status == "running"
        with pytest.raises(NoAnswer, match="Too many open files"):
            other.model_info()
    assert other.model_info().is_isolated
    other.close()


def test_a_client_that_leaves_before_it_is_greeted_is_counted_out(tmp_path, monkeypatch):
    def broken(_connection, _packed):
        raise BrokenPipeError

    with (tmp_path / "board").open("w+b") as page:
        page.truncate(BOARD_BYTES)
        server = WorkerServer(SPEC, Board(page), "life")
        near, far = socket.socketpair()
        send(near, Packed(b'{"client": "me", "idle_s": null}'))
        monkeypatch.setattr("glassbox.techniques.local.process.send", broken)
        server._answer_all(far)
        near.close()
    assert server._clients["me"].n_connections == 0
    assert server._clients["me"].left_at_s is not None


@pytest.mark.slow
def test_a_cancelled_run_that_holds_up_all_of_the_worker_is_killed(client, monkeypatch):
    monkeypatch.setattr("glassbox.techniques.local.backend.PATIENCE_S", 0.5)
    run = client.submit(held_up, 60)
    run.cancel()
    begun = time.monotonic()
    assert run.wait(20)
    assert time.monotonic() - begun < 15
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
            client.run(held_up, 60, after_s=0.0)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    psutil.Process(worker).wait(10)


def test_a_worker_that_is_killed_in_the_middle_of_a_run_says_so(client):
    worker = client.run(process_id)
    run = client.submit(endless)
    assert next(run.lines()) == "begun"
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(TechniqueFailed, match="SIGKILL"):
        run.result(timeout_s=20)
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
    worker.wait(10)
    watcher.wait(60)
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
    watcher.wait(60)
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {f"{stem}.end.json", f"{stem}.lock", f"{stem}.log"}


def test_a_worker_that_nobody_calls_ends_and_the_next_call_starts_another(tmp_path):
    spec = WorkerSpec(app_name="short", threads=1, idle_s=0.5)
    backend = LocalBackend(spec, folder=tmp_path)
    client = InterpClient(backend=backend, quiet=True)
    worker = client.run(process_id)
    psutil.Process(worker).wait(15)
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
    assert _by_itself(Posted(), -signal.SIGXCPU)[0] == "cpu"
    assert "out" in _by_itself(Posted(), -signal.SIGKILL)[1]


def _nothing():
    from glassbox.techniques.calls import Packed

    return Packed(b'{"ask": "load"}')


def test_nothing_of_a_hidden_prompt_is_on_a_command_line_or_in_a_file(tmp_path):
    secret = "the magpie sings at noon"
    spec = WorkerSpec(app_name="hidden", threads=1, hidden_system_prompt=secret)
    backend = LocalBackend(spec, folder=tmp_path)
    client = InterpClient(backend=backend, quiet=True)
    worker = psutil.Process(client.run(process_id))
    lines = [word for each in (worker, worker.parent()) for word in each.cmdline()]
    assert not any("magpie" in word for word in lines)
    files = [each for each in Path(tmp_path).rglob("*") if each.is_file()]
    assert not any(b"magpie" in each.read_bytes() for each in files)
    assert client.model_info().has_hidden_prompt
    assert secret not in repr(spec)
    backend.stop()
