"""A Ray cluster of this machine for one module of tests, and people who ask it all the time."""

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx


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


def until(true, timeout_s: float = 60.0) -> None:
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
            each.join(60)

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
