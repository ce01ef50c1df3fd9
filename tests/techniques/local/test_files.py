"""Where a worker is found, what tells workers apart, and how values pass through a socket."""

import io
import os
import socket
import stat
import sys
import threading
from dataclasses import asdict, replace

import orjson
import psutil
import pytest
from rich.console import Console

from glassbox.errors import CorruptArtifact, DeadlineExceeded, InvalidValue
from glassbox.techniques.calls import Limits, Packed
from glassbox.techniques.client import loading
from glassbox.techniques.client.loading import LoadingBar
from glassbox.techniques.local.files import WorkerEnd, WorkerState, running, worker_files
from glassbox.techniques.local.socket_carrier import is_own, receive, send
from glassbox.techniques.worker_spec import WorkerSpec

STATE = WorkerState("life", os.getpid(), psutil.Process().create_time(), "tiny", "a", "1", "log")


def test_a_spec_travels_whole():
    spec = WorkerSpec("m", "a", "app", hidden_system_prompt="secret", limits=Limits(wall_s=3.0))
    assert WorkerSpec.from_json(spec.to_json()) == spec
    assert spec.to_json().count(b"\n") == 0
    assert spec.model_spec.adapter == "a"


def test_workers_differ_in_everything_but_their_idle_time(tmp_path):
    spec = WorkerSpec()
    assert replace(spec, idle_s=None).digest == spec.digest
    others = (
        replace(spec, model="gpt2"),
        replace(spec, app_name="mine"),
        replace(spec, dtype="float16"),
        replace(spec, hidden_system_prompt="secret"),
        replace(spec, limits=Limits(cpu_s=1.0)),
    )
    assert len({each.digest for each in (spec, *others)}) == 6
    folder = replace(spec, model=str(tmp_path))
    assert folder.digest == replace(spec, model=f"{tmp_path}/../{tmp_path.name}").digest


def test_another_python_has_workers_of_its_own(monkeypatch):
    spec = WorkerSpec()
    with monkeypatch.context() as patch:
        ours = spec.digest
        patch.setattr(sys, "version_info", (*sys.version_info[:2], 99))
        after_a_patch = spec.digest
        patch.setattr(sys, "version_info", (3, 99, 0))
        elsewhere = spec.digest
    assert ours == after_a_patch != elsewhere


def test_a_folder_is_the_same_wherever_the_worker_looks(tmp_path, monkeypatch):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    spec = WorkerSpec(model="models/mine", adapter="models/../models/mine")
    assert spec.model == spec.adapter == str(tmp_path / "models" / "mine")
    assert spec.digest == WorkerSpec(model=spec.model, adapter=spec.model).digest
    assert WorkerSpec(model="tiny", adapter="someone/else").model == "tiny"
    assert WorkerSpec(adapter="someone/else").adapter == "someone/else"


def test_a_spec_that_makes_no_sense_is_refused():
    with pytest.raises(InvalidValue, match="app_name"):
        WorkerSpec(app_name=" ")
    with pytest.raises(InvalidValue, match="idle_s"):
        WorkerSpec(idle_s=0.0)


def test_only_the_owner_may_enter_and_a_long_path_has_a_short_socket(tmp_path):
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    deep.chmod(0o755)
    files = worker_files(deep, "stem")
    assert stat.S_IMODE(deep.stat().st_mode) == 0o700
    assert len(os.fsencode(files.socket)) <= 100
    assert stat.S_IMODE(files.socket.parent.stat().st_mode) == 0o700
    assert worker_files(tmp_path, "stem").socket.parent in (tmp_path, files.socket.parent)


def test_only_what_is_alive_is_running(tmp_path):
    files = worker_files(tmp_path, "stem")
    assert running(tmp_path) == ()
    files.write_state(STATE)
    assert running(tmp_path) == (STATE,)
    files.write_state(replace(STATE, created_s=1.0))
    assert running(tmp_path) == ()
    assert running(tmp_path / "absent") == ()


def test_a_worker_clears_away_its_own_files_alone(tmp_path):
    files = worker_files(tmp_path, "stem")
    files.write_state(STATE)
    files.clear("an earlier life")
    assert files.state() == STATE
    files.clear("life")
    assert files.state() is None
    end = WorkerEnd("life", "exit", "why", "run", "caller", ("run", "one before"))
    files.write_end(end)
    assert files.end() == end


def test_what_another_version_noted_is_read_as_far_as_it_is_known(tmp_path):
    files = worker_files(tmp_path, "stem")
    note = tmp_path / "stem.json"
    note.write_bytes(orjson.dumps({**asdict(STATE), "colour": "blue"}))
    assert running(tmp_path) == (STATE,)
    note.write_bytes(orjson.dumps({"instance": "life", "colour": "blue"}))
    assert running(tmp_path) == ()
    end = WorkerEnd("life", "exit", "why")
    (tmp_path / "stem.end.json").write_bytes(orjson.dumps({**asdict(end), "colour": "blue"}))
    assert files.end() == end


def test_a_note_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    files = worker_files(tmp_path, "stem")
    (tmp_path / "stem.json").mkdir()
    with pytest.raises(OSError, match=r"stem\.json"):
        files.write_state(STATE)
    assert [each.name for each in tmp_path.iterdir()] == ["stem.json"]


def test_one_program_starts_a_worker_at_a_time(tmp_path):
    files = worker_files(tmp_path, "stem")
    with (
        files.locked(1.0),
        pytest.raises(DeadlineExceeded, match="Another program"),
        files.locked(0.05),
    ):
        pass
    with files.locked(0.05):
        pass


def test_a_wish_to_cancel_is_heard_once(tmp_path):
    files = worker_files(tmp_path, "stem")
    assert not files.is_to_cancel("run/1")
    files.ask_to_cancel("run/1")
    assert not files.is_to_cancel("run/2")
    assert files.is_to_cancel("run/1")
    assert not files.is_to_cancel("run/1")


def test_values_of_every_size_pass_through_a_socket():
    left, right = socket.socketpair(socket.AF_UNIX)
    many = Packed(b"{}", tuple(bytes([i % 256]) * (i % 7) for i in range(3000)))
    large = Packed(b"[1]", (b"x" * 3_000_001, b"", b"y" * 100))
    with left, right:
        assert is_own(left)
        for value in (Packed(b"null"), many, large):
            sender = threading.Thread(target=send, args=(left, value))
            sender.start()
            came = receive(right)
            sender.join()
            assert came.tree == value.tree
            assert [bytes(each) for each in came.buffers] == list(value.buffers)


def test_what_is_no_message_is_refused():
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        left.sendall(b"\xff" * 8)
        with pytest.raises(CorruptArtifact, match="claims to be"):
            receive(right)
        left.sendall((64).to_bytes(8, "little") + b"?" * 64)
        with pytest.raises(CorruptArtifact, match="begins with"):
            receive(right)
        left.close()
        with pytest.raises(EOFError):
            receive(right)


def test_loading_is_shown_on_a_terminal_once_it_takes_long(monkeypatch):
    monkeypatch.setattr(loading, "SHOW_AFTER_S", 0.0)
    screen = io.StringIO()
    bar = LoadingBar(console=Console(file=screen, force_terminal=True, width=80))
    bar("loading [tiny]", None)
    bar("loading [tiny]", 0.5)
    bar("[tiny] is resident", 1.0)
    assert "loading [tiny]" in screen.getvalue()
    assert "[tiny] is resident after 0.0 s" in screen.getvalue()
    silent = io.StringIO()
    for quiet, terminal in ((True, True), (False, False)):
        bar = LoadingBar(quiet=quiet, console=Console(file=silent, force_terminal=terminal))
        bar("loading", 0.5)
        bar.close("done")
    assert silent.getvalue() == ""
