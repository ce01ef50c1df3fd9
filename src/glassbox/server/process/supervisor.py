"""A parent process that starts the server again when a function took it down.

For mode ``shared``, in which functions run inside the server: the parent holds the socket, so that
connections wait meanwhile, and the child tells once a second that it is alive. A child that ends
unasked, or is silent for long, is replaced, a few times within a while. Knows nothing of models.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from glassbox.server.process.service_manager import tell_ready

MOST_RESTARTS: Final = 5
"""Restarts within the window; a server that needs more has another fault."""

WINDOW_S: Final = 600.0
"""Seconds in which they are counted."""

BEAT_S: Final = 1.0
"""How often the child says that it is alive."""

SILENT_S: Final = 60.0
"""Silence after which the child is taken for stuck: something holds the interpreter's lock."""

STUCK: Final = 75
"""Exit status of a child that gave itself up. Source: sysexits.h, EX_TEMPFAIL."""

_ALIVE: Final = b"."
_READY: Final = b"R"


class Supervisor:
    """Keeps one server process running.

    Args:
        command: Starts the server; the numbers of its two sockets are appended.
        listener: The socket that takes connections.
        say: Told in words what is done.
        silent_s: Silence after which the child is replaced.
    """

    def __init__(
        self,
        command: Sequence[str],
        listener: socket.socket,
        say: Callable[[str], None],
        *,
        silent_s: float = SILENT_S,
    ) -> None:
        self._command = tuple(command)
        self._listener = listener
        self._say = say
        self._silent_s = silent_s
        self._child: subprocess.Popen[bytes] | None = None
        self._is_stopping = False

    def run(self) -> int:
        """Return the exit status of the last child, once there is to be no further one."""
        restarts: deque[float] = deque(maxlen=MOST_RESTARTS)
        with self._signals():
            while True:
                code, was_ready = self._one_life()
                if self._is_stopping or code == 0 or not was_ready:
                    return 0 if self._is_stopping else _status(code)
                now = time.monotonic()
                if len(restarts) == MOST_RESTARTS and now - restarts[0] < WINDOW_S:
                    self._say(
                        f"The server {_ended(code)} for the {MOST_RESTARTS + 1}th time within "
                        f"{WINDOW_S / 60:.0f} minutes; it is not started again."
                    )
                    return 1
                restarts.append(now)
                self._say(f"The server {_ended(code)}; it starts again. Its runs are lost.")

    def _one_life(self) -> tuple[int, bool]:
        mine, theirs = socket.socketpair()
        numbers = [self._listener.fileno(), theirs.fileno()]
        with mine, theirs:
            child = self._child = subprocess.Popen(
                [*self._command, ",".join(map(str, numbers))],
                pass_fds=numbers,
                # A Ctrl-C at the terminal comes to this process alone, which hands it on once.
                process_group=0,
            )
            theirs.close()
            if self._is_stopping:
                # Told so while it was being started: there was no child yet to hand that on to.
                child.terminate()
            was_ready = self._watch(child, mine)
            return child.wait(), was_ready

    def _watch(self, child: subprocess.Popen[bytes], beats: socket.socket) -> bool:
        was_ready, last_s = False, time.monotonic()
        while child.poll() is None:
            readable, _, _ = select.select([beats], [], [], BEAT_S)
            heard = beats.recv(4096) if readable else b""
            if readable and not heard:
                # Its end is closed: it is about to end, or has to be made to.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(self._silent_s)
                break
            if heard:
                last_s = time.monotonic()
                if not was_ready and _READY in heard:
                    was_ready = True
                    tell_ready()
            elif time.monotonic() - last_s > self._silent_s:
                break
        if child.poll() is None:
            self._say(f"The server has been silent for {self._silent_s:.0f} s; it is ended.")
            child.kill()
        return was_ready or _READY in _unread(beats)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def hand_on(number: int, frame: FrameType | None) -> None:
            del frame
            self._is_stopping = True
            if self._child is not None and self._child.poll() is None:
                self._child.send_signal(number)

        before = {each: signal.signal(each, hand_on) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


class Leash:
    """The child's side: it says that it is alive, and ends when its parent has gone.

    Args:
        numbers: Of the two sockets, as the parent appended them.
    """

    def __init__(self, numbers: str) -> None:
        listener, beats = (int(each) for each in numbers.split(","))
        self.listener = socket.socket(fileno=listener)
        """The socket that takes connections."""
        self._beats = socket.socket(fileno=beats)
        threading.Thread(target=self._beat, name="glassbox-alive", daemon=True).start()
        threading.Thread(target=self._until_alone, name="glassbox-leash", daemon=True).start()

    def ready(self) -> None:
        """Say that the server takes requests: from now on it is worth a restart."""
        with contextlib.suppress(OSError):
            self._beats.sendall(_READY)

    def _beat(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._beats.sendall(_ALIVE)
                time.sleep(BEAT_S)

    def _until_alone(self) -> None:
        with contextlib.suppress(OSError):
            while self._beats.recv(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)


def _unread(beats: socket.socket) -> bytes:
    """Return what a child said that ended before it was listened to."""
    # Not to the end: a process that the child left behind may hold that open.
    try:
        return beats.recv(4096, socket.MSG_DONTWAIT)
    except OSError:
        return b""


def _status(code: int) -> int:
    """Return an exit status; a shell's for a death by signal, which is no success."""
    return 128 - code if code < 0 else code


def _ended(code: int) -> str:
    if code == STUCK:
        return "gave itself up, because a function did not let go of the model or changed it"
    return f"was ended by signal {-code}" if code < 0 else f"ended unasked with status {code}"
