"""One version in a process of its own, as seen from outside: started, asked, ended, replaced.

Whatever happens in there comes out as one of a few errors here. Knows nothing of queues.
"""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import psutil

from glassbox.errors import CorruptArtifact, DeadlineExceeded, GlassboxError
from glassbox.rollout.prediction import Prediction
from glassbox.rollout.shadow.child import OUT_OF_MEMORY
from glassbox.rollout.shadow.faults import fault_named
from glassbox.rollout.shadow.frames import receive, send
from glassbox.rollout.shadow.limits import ChildLimits
from glassbox.rollout.shadow.packing import unpacked
from glassbox.rollout.version import Version

LOAD_S = 600.0
"""Seconds in which a version must be loaded."""

REAP_S = 5.0
"""Seconds to wait for the system to let go of a killed process."""

_CHILD = "glassbox.rollout.shadow.child"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Origin:
    """How another process brings a version to life."""

    factory: str = "glassbox.runtime:load_version"
    """``module:function`` of (version as JSON, overrides) that returns a ``Predictor``."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings that this process was given beside environment and file, as JSON."""


@dataclass(frozen=True)
class Answered:
    """What a version said to some rows."""

    predictions: tuple[Prediction, ...]
    """One for each row."""
    latency_ms: float
    """Milliseconds that the version took; the way there and back is not counted."""


class VersionRefused(GlassboxError):
    """The version raised an error, or answered what is no answer; its process lives on.

    Args:
        told: Code of the error it raised, or ``raised`` where it is none of ours.
        words: Its message.
        latency_ms: Milliseconds that it took to.
        fault: Class of what was raised; empty where nothing was.
    """

    code = "version-refused"

    def __init__(
        self, told: str, words: str, latency_ms: float | None = None, *, fault: str = ""
    ) -> None:
        super().__init__(words)
        self.told = told
        self.latency_ms = latency_ms
        self.fault = fault

    @property
    def name(self) -> str:
        """Code and class: what everybody may read, as the words may quote what was asked."""
        return f"{self.told} ({self.fault})" if self.fault else self.told


class VersionLost(GlassboxError):
    """The process is gone or of no use any more: start another one."""

    code = "version-lost"


class VersionOverdue(DeadlineExceeded):
    """The version did not answer in time: its process is of no use any more."""


class VersionBusy(GlassboxError):
    """The version was not asked: others had work all the time."""

    code = "version-busy"


class VersionProcess:
    """One version in one process. Calls come from the thread that started it, ``kill`` from any.

    On Linux the process ends with the thread that started it.

    Args:
        version: What to load there.
        origin: How.
        limits: What the process may use.
    """

    def __init__(self, version: Version, origin: Origin, limits: ChildLimits) -> None:
        lacking = f"No process for {version.name!r} could be started"
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            # No descriptor is free: like a process that is lost, it is tried again later.
            raise VersionLost(f"{lacking}: {error}.") from error
        self._name = version.name
        self._memory_bytes = limits.memory_bytes
        self._connection = ours
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._is_closed = False
        try:
            self._process = subprocess.Popen(
                [
                    *_on_threads(limits.threads),
                    sys.executable,
                    "-P",
                    "-m",
                    _CHILD,
                    str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # A group of its own: what it starts in its turn is ended with it, and an
                # interrupt from the keyboard does not reach it before us.
                process_group=0,
            )
        except OSError as error:
            ours.close()
            raise VersionLost(f"{lacking}: {error}.") from error
        finally:
            theirs.close()
        self._order = {
            "factory": origin.factory,
            "version": asdict(version),
            "overrides": dict(origin.overrides),
            "limits": asdict(limits),
            "path": sys.path,
            "parent": os.getpid(),
        }

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def resident_bytes(self) -> int:
        """Memory that the process takes now, in bytes; 0 once it is gone, or if none can tell."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except (psutil.Error, OSError):
            # Where no descriptor is free the system's tables cannot be read.
            return 0

    def wait_until_loaded(self, timeout_s: float = LOAD_S) -> None:
        """Wait until the version is loaded; the process is ended where that fails.

        Raises:
            VersionLost: It could not be loaded: says why.
            VersionOverdue: It was not loaded in time.
        """
        until_s = time.monotonic() + timeout_s
        told = self._exchange(self._order, until_s)
        if told.get("ready") is not True:
            failed = told.get("failed")
            self.close()
            words = failed.get("message") if isinstance(failed, dict) else "it said nonsense"
            raise VersionLost(f"{self._name!r} could not be loaded: {words}")

    def ask(self, rows: bytes, *, n_rows: int = 1, timeout_s: float) -> Answered:
        """Return the version's answers.

        Args:
            rows: JSON array of the rows' features.
            n_rows: How many those are.
            timeout_s: Seconds it may take; after that the process is killed.

        Raises:
            VersionRefused: It raised an error or answered nonsense, and lives on.
            VersionLost: It is gone.
            VersionOverdue: It took too long.
        """
        number = next(self._numbers)
        until_s = time.monotonic() + timeout_s
        told = self._exchange({"id": number, "rows": orjson.Fragment(rows)}, until_s)
        spent_s = told.get("seconds")
        if told.get("id") != number or not isinstance(spent_s, float):
            self.close()
            raise VersionLost(f"The process of {self._name!r} said nonsense; it was ended.")
        self._refuse(told.get("error"), 1000.0 * spent_s)
        answers = told.get("answers")
        if not isinstance(answers, list) or len(answers) != n_rows:
            raise VersionRefused("raised", f"{self._name!r} did not give one answer to each row.")
        try:
            return Answered(tuple(map(unpacked, answers)), 1000.0 * spent_s)
        except GlassboxError as error:
            raise VersionRefused(error.code, str(error), 1000.0 * spent_s) from error

    def kill(self) -> None:
        """End the process and what it started, at once; idempotent, from any thread.

        A thread that waits for an answer is told that the version is lost.
        """
        with self._lock:
            if self._is_closed:
                return
            # The group goes before its leader is reaped, while its number is surely its own.
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                self._process.kill()
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the process and leave nothing of it behind; idempotent."""
        self.kill()
        with self._lock:
            self._is_closed = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(REAP_S)
            self._connection.close()

    def require_memory(self) -> None:
        """Check what the process takes against what it may.

        Raises:
            VersionLost: It takes more, and was ended.
        """
        most = self._memory_bytes
        if most is not None and (taken := self.resident_bytes) > most:
            self.close()
            raise VersionLost(
                f"The process of {self._name!r} took {taken} bytes of memory; it may take {most}."
            )

    def _refuse(self, error: object, latency_ms: float) -> None:
        if error is None:
            return
        told = error if isinstance(error, dict) else {}
        code, words = str(told.get("code"))[:80], str(told.get("message"))
        if code == OUT_OF_MEMORY:
            self.close()
            raise VersionLost(f"The process of {self._name!r} ran out of memory; it was ended.")
        raise VersionRefused(code, words, latency_ms, fault=fault_named(told.get("fault")))

    def _exchange(self, value: Mapping[str, Any], until_s: float) -> Mapping[str, Any]:
        try:
            send(self._connection, value, until_s=until_s)
            told = receive(self._connection, until_s=until_s)
        except TimeoutError as error:
            self.close()
            raise VersionOverdue(
                f"{self._name!r} did not answer in time; its process was ended."
            ) from error
        except (EOFError, OSError, CorruptArtifact) as error:
            why = self._end()
            raise VersionLost(f"The process of {self._name!r} {why}.") from error
        if not isinstance(told, dict):
            self.close()
            raise VersionLost(f"The process of {self._name!r} said nonsense; it was ended.")
        return told

    def _end(self) -> str:
        """End the process and return how it ended."""
        self.close()
        code = self._process.returncode
        if code is None:
            return "cannot be ended"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended by itself with code {code}"


def _on_threads(n: int | None) -> Sequence[str]:
    """Return the beginning of a command whose numeric libraries take so many threads."""
    program = shutil.which("env")
    if n is None or program is None:
        return ()
    return (program, *(f"{name}={n}" for name in _THREAD_VARIABLES))
