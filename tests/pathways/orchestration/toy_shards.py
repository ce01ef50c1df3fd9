"""Shards of a step that does next to nothing, for the tests of how shards are spread."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from glassbox.errors import InvalidData
from glassbox.pathways.orchestration.parallel import Part, Work
from glassbox.pathways.orchestration.workplace import Workplace

OPENED_BY = "tests.pathways.orchestration.toy_shards:open_plain"


def part_of(name: str) -> Part:
    number = int(name.split("-")[1])
    return {"x": np.arange(number, dtype=np.float32)}, {"number": number}


@contextmanager
def open_plain(place: Workplace) -> Iterator[Work]:
    yield part_of


@contextmanager
def open_mortal(place: Workplace) -> Iterator[Work]:
    """Dies at its second shard, but only once in a study."""
    yield lambda name: _dies(name, place.folder.root, times=1)


@contextmanager
def open_doomed(place: Workplace) -> Iterator[Work]:
    """Dies whenever it comes to the second shard."""
    yield lambda name: _dies(name, place.folder.root, times=1000)


@contextmanager
def open_refusing(place: Workplace) -> Iterator[Work]:
    def work(name: str) -> Any:
        if name == "part-2":
            raise InvalidData("this one cannot be made", source=name)
        return part_of(name)

    yield work


def _dies(name: str, root: Path, *, times: int) -> Part:
    deaths = root / "deaths"
    root.mkdir(parents=True, exist_ok=True)
    n_deaths = len(deaths.read_text()) if deaths.exists() else 0
    if name == "part-2" and n_deaths < times:
        deaths.write_text("x" * (n_deaths + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return part_of(name)
