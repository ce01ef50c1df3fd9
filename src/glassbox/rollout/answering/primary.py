"""The versions that answer: loaded once, each on its own thread, swapped without a lost request.

A version is loaded before anybody is sent to it, and freed after its last request. Knows neither
routing nor records.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import orjson

from glassbox.errors import CapacityError, GlassboxError, IntegrityError
from glassbox.rollout.answering.batching import BATCH_ROWS, Batcher, Outcome
from glassbox.rollout.prediction import Features, Prediction, Predictor
from glassbox.rollout.shadow.in_engine import shares_base
from glassbox.rollout.shadow.lane import Side
from glassbox.rollout.shadow.limits import ChildLimits
from glassbox.rollout.shadow.process import (
    Origin,
    VersionLost,
    VersionOverdue,
    VersionProcess,
    VersionRefused,
)
from glassbox.rollout.shadow.resident import ResidentSide
from glassbox.rollout.version import Version

JOIN_S = 30.0
"""Seconds that a version which is no longer needed gets for its last requests at shutdown."""

Bring = Callable[[Version], Predictor]
"""Brings a version to life."""


@dataclass(frozen=True)
class HostStatus:
    """How one loaded version is doing."""

    version: str
    """Unique name."""
    n_waiting: int
    """Rows that wait for it."""


class Champions:
    """Versions brought to life. Thread-safe.

    Args:
        bring: Brings a version to life; may take as long as it needs, requests go on meanwhile.
    """

    def __init__(self, bring: Bring) -> None:
        self._bring = bring
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._hosts: dict[str, tuple[Version, Batcher]] = {}
        self._leaving: list[Batcher] = []
        self._n_asked = 0
        self._is_closed = False

    def load(self, version: Version) -> None:
        """Have a version ready to answer; at once where it is, once where two ask for it.

        Raises:
            GlassboxError: It cannot be loaded; what was loaded before goes on.
        """
        with self._lock:
            turn = self._loading.setdefault(version.digest, threading.Lock())
        with turn:
            if version.digest in self._hosts:
                return
            predictor = self._bring(version)
            batcher = Batcher(predictor, BATCH_ROWS[version.kind], name=f"version-{version.name}")
            with self._lock:
                self._loading.pop(version.digest, None)
                if not self._is_closed:
                    self._hosts[version.digest] = (version, batcher)
                    return
            batcher.close()
            raise CapacityError("The server is shutting down.")

    def submit(self, version: Version, features: Features) -> "Future[Outcome]":
        """Return what will come of one row.

        Raises:
            CapacityError: The version is not loaded.
            QueueFull: Too many rows wait for it.
        """
        # A request that was routed before a swap may still come for the version of before.
        host = self._hosts.get(version.digest)
        if host is None:
            raise CapacityError(f"Version {version.name!r} is not loaded. Try again in a moment.")
        future = host[1].submit(features)
        with self._lock:
            self._n_asked += 1
        future.add_done_callback(self._note_answered)
        return future

    def resident(self, version: Version) -> Predictor | None:
        """Return a loaded version as it was brought to life; None where it is not loaded."""
        host = self._hosts.get(version.digest)
        return None if host is None else host[1].predictor

    @property
    def is_idle(self) -> bool:
        """Whether no version is being asked anything."""
        return not self._n_asked

    def again(self, version: Version) -> Side:
        """Return where a loaded version is asked once more, for the noise floor, while idle."""
        return ResidentSide(version.name, lambda: _OnceMore(self, version), lambda: self.is_idle)

    def keep(self, versions: frozenset[str]) -> None:
        """Free all versions but those of some digests; each after its last request. Returns soon.

        Args:
            versions: Digests of those that stay.
        """
        with self._lock:
            gone = [digest for digest in self._hosts if digest not in versions]
            leaving = [self._hosts.pop(digest)[1] for digest in gone]
            self._leaving = [each for each in self._leaving if not each.join(0.0)] + leaving
        for each in leaving:
            each.close()

    def status(self) -> tuple[HostStatus, ...]:
        """Return how each loaded version is doing, sorted by name."""
        hosts = sorted(self._hosts.values(), key=lambda host: host[0].name)
        return tuple(HostStatus(version.name, batcher.n_waiting) for version, batcher in hosts)

    def close(self) -> None:
        """Answer what waits, free every version and wait until that is done; idempotent."""
        with self._lock:
            self._is_closed = True
            hosts = [batcher for _, batcher in self._hosts.values()]
            self._hosts, self._leaving, leaving = {}, [], self._leaving
        for each in hosts:
            each.close()
        for each in [*hosts, *leaving]:
            each.join(JOIN_S)

    def _note_answered(self, _future: "Future[Outcome]") -> None:
        with self._lock:
            self._n_asked -= 1


class _OnceMore:
    """Asks a champion like any request does."""

    def __init__(self, champions: Champions, version: Version) -> None:
        self._champions = champions
        self._version = version

    def predict(self, rows: Sequence[Features]) -> list[Prediction]:
        asked = [self._champions.submit(self._version, each) for each in rows]
        return [each.result().prediction for each in asked]

    def close(self) -> None:
        """The champion stays."""


def bring_where_it_fits(load: Bring, origin: Origin, base_digest: str) -> Bring:
    """Return what brings versions to life here, or in a process where the base is another one.

    Args:
        load: Brings a version to life in this process.
        origin: How another process does.
        base_digest: Digest of the resident model (hex); empty where there is none.
    """

    def bring(version: Version) -> Predictor:
        if version.kind != "llm-classifier" or shares_base(version, base_digest):
            return load(version)
        return ProcessPredictor(version, origin)

    return bring


class ProcessPredictor:
    """A version in a process of its own that answers requests: one whose base is not resident.

    A process that is lost is replaced at once; the request that lost it fails, the next one waits.

    Args:
        version: What to load there.
        origin: How.
        timeout_s: Seconds for one call, after which the process is replaced.

    Raises:
        CapacityError: It cannot be loaded: says why.
    """

    def __init__(self, version: Version, origin: Origin, *, timeout_s: float = 60.0) -> None:
        self._version = version
        self._origin = origin
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._process: VersionProcess | None = None
        self._failure: GlassboxError | None = None
        # Wanted: to be started. Ready: loaded. Neither: it failed, and the next request tries anew.
        self._is_wanted, self._is_ready, self._is_closed = True, False, False
        # A process ends with the thread that started it, so that one stays as long as it.
        self._keeper = threading.Thread(
            target=self._keep, name=f"glassbox-process-{version.name}", daemon=True
        )
        self._keeper.start()
        with self._changed:
            while self._is_wanted:
                self._changed.wait()
        if not self._is_ready:
            self.close()
            raise CapacityError(str(self._failure)) from self._failure

    @property
    def pid(self) -> int | None:
        """Number of its process; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def predict(self, rows: Sequence[Features]) -> list[Prediction]:
        """Return one answer to each row.

        Raises:
            CapacityError: The process was lost over it, took too long, or cannot be started.
            IntegrityError: The version raised an error, or answered what is no answer.
        """
        process = self._ready()
        try:
            found = process.ask(
                orjson.dumps(list(rows)), n_rows=len(rows), timeout_s=self._timeout_s
            )
        except VersionRefused as error:
            raise IntegrityError(f"{self._version.name!r} failed: {error}") from error
        except (VersionLost, VersionOverdue) as error:
            with self._changed:
                self._is_ready, self._is_wanted = False, True
                self._changed.notify_all()
            if isinstance(error, VersionOverdue):
                raise
            raise CapacityError(f"{error} Another one is being started.") from error
        return list(found.predictions)

    def close(self) -> None:
        """End the process and leave nothing behind; idempotent."""
        with self._changed:
            self._is_closed = True
            process = self._process
            self._changed.notify_all()
        if process is not None:
            process.kill()
        self._keeper.join(JOIN_S)

    def _ready(self) -> VersionProcess:
        """Return the process once its version is loaded."""
        with self._changed:
            if not self._is_ready and not self._is_closed:
                self._is_wanted = True
                self._changed.notify_all()
            while self._is_wanted and not self._is_closed:
                self._changed.wait()
            process, failure = self._process, self._failure
            if self._is_ready and not self._is_closed and process is not None:
                return process
        raise CapacityError("It was closed." if self._is_closed else str(failure)) from failure

    def _keep(self) -> None:
        while True:
            with self._changed:
                while not self._is_wanted and not self._is_closed:
                    self._changed.wait()
                process, is_closed = self._process, self._is_closed
            if process is not None:
                process.close()
            if is_closed:
                return
            failure = self._start()
            with self._changed:
                self._failure, self._is_ready = failure, failure is None
                self._is_wanted = False
                self._changed.notify_all()

    def _start(self) -> GlassboxError | None:
        """Start the process and wait until its version is loaded; return why that failed."""
        limits = ChildLimits(yields=False, threads=None)
        try:
            process = VersionProcess(self._version, self._origin, limits)
            with self._changed:
                self._process, is_closed = process, self._is_closed
            if is_closed:
                process.kill()
            process.wait_until_loaded()
        except GlassboxError as error:
            return error
        return None
