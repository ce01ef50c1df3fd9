"""The shards of the corpus pass, made by a worker that dies once, for the tests of Ray."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from glassbox.pathways.orchestration.parallel import Part, Work
from glassbox.pathways.orchestration.tokens_step import open_reading
from glassbox.pathways.orchestration.workplace import Workplace

DEADLY = "000003-000003"


@contextmanager
def open_mortal(place: Workplace) -> Iterator[Work]:
    """Dies in the middle of a shard, but only once in a study."""
    deaths = place.folder.root / "deaths"
    with open_reading(place) as read:

        def work(name: str) -> Part:
            part = read(name)
            if name == DEADLY and not deaths.exists():
                deaths.write_text("x")
                os.kill(os.getpid(), signal.SIGKILL)
            return part

        yield work
