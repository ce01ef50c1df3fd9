"""The process that has the model: answers the questions of every client that connects.

One thread per connection; the model itself belongs to the desk's thread. Started by the watcher
alone, which hands it the socket. Knows nothing of how it is found or restarted.
"""

import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from glassbox.engine.model.attempt import attempt
from glassbox.errors import CorruptArtifact, GlassboxError
from glassbox.techniques.calls import FINAL, Packed
from glassbox.techniques.carrying.far_side import Residence
from glassbox.techniques.local.limits import Board, RunLimits
from glassbox.techniques.local.socket_carrier import is_own, receive, send
from glassbox.techniques.protocol import Progress
from glassbox.techniques.running.open_desk import open_desk
from glassbox.techniques.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from glassbox.techniques.running.desk import Desk

GONE_S = 2.0
"""Seconds after a client's last connection ended in which it may come back for its runs."""

LOOK_S = 0.5
"""How often it is looked whether anybody still needs the worker."""

FAILED_S = 20.0
"""Seconds for which a worker whose model cannot be loaded stays to say so."""

SWITCH_S = 0.0005
"""How long a thread of Python may keep others waiting: answers should not wait for a technique."""

_BEGINNINGS = ("submit", "open_session", "start")
"""Questions that need a model in order; all others are answered beside one that is not, too."""

OOM_SCORE = "500"
"""Added to what the kernel would kill first, because what runs here is anybody's.

Source: proc(5), ``oom_score_adj``.
"""


@dataclass(eq=False)
class _Client:
    """A program that has connected, over all its connections."""

    n_connections: int = 0
    left_at_s: float | None = None
    runs: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)


class WorkerServer:
    """Answers connections until nobody needs it any more.

    Args:
        spec: What to keep resident.
        board: Read by the watcher.
        instance: Tells this life from others.
    """

    def __init__(self, spec: WorkerSpec, board: Board, instance: str) -> None:
        self._spec = spec
        self._board = board
        self._instance = instance
        self._lock = threading.Lock()
        self._clients: dict[str, _Client] = {}
        self._idle_s = spec.idle_s
        self._desk: Desk | None = None
        self._has_failed = False
        self._limits = RunLimits(board, spec.limits, spec.grace_s, self._end)
        self._residence = Residence(self._open)

    def serve(self, listening: socket.socket) -> None:
        """Accept connections until nobody called for the idle time."""
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        while True:
            time.sleep(LOOK_S)
            self._forget_those_who_left()
            idle_s = FAILED_S if self._has_failed else self._idle_s
            if self._desk is not None and idle_s is not None and self._desk.idle_s < idle_s:
                continue
            if idle_s is not None and self._residence.end_if_idle(idle_s):
                self._board.leave("idle")
                return

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                if listening.fileno() < 0:
                    return
                # A run may just have all the descriptors that there are: it gives them back.
                time.sleep(LOOK_S)
                continue
            if not is_own(connection):
                connection.close()
                continue
            thread = threading.Thread(target=self._answer_all, args=(connection,), daemon=True)
            # A run may just have all the memory that there is for a thread.
            if isinstance(attempt(thread.start), Exception):
                connection.close()

    def _answer_all(self, connection: socket.socket) -> None:
        with connection:
            try:
                asked = orjson.loads(receive(connection).tree)
                name, idle_s = str(asked["client"]), asked["idle_s"]
            except (OSError, EOFError, CorruptArtifact, KeyError, ValueError, MemoryError):
                return
            self._came(name, idle_s)
            try:
                attempt(lambda: self._converse(connection, name))
            finally:
                self._left(name)

    def _came(self, name: str, idle_s: float | None) -> None:
        """Count a connection of a client, which says how long it wants the worker to stay."""
        with self._lock:
            client = self._clients.setdefault(name, _Client())
            client.n_connections += 1
            client.left_at_s = None
            if self._idle_s is not None:
                self._idle_s = None if idle_s is None else max(self._idle_s, float(idle_s))

    def _converse(self, connection: socket.socket, name: str) -> None:
        """Greet, and answer until the client closes the connection."""
        send(connection, Packed(orjson.dumps({"instance": self._instance})))
        client = self._clients[name]
        while True:
            asked = receive(connection)
            fields: dict[str, Any] = orjson.loads(asked.tree)
            if fields["ask"] in _BEGINNINGS and self._desk is not None and self._desk.failure:
                # No call was taken: the client starts another worker and asks that one.
                self._board.leave("harmed")
                os._exit(0)
            answer = self._answer(asked)
            self._note(client, fields, answer)
            del asked
            try:
                send(connection, answer)
            except OSError:
                self._nobody_heard(client, fields, answer)
                raise

    def _nobody_heard(self, client: _Client, fields: Mapping[str, Any], answer: Packed) -> None:
        """Cancel the run whose id somebody stopped waiting for."""
        if fields["ask"] == "submit" and answer.buffers:
            run: str = orjson.loads(answer.buffers[0])["id"]
            client.runs.discard(run)
            self._ask(ask="cancel", run=run)
            self._limits.hasten(run)

    def _answer(self, asked: Packed) -> Packed:
        """Return the answer to a question, or that something went wrong that nobody foresaw."""
        answer = attempt(lambda: self._residence.answer(asked))
        if isinstance(answer, Exception):
            traceback.print_exception(answer)
            refused = _unforeseen(answer)
            return Packed(orjson.dumps({"refused": refused}))
        return answer

    def _note(self, client: _Client, fields: Mapping[str, Any], answer: Packed) -> None:
        """Remember whose run or session it is, and see that what was cancelled ends."""
        if fields["ask"] == "submit" and answer.buffers:
            run = orjson.loads(answer.buffers[0])
            if run["status"] not in FINAL:
                client.runs.add(run["id"])
        elif fields["ask"] == "run" and answer.buffers:
            run = orjson.loads(answer.buffers[0])
            if run["status"] in FINAL:
                client.runs.discard(run["id"])
        elif fields["ask"] == "cancel":
            self._limits.hasten(str(fields["run"]))
        elif fields["ask"] == "open_session":
            client.sessions.add(orjson.loads(answer.tree).get("session", ""))
        elif fields["ask"] == "close_session":
            client.sessions.discard(str(fields["session"]))

    def _left(self, name: str) -> None:
        with self._lock:
            client = self._clients[name]
            client.n_connections -= 1
            if not client.n_connections:
                client.left_at_s = time.monotonic()

    def _forget_those_who_left(self) -> None:
        """Cancel what nobody can ask for any more."""
        now = time.monotonic()
        with self._lock:
            left = {
                name: client
                for name, client in self._clients.items()
                if client.left_at_s is not None and now - client.left_at_s > GONE_S
            }
            for name in left:
                del self._clients[name]
        for client in left.values():
            for run in client.runs:
                self._ask(ask="cancel", run=run)
                self._limits.hasten(run)
            for session in client.sessions:
                self._ask(ask="close_session", session=session)

    def _ask(self, **fields: object) -> None:
        self._residence.answer(Packed(orjson.dumps(fields)))

    def _open(self, progress: Progress) -> "Desk":
        self._has_failed = True
        self._desk = open_desk(self._spec, progress, guard=self._limits.guard, owns_process=True)
        self._has_failed = False
        return self._desk

    def _end(self, run_id: str, error: GlassboxError) -> None:
        if self._desk is not None:
            self._desk.end(run_id, error)


def _unforeseen(error: Exception) -> dict[str, object]:
    message = f"The worker could not answer ({type(error).__name__}: {error}); see its log."
    return {"code": GlassboxError.code, "message": message, "attributes": {}}


def main(words: list[str]) -> None:
    """Serve the socket that the watcher has opened."""
    sys.setswitchinterval(SWITCH_S)
    socket_number, board_number, instance = words
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
    pipe = _pipe_of_the_watcher()
    spec = WorkerSpec.from_json(pipe.readline())
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    with open(int(board_number), "r+b", closefd=False) as page:
        board = Board(page)
    listening = socket.socket(fileno=int(socket_number))
    WorkerServer(spec, board, instance).serve(listening)
    sys.stderr.flush()
    # Threads of techniques may never end, and nobody waits for them.
    os._exit(0)


def _pipe_of_the_watcher() -> IO[bytes]:
    """Return what was the standard input, which is empty from now on.

    A technique that reads it is told so at once, and programs that it forks can close it: a thread
    of ours waits for the end of the pipe, and would hold the stream's lock for ever in the copy.
    """
    standard = sys.stdin.fileno()
    pipe = os.fdopen(os.dup(standard), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, standard)
    os.close(nothing)
    return pipe


def _end_with(pipe: IO[bytes]) -> None:
    """End this process when the watcher has gone: nobody would see to its limits."""
    pipe.read()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
