"""The files by which a worker is found: socket, lock, log, and notes on its life and its end.

All lie in a folder that only its owner may enter. Knows nothing of what a worker does.
"""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
import psutil

from glassbox.errors import AccessDenied, DeadlineExceeded

LONGEST_SOCKET_PATH = 100
"""Bytes of a path that every system takes as a socket's name.

Source: unix(7): 108 with the final zero; macOS, sys/un.h: 104.
"""

EndKind = Literal["idle", "harmed", "stopped", "owner", "wall", "cpu", "memory", "signal", "exit"]
"""Why a worker ended: nobody called; its model could not be put back as it was; it was told to;
whoever owned it went; a run took too long, too much processor time or too much memory; a signal; or
it ended itself."""


@dataclass(frozen=True)
class WorkerState:
    """A worker that is there."""

    instance: str
    """Tells its life from earlier and later ones."""
    pid: int
    """Process that watches over it; ending that ends the worker."""
    created_s: float
    """When that process began, as the system says; a process id alone is used again."""
    model: str
    """What it keeps resident."""
    app_name: str
    """Whom it belongs to."""
    glassbox: str
    """Version it runs."""
    log: str
    """Its log file."""


@dataclass(frozen=True)
class WorkerEnd:
    """How a worker's life ended."""

    instance: str
    """Which life."""
    kind: EndKind
    """Why."""
    reason: str
    """Why, in a sentence."""
    run: str = ""
    """The run that was on the model then."""
    caller: str = ""
    """Whose run that was."""
    begun: tuple[str, ...] = ()
    """The latest runs of that life that had begun, ended ones too, in no order."""

    @property
    def is_peaceful(self) -> bool:
        """Whether nothing was under way: it had no work, and took none any more."""
        return self.kind in ("idle", "harmed")


Note = TypeVar("Note", WorkerState, WorkerEnd)


@dataclass(frozen=True)
class WorkerFiles:
    """Where the files of one worker are.

    Made by ``worker_files``, which sees to the folder.
    """

    folder: Path
    """Folder of all workers."""
    stem: str
    """Beginning of this worker's file names."""

    @property
    def socket(self) -> Path:
        """What clients connect to; elsewhere if the folder's path is too long for a socket."""
        usual = self.folder / f"{self.stem}.sock"
        if len(os.fsencode(usual)) <= LONGEST_SOCKET_PATH:
            return usual
        mark = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:8]
        short = Path(tempfile.gettempdir()) / f"glassbox-{os.getuid()}"
        _make_private(short)
        return short / f"{mark}-{self.stem}.sock"

    @property
    def log(self) -> Path:
        """What the worker wrote to its standard error."""
        return self.folder / f"{self.stem}.log"

    @contextmanager
    def locked(self, patience_s: float) -> Iterator[None]:
        """Be the only one who starts or clears away this worker.

        Raises:
            DeadlineExceeded: Somebody else holds the lock for longer than that.
        """
        end = time.monotonic() + patience_s
        with (self.folder / f"{self.stem}.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise DeadlineExceeded(
                            f"Another program is starting this worker since {patience_s:.0f} s; "
                            f"see {self.log}."
                        ) from None
                    time.sleep(0.02)
            yield

    def state(self) -> WorkerState | None:
        """Return who is there by the notes, whether or not they are still true."""
        return _read(self.folder / f"{self.stem}.json", WorkerState)

    def write_state(self, state: WorkerState) -> None:
        """Note who is there."""
        _write(self.folder / f"{self.stem}.json", state)

    def end(self) -> WorkerEnd | None:
        """Return how the latest life ended that has ended."""
        return _read(self.folder / f"{self.stem}.end.json", WorkerEnd)

    def write_end(self, end: WorkerEnd) -> None:
        """Note how a life ended."""
        _write(self.folder / f"{self.stem}.end.json", end)

    def ask_to_cancel(self, run: str) -> None:
        """Leave a note for the watcher of a worker that does not answer: end this run.

        Args:
            run: Its id, or its caller where that is all that is known.
        """
        self._cancelling(run).touch(mode=0o600)

    def is_to_cancel(self, run: str) -> bool:
        """Return whether somebody asked the watcher to end a run; asks once."""
        note = self._cancelling(run)
        if not note.exists():
            return False
        note.unlink(missing_ok=True)
        return True

    def _cancelling(self, run: str) -> Path:
        mark = hashlib.sha256(run.encode()).hexdigest()[:16]
        return self.folder / f"{self.stem}.{mark}.cancel"

    def clear(self, instance: str) -> None:
        """Remove what leads to a worker that has ended, unless another has taken its place."""
        with self.locked(5.0):
            state = self.state()
            if state is not None and state.instance == instance:
                self.socket.unlink(missing_ok=True)
                (self.folder / f"{self.stem}.json").unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what is left of a worker that nobody will look for any more."""
        for ending in ("end.json", "log", "lock"):
            (self.folder / f"{self.stem}.{ending}").unlink(missing_ok=True)


def worker_files(folder: Path, stem: str) -> WorkerFiles:
    """Return where a worker's files are, in a folder that only its owner may enter.

    Raises:
        AccessDenied: The folder belongs to somebody else.
    """
    folder = folder.expanduser().absolute()
    _make_private(folder)
    return WorkerFiles(folder, stem)


def running(folder: Path) -> tuple[WorkerState, ...]:
    """Return the workers that are there, sorted by model and name."""
    folder = folder.expanduser()
    if not folder.is_dir():
        return ()
    stems = (
        each.name.removesuffix(".json")
        for each in folder.glob("*.json")
        if not each.name.endswith(".end.json")
    )
    states = (WorkerFiles(folder, stem).state() for stem in stems)
    alive = [state for state in states if state is not None and is_alive(state)]
    return tuple(sorted(alive, key=lambda state: (state.model, state.app_name, state.instance)))


def is_alive(state: WorkerState) -> bool:
    """Return whether the process that the notes tell of is still there, and the same one."""
    try:
        return abs(psutil.Process(state.pid).create_time() - state.created_s) < 1.0
    except psutil.NoSuchProcess:
        return False


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
        raise AccessDenied(
            f"{folder} is not this user's own folder: whoever owns it could pose as a worker. "
            "Remove it, or choose another with the setting paths.workers."
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _read(path: Path, kind: type[Note]) -> Note | None:
    """Return a note, None where there is none that can be read; another version's may hold more."""
    try:
        found = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    needed = {each.name for each in fields(kind) if each.default is MISSING}
    if not isinstance(found, dict) or not needed <= found.keys():
        return None
    known: dict[str, Any] = {
        each.name: tuple(value) if isinstance(value := found[each.name], list) else value
        for each in fields(kind)
        if each.name in found
    }
    return kind(**known)


def _write(path: Path, note: WorkerState | WorkerEnd) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with suppress(FileNotFoundError):
            beside.write_bytes(orjson.dumps(asdict(note)))
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
