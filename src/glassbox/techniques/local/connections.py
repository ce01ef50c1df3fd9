"""Connections to one worker on this machine: found, started, kept, and what it means if they break.

Knows files, processes and sockets; knows nothing of runs.
"""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from glassbox.artifacts import disk_errors
from glassbox.errors import AccessDenied, Unreachable
from glassbox.techniques.calls import Packed
from glassbox.techniques.local.files import WorkerEnd, WorkerFiles, is_alive, worker_files
from glassbox.techniques.local.socket_carrier import is_own, receive, send
from glassbox.techniques.worker_spec import WorkerSpec

START_S = 60.0
"""Seconds in which a worker must have opened its socket; loading the model is not part of it."""

EPITAPH_S = 5.0
"""Seconds to wait for the note that says why a worker ended."""

GREETING_S = 30.0
"""Seconds in which a worker must greet: importing libraries may hold it up."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Exit codes of a worker that could not write its files."""

_LOG_TAIL = 2000
_HELD_UP = (
    "The worker is there and does not answer: a run holds up all of it, or its model is being "
    "loaded. Try again later."
)


class WorkerEnded(Exception):
    """The worker went away over a question.

    Args:
        end: What its watcher wrote down.
    """

    def __init__(self, end: WorkerEnd) -> None:
        super().__init__(end.reason)
        self.end = end


class NoAnswer(Unreachable):
    """The worker is there and does not answer in time: something holds all of it up."""


@dataclass(eq=False)
class _Connection:
    """A connection, and to which life of the worker."""

    socket: socket.socket
    instance: str


class WorkerConnections:
    """The connections of one program to one worker. Thread-safe.

    Args:
        spec: Which worker.
        folder: Folder of all workers.
        owned: The worker is this program's alone and ends with it.
    """

    def __init__(self, spec: WorkerSpec, folder: Path, *, owned: bool = False) -> None:
        self._spec = spec
        self._folder = folder
        self._owned = owned
        self._stem = spec.digest[:16] + (f"-{os.getpid()}-{uuid.uuid4().hex[:8]}" * owned)
        self._greeting = {"client": uuid.uuid4().hex, "idle_s": spec.idle_s}
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._ends: dict[str, WorkerEnd] = {}
        self._files: WorkerFiles | None = None
        self._owner: IO[bytes] | None = None
        # Whoever forgets to close leaves no open sockets behind.
        weakref.finalize(self, _close_all, self._idle)
        self.instance = ""
        """The life of the worker that was connected to last."""

    @property
    def files(self) -> WorkerFiles:
        """Where the worker is found.

        Raises:
            AccessDenied: The folder belongs to somebody else.
        """
        if self._files is None:
            self._files = worker_files(self._folder, self._stem)
        return self._files

    def carry(self, asked: Packed, *, timeout_s: float | None = None) -> Packed:
        """Return the worker's answer.

        Args:
            asked: The question.
            timeout_s: Seconds to wait for it; None waits as long as the worker is there.

        Raises:
            Unreachable: There is no worker, or it left before it took the question.
            WorkerEnded: It went away over it.
            NoAnswer: It is there, and has not answered in time.
        """
        connection = self._taken(GREETING_S if timeout_s is None else timeout_s)
        try:
            connection.socket.settimeout(timeout_s)
            send(connection.socket, asked)
            answer = receive(connection.socket)
        except TimeoutError as error:
            connection.socket.close()
            raise NoAnswer(_HELD_UP) from error
        except (EOFError, OSError) as error:
            connection.socket.close()
            end = self._end_of(connection.instance)
            if end.is_peaceful:
                raise Unreachable(f"The worker has ended: {end.reason}") from error
            raise WorkerEnded(end) from error
        except BaseException:
            # Somebody stopped waiting: what still comes is nobody's answer.
            connection.socket.close()
            raise
        with self._lock:
            self._idle.append(connection)
        return answer

    def start(self) -> None:
        """Start the worker unless it is there; waits until it can be connected to.

        Raises:
            Unreachable: It could not be started; names its log.
            NoDiskSpace: There is no room for its files.
            DeadlineExceeded: Another program is starting it and does not come to an end.
        """
        if self._is_there():
            return
        with disk_errors(self.files.folder), self.files.locked(START_S):
            # Somebody else may have been faster.
            if not self._is_there():
                self._launch()

    def is_held_up(self, patience_s: float) -> bool:
        """Return whether the worker is there and greets nobody within that time."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with made:
            made.settimeout(patience_s)
            try:
                made.connect(str(self.files.socket))
                send(made, Packed(orjson.dumps(self._greeting)))
                receive(made)
            except TimeoutError:
                return True
            except (OSError, EOFError):
                return False
        return False

    def end_of(self, instance: str) -> WorkerEnd | None:
        """Return how a former life of the worker ended, as far as that is known."""
        return self._ends.get(instance)

    def noted_end_of(self, instance: str) -> WorkerEnd | None:
        """Return how a former life ended, as its watcher has noted; None where no note is left."""
        noted = self.files.end()
        if noted is not None and noted.instance == instance:
            self._ends[instance] = noted
        return self._ends.get(instance)

    def stop(self) -> None:
        """End the worker, whoever uses it; idempotent."""
        state = self.files.state()
        self.close()
        if state is None or not is_alive(state):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, 15)
        until = time.monotonic() + EPITAPH_S
        while is_alive(state) and time.monotonic() < until:
            time.sleep(0.01)

    def close(self) -> None:
        """Close the connections; a worker of this program's own ends with them."""
        with self._lock:
            _close_all(self._idle)
            owner, self._owner = self._owner, None
        if owner is not None:
            owner.close()

    def _is_there(self) -> bool:
        try:
            connection = self._taken(GREETING_S)
        except NoAnswer:
            # Held up, which is not gone: another one would only take more memory.
            raise
        except Unreachable:
            return False
        with self._lock:
            self._idle.append(connection)
        return True

    def _taken(self, patience_s: float) -> _Connection:
        """Return a connection that nobody uses: a kept one if it still stands, else a new one."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            if _stands(connection.socket):
                return connection
            connection.socket.close()
        return self._connected(patience_s)

    def _connected(self, patience_s: float) -> _Connection:
        try:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            # That says nothing of the worker, whose runs are not lost by it.
            raise NoAnswer(
                f"No connection to the worker can be opened now: {error}. Try again later."
            ) from error
        try:
            made.connect(str(self.files.socket))
            if not is_own(made):
                raise AccessDenied(f"{self.files.socket} is answered by another user.")
            made.settimeout(patience_s)
            send(made, Packed(orjson.dumps(self._greeting)))
            instance = str(orjson.loads(receive(made).tree)["instance"])
        except TimeoutError as error:
            made.close()
            raise NoAnswer(_HELD_UP) from error
        except (OSError, EOFError) as error:
            made.close()
            raise Unreachable(
                f"No worker for {self._spec.model!r} answers at {self.files.socket}."
            ) from error
        except BaseException:
            made.close()
            raise
        self.instance = instance
        return _Connection(made, instance)

    def _launch(self) -> None:
        """Start the worker; the lock on its files is held."""
        files = self.files
        words = [sys.executable, "-P", "-m", "glassbox.techniques.local.worker"]
        words += [str(files.folder), files.stem, *["--owned"] * self._owned]
        descriptor = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as log:
            starter = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=files.folder,
                start_new_session=True,
            )
        assert starter.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            starter.stdin.write(self._spec.to_json() + b"\n")
            starter.stdin.flush()
        if self._owned:
            self._owner = starter.stdin
        else:
            starter.stdin.close()
        try:
            code = starter.wait(START_S)
        except subprocess.TimeoutExpired:
            starter.kill()
            code = starter.wait()
        if code in NO_ROOM:
            raise OSError(code, os.strerror(code))
        if code:
            raise Unreachable(
                f"The worker could not be started (exit code {code}). {_tail(files.log)}"
            )

    def _end_of(self, instance: str) -> WorkerEnd:
        """Return how a life of the worker ended; its watcher may still be writing it down."""
        until = time.monotonic() + EPITAPH_S
        while time.monotonic() < until:
            known = self._ends.get(instance)
            end = known if known is not None else self.files.end()
            if end is not None and end.instance == instance:
                self._ends[instance] = end
                return end
            time.sleep(0.005)
        reason = f"It went away, and nothing says why; see {self.files.log}."
        return WorkerEnd(instance, "signal", reason)


def _close_all(connections: list[_Connection]) -> None:
    while connections:
        connections.pop().socket.close()


def _stands(connection: socket.socket) -> bool:
    """Return whether nothing has come on a connection that nobody asked anything on."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.setblocking(True)
    # An end of file, or bytes that nobody waits for.
    return False


def _tail(log: Path) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        text = ""
    last = text[-_LOG_TAIL:]
    return f"Its log {log} ends with:\n{last}" if last else f"Its log {log} is empty."
