"""Connections to a worker: held up, broken off, without a descriptor left."""

import socket
import threading

import pytest

from glassbox.techniques.calls import Packed
from glassbox.techniques.local.backend import ANSWER_S, LocalBackend
from glassbox.techniques.local.connections import NoAnswer
from glassbox.techniques.local.limits import BOARD_BYTES, Board
from glassbox.techniques.local.process import WorkerServer
from glassbox.techniques.local.socket_carrier import receive, send
from tests.contracts.backend_world import call_of
from tests.descriptors import none_left
from tests.techniques.local.worker_world import SPEC, process_id
from tests.waiting import PATIENCE_S


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
            assert had_none.wait(PATIENCE_S)
        for each in (first, second):
            assert b"life" in bytes(receive(each).tree)
        listening.shutdown(socket.SHUT_RDWR)
    accepting.join(PATIENCE_S)
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
