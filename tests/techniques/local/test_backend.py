"""Techniques run in a worker process of this machine, within limits."""

# ruff: noqa: T201

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from glassbox.errors import DeadlineExceeded, NotShippable, UnknownName
from glassbox.techniques.calls import Limits
from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.local.backend import LocalBackend, running
from glassbox.techniques.worker_spec import WorkerSpec
from tests.techniques.local.worker_world import SPEC, counted, endless, process_id
from tests.waiting import PATIENCE_S


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


def test_what_a_run_sets_in_the_worker_is_gone_for_the_next(client):
    def careless(model, tokenizer):
        import os
        import warnings

        os.chdir("/")
        os.environ["LEFT_BEHIND"] = "1"
        warnings.simplefilter("ignore")

    def seen(model, tokenizer):
        import os
        import warnings
        from pathlib import Path

        return str(Path.cwd()), os.environ.get("LEFT_BEHIND"), warnings.filters[0][0]

    before = client.run(seen)
    assert client.last.undone == ()
    client.run(careless)
    undone = client.last.undone
    assert client.run(seen) == before
    for each in ("working folder", "environment variables", "filters of warnings"):
        assert any(note.startswith(f"{each} put back") for note in undone), each


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
    with pytest.raises(DeadlineExceeded, match=r"processor time.*Limits\(cpu_s=…\)"):
        client.options(limits=Limits(cpu_s=0.2)).run(endless)
    assert client.last is not None
    assert client.last.timing.run_s < PATIENCE_S


def test_a_cancelled_run_ends(client):
    run = client.submit(endless)
    assert next(run.lines()) == "begun"
    run.cancel()
    assert run.wait(PATIENCE_S)
    assert run.status == "cancelled"


def test_memory_beyond_the_limit_is_refused_to_the_technique(client):
    worker = client.run(process_id)

    def greedy(model, tokenizer):
        hoard = []
        while True:
            hoard.append(bytearray(2**24))

    def too_large(model, tokenizer):
        import torch

        return torch.ones(2**28).sum()

    remedy = r"It may take 256 MiB of memory .* Allow it more \(Limits\(memory_bytes=…\)"
    limited = client.options(limits=Limits(memory_bytes=2**28))
    with pytest.raises(MemoryError, match=f"^{remedy}"):
        limited.run(greedy)
    with pytest.raises(RuntimeError, match=f"can't allocate memory(?s:.*){remedy}"):
        limited.run(too_large)
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
    assert time.monotonic() - begun < PATIENCE_S


@pytest.mark.parametrize("path", ["/nowhere/at/all"])
def test_a_model_that_is_not_there_is_said_to_be_unknown(tmp_path, path):
    backend = LocalBackend(WorkerSpec(model=path, app_name="broken"), folder=tmp_path)
    with pytest.raises(UnknownName, match="nowhere"):
        InterpClient(backend=backend, quiet=True).run(process_id)
    backend.stop()


@pytest.mark.usefixtures("_cold_workers")
def test_nothing_of_a_hidden_prompt_is_on_a_command_line_or_in_a_file(tmp_path):
    secret = "the magpie sings at noon"
    spec = WorkerSpec(app_name="hidden", threads=1, hidden_system_prompt=secret)
    backend = LocalBackend(spec, folder=tmp_path)
    client = InterpClient(backend=backend, quiet=True)
    worker = psutil.Process(client.run(process_id))
    lines = [word for each in (worker, worker.parent()) for word in each.cmdline()]
    assert {"glassbox.techniques.local.process", "glassbox.techniques.local.worker"} <= {*lines}
    assert not any("magpie" in word for word in lines)
    files = [each for each in Path(tmp_path).rglob("*") if each.is_file()]
    assert not any(b"magpie" in each.read_bytes() for each in files)
    assert client.model_info().has_hidden_prompt
    assert secret not in repr(spec)
    backend.stop()
