"""``glassbox technique workers``: what is resident on this machine, and how to end it."""

import subprocess
import sys

import orjson
import psutil
import pytest

from glassbox.cli.main import main
from glassbox.cli.techniques.workers import Worker, chosen
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques.local.backend import LocalBackend, running
from glassbox.techniques.local.files import WorkerState, worker_files
from glassbox.techniques.worker_spec import WorkerSpec
from tests.waiting import PATIENCE_S


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where workers are found; those of servers have a folder of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLASSBOX_PATHS__WORKERS", str(tmp_path / "workers"))
    monkeypatch.setenv("GLASSBOX_TECHNIQUES__FOLDER", str(tmp_path / "server"))
    return tmp_path / "workers"


def stand_in(folder, stem, model="tiny"):
    """A process that passes for a worker, and what is noted of it."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    files = worker_files(folder, stem)
    instance = stem * (32 // len(stem))
    state = WorkerState(
        instance,
        process.pid,
        psutil.Process(process.pid).create_time(),
        model,
        "app",
        "1",
        str(files.log),
    )
    files.write_state(state)
    return process, state


def test_a_worker_that_stays_for_good_is_listed_and_ended(folder, capsys):
    backend = LocalBackend(WorkerSpec(threads=1, idle_s=None), folder=folder)
    try:
        backend.start(lambda _doing, _share: None)
        assert main(["technique", "workers", "--json"]) == 0
        (listed,) = orjson.loads(capsys.readouterr().out)
        assert listed["model"] == "tiny"
        assert listed["app"] == "default"
        assert listed["memory_bytes"] > 50 * 2**20, "the process with the model counts"
        assert listed["socket"].endswith(".sock")
        assert main(["technique", "workers"]) == 0
        assert listed["id"][:8] in capsys.readouterr().out
        assert main(["technique", "workers", "--stop", listed["id"][:6]]) == 0
        assert "Ended: " + listed["id"][:8] in capsys.readouterr().err
        assert not running(folder)
    finally:
        backend.stop()


def test_a_worker_of_another_version_is_listed_as_one(folder, capsys):
    process, state = stand_in(folder, "a1")
    try:
        assert main(["technique", "workers"]) == 0
        told = " ".join(capsys.readouterr().err.split())
        assert f"{state.instance[:8]} runs Glassbox 1, and this is" in told
        assert "programs of this version do not use it" in told
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def test_all_are_ended_wherever_they_are_found(folder, tmp_path, capsys):
    one, _ = stand_in(folder, "a1")
    two, state = stand_in(tmp_path / "server", "b2", "gpt2")
    try:
        assert main(["technique", "workers", "--stop", "all", "--json"]) == 0
        told = orjson.loads(capsys.readouterr().out)
        assert {each["model"] for each in told["stopped"]} == {"tiny", "gpt2"}
        assert told["still_there"] == []
        assert {one.wait(PATIENCE_S), two.wait(PATIENCE_S)} == {-15}
        assert state.instance in {each["id"] for each in told["stopped"]}
    finally:
        for each in (one, two):
            each.kill()
            each.wait(PATIENCE_S)


def test_one_that_does_not_end_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr("glassbox.cli.techniques.workers.END_S", 0.2)
    monkeypatch.setattr(psutil.Process, "terminate", lambda _self: None)
    process, state = stand_in(folder, "c3")
    try:
        assert main(["technique", "workers", "--stop", str(state.pid)]) == ExitCode.INCOMPLETE
        assert f"process {state.pid}" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def test_without_any_worker_that_is_said(folder, capsys):
    assert main(["technique", "workers"]) == 0
    assert "No worker" in capsys.readouterr().err
    assert main(["technique", "workers", "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out) == []
    assert main(["technique", "workers", "--stop", "all"]) == 0
    assert main(["technique", "workers", "--stop", "abc"]) == ExitCode.USAGE


def test_an_id_must_mean_one_worker(tmp_path):
    found = [
        Worker(name, "tiny", "app", pid, 1, 0.0, tmp_path, tmp_path, "1")
        for name, pid in (("abc0", 10), ("abd0", 11), ("1000", 12))
    ]
    assert chosen(found, "abd") == (found[1],)
    assert chosen(found, "10") == (found[0],), "a process number goes first"
    assert chosen(found, "100") == (found[2],)
    with pytest.raises(InvalidValue, match="abc0 or abd0"):
        chosen(found, "ab")
    for none in ("x", ""):
        with pytest.raises(UnknownName, match="worker"):
            chosen(found, none)
