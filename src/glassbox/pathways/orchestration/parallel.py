"""Shards of a step, done here or by Ray actors; whoever does one, its file is the same.

Only this process writes files, so a worker that dies leaves nothing half done; Ray starts it again
and repeats the shard that it was at. Ray is imported inside the functions. Knows nothing of what a
shard holds.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from glassbox.errors import (
    CapacityError,
    ConflictError,
    DependencyMissing,
    GlassboxError,
    first_line,
)
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import Shards, StepKey
from glassbox.progress import Progress
from glassbox.types import ModelSpec

Part = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]
"""Arrays and JSON values of one shard."""

Work = Callable[[str], Part]
"""Makes the shard of a name."""

OpenWork = Callable[[Workplace], AbstractContextManager[Work]]
"""Gets ready for the shards of one step: model lent, rows loaded."""


@dataclass(frozen=True)
class Job:
    """The shards of one step."""

    opened_by: str
    """``module:function`` of its ``OpenWork``, found by name in another process."""
    names: Sequence[str]
    """All of them, in order."""


def run_shards(place: Workplace, shards: Shards, job: Job, progress: Progress) -> int:
    """Make the shards that are not there yet and return how many that were.

    Raises:
        ConflictError: A file of the same name was made under another configuration.
        DependencyMissing: ``parallel.backend`` is ``ray`` and Ray is not installed.
        GlassboxError: What went wrong with a shard; finished ones are kept.
    """
    missing = [name for name in job.names if not shards.has(name)]
    if not missing:
        return 0
    done = len(job.names) - len(missing)

    def told(n_more: int) -> None:
        progress(done + n_more, len(job.names))

    told(0)
    if place.config.parallel.backend == "ray":
        _run_on_ray(place, shards, job.opened_by, missing, told)
    else:
        _run_here(place, shards, job.opened_by, missing, told)
    return len(missing)


def _run_here(
    place: Workplace,
    shards: Shards,
    opened_by: str,
    names: Sequence[str],
    told: Callable[[int], None],
) -> None:
    with _find(opened_by)(place) as work:
        for count, name in enumerate(names, start=1):
            shards.save(name, *work(name))
            told(count)


def _run_on_ray(
    place: Workplace,
    shards: Shards,
    opened_by: str,
    names: Sequence[str],
    told: Callable[[int], None],
) -> None:
    if place.join_ray is None:
        raise DependencyMissing("ray", "ray")
    settings = place.config.parallel
    ray = place.join_ray(settings.address)
    actor = ray.remote(
        num_cpus=1,
        num_gpus=settings.gpus_each,
        max_restarts=settings.retries,
        max_task_retries=settings.retries,
    )(ShardWorker)
    config = orjson.dumps(place.config.to_json())
    key = orjson.dumps(shards.key.to_json())
    workers = [
        actor.remote(opened_by, config, key) for _ in range(min(settings.workers, len(names)))
    ]
    try:
        _share(ray, workers, shards, list(names), told)
    finally:
        for worker in workers:
            ray.kill(worker)


def _share(
    ray: Any, workers: list[Any], shards: Shards, names: list[str], told: Callable[[int], None]
) -> None:
    waiting = names[::-1]
    running: dict[Any, tuple[Any, str]] = {}
    for worker in workers:
        name = waiting.pop()
        running[worker.part.remote(name)] = (worker, name)
    n_done = 0
    while running:
        (ready,), _ = ray.wait(list(running), num_returns=1)
        worker, name = running.pop(ready)
        try:
            answer = ray.get(ready)
        except ray.exceptions.RayActorError as error:
            raise CapacityError(
                f"The worker of shard {name!r} died too often ({first_line(error)}). Finished "
                "shards are kept: run the same command again, with fewer parallel.workers if "
                "memory ran out."
            ) from error
        shards.write(name, _content(answer))
        n_done += 1
        told(n_done)
        if waiting:
            name = waiting.pop()
            running[worker.part.remote(name)] = (worker, name)


class ShardWorker:
    """A process with a copy of the model that makes shards; Ray makes it an actor.

    Args:
        opened_by: ``module:function`` of the step's ``OpenWork``.
        config: The study's configuration, JSON; its folders have to be in reach.
        key: The step's key, JSON.
    """

    def __init__(self, opened_by: str, config: bytes, key: bytes) -> None:
        self._place = Workplace(
            StudyConfig.from_json(orjson.loads(config), source="the study"),
            _open_engine,
        )
        fields = orjson.loads(key)
        self._shards = Shards(self._place.folder.root, StepKey(**fields))
        self._opened_by = opened_by
        self._open = ExitStack()
        self._work: Work | None = None

    def part(self, name: str) -> bytes:
        """Return a shard as the bytes of its file, behind a line of JSON that says how it went."""
        try:
            if self._work is None:
                self._work = self._open.enter_context(_find(self._opened_by)(self._place))
            content = self._shards.packed(*self._work(name))
        except GlassboxError as error:
            words = {"ok": False, "code": error.code, "message": str(error)}
            return orjson.dumps(words) + b"\n"
        return orjson.dumps({"ok": True}) + b"\n" + content


def _content(answer: bytes) -> bytes:
    line, _, content = answer.partition(b"\n")
    said = orjson.loads(line)
    if not said["ok"]:
        raise ConflictError(
            f"A worker could not make its shard ({said['code']}): {said['message']}"
        )
    return content


def _find(opened_by: str) -> OpenWork:
    module, _, name = opened_by.partition(":")
    found: OpenWork = getattr(importlib.import_module(module), name)
    return found


def _open_engine(spec: ModelSpec) -> Any:
    from glassbox.engine.resident import load_engine

    return load_engine(spec)
