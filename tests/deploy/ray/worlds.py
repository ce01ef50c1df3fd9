"""A Ray cluster of this machine, what runs on it, and people who ask it all the time."""

import threading
import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import httpx

from glassbox.audit import InferenceStore
from glassbox.storage.database import open_database
from tests.bundles import ADAPTER, make
from tests.waiting import PATIENCE_S

PREDICT = "/api/v2/models/predict"
FEATURES = {"features": {"text": "a good book"}}
WRITE = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}


@contextmanager
def ray_cluster() -> Iterator[object]:
    """Start a cluster of two processors, and end it with everything in it."""
    from glassbox.techniques.remote.ray_cluster import join

    with warnings.catch_warnings():
        # Ray leaves sockets and processes to the end of the program.
        warnings.simplefilter("ignore")
        ray = join("local", num_cpus=2)
        try:
            yield ray
        finally:
            ray.shutdown()


def until(true, timeout_s: float = 120.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.1)


@dataclass
class Crowd:
    """Several people who ask one after another until told to stop."""

    url: str
    path: str
    body: dict[str, object]
    n: int = 4
    answers: list[httpx.Response] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)

    def __enter__(self) -> "Crowd":
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(self.n)]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join(PATIENCE_S)

    @property
    def statuses(self) -> set[int]:
        """The statuses that there were."""
        return {each.status_code for each in self.answers}

    def _ask(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self._stop.is_set():
                try:
                    self.answers.append(client.post(self.path, json=self.body))
                except httpx.HTTPError as error:
                    self.broken.append(error)


def small(folder: Path, out: str = "bundle", **more: object) -> Path:
    """Return a bundle of the embedded model with an adapter and a classifier."""
    return make(folder, out, verifier=None, **{"adapters": {"support": ADAPTER}, **more})[0]


def pids(world: SimpleNamespace) -> set[int | None]:
    """Return the processes of the replicas that answer."""
    state = world.cluster.status(world.plan.name)
    return {each.pid for each in state.replicas if each.state == "RUNNING"}


def n_ready(world: SimpleNamespace) -> int:
    """Return how many replicas answer."""
    return int(world.cluster.status(world.plan.name).n_ready)


def answers_of_both(url: str, path: str, body: dict[str, object]) -> list[httpx.Response]:
    """Ask until two replicas have answered, and return all answers."""
    answers: list[httpx.Response] = []

    def both() -> bool:
        answers.append(httpx.post(f"{url}{path}", json=body, timeout=30))
        return len({each.headers.get("glassbox-replica") for each in answers}) == 2

    until(both)
    return answers


def not_recorded(database: str, request_ids: Collection[str]) -> set[str]:
    """Return which predictions are not in the audit log, whose chain must hold."""
    store = InferenceStore(open_database(database))
    try:
        assert store.verify().broken is None
        return set(request_ids) - store.known(request_ids)
    finally:
        store.database.close()
