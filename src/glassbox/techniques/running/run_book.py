"""Runs that are known, and results that wait to be fetched, within bounds of time and memory.

Knows runs; knows nothing of queues and models. Guarded by its owner's lock.
"""

import time

from glassbox.errors import ConflictError, UnknownName
from glassbox.techniques.calls import Packed
from glassbox.techniques.running.run_state import Job

RESULTS_BYTES = 4 * 2**30
"""Most memory for results that nobody has fetched; the oldest are dropped first."""

N_RUNS = 10_000
"""Most runs that have ended and are still known."""


class RunBook:
    """The runs of one desk.

    Args:
        ttl_s: Seconds after its end for which a run and its result are kept.
    """

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._jobs: dict[str, Job] = {}
        self._ended: dict[str, Job] = {}
        self._n_bytes = 0

    def add(self, job: Job) -> None:
        """Know a run from now on."""
        self.forget_old()
        self._jobs[job.id] = job

    def get(self, name: str) -> Job | None:
        """Return a run; None where it is not known, or not any more."""
        return self._jobs.get(name)

    def ended(self, job: Job) -> None:
        """Keep what came of a run for a while."""
        self._ended[job.id] = job
        self._n_bytes += job.result_bytes
        for each in self._ended.values():
            if self._n_bytes <= RESULTS_BYTES or each is job:
                break
            if each.result is not None:
                self._drop(each)
                each.is_dropped = True
        self.forget_old()

    def give(self, name: str) -> Packed:
        """Return a run's result and keep it no longer.

        Raises:
            UnknownName: No such run, or its result was given away or dropped already.
            ConflictError: The run did not succeed, or has not ended.
        """
        job = self._jobs.get(name)
        if job is None:
            raise UnknownName("run", name, remedy="It was forgotten, or never was.")
        if job.status != "succeeded":
            raise ConflictError(
                f"The run {name} has no result: it is {job.status}."
                if not job.is_over
                else f"The run {name} has no result: it has {job.status}."
            )
        if job.result is None:
            why = (
                "It was dropped, because results that nobody fetched took too much memory."
                if job.is_dropped
                else "It was given away already."
            )
            raise UnknownName("result of the run", name, remedy=why)
        result = job.result
        self._drop(job)
        return result

    def forget_old(self) -> None:
        """Forget runs that ended long ago."""
        now = time.monotonic()
        while self._ended:
            job = next(iter(self._ended.values()))
            is_old = job.ended_s is not None and now - job.ended_s > self._ttl_s
            if not is_old and len(self._ended) <= N_RUNS:
                return
            self._drop(job)
            del self._ended[job.id], self._jobs[job.id]

    def _drop(self, job: Job) -> None:
        if job.result is not None:
            self._n_bytes -= job.result_bytes
            job.result = None
