"""How, and from when on, long work tells whoever waits what it does. Knows nothing of screens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

SHOW_AFTER_S: Final = 2.0
"""Work that takes less shows nothing of its progress."""

Progress = Callable[[int, int], None]
"""Told (done, in all) as work goes on; in all 0 means that the total is not known."""

Say = Callable[[str], None]
"""Told one line for people: what was found, what is done, what it will take."""

Stages = Callable[[str], AbstractContextManager[Progress]]
"""Opens one stage of the work under a description, and gives what its progress is told to."""


def untold(_done: int, _total: int) -> None:
    """Take progress that nobody waits for."""


def unsaid(_line: str) -> None:
    """Take a line that nobody reads."""


@contextmanager
def unwatched(_description: str) -> Iterator[Progress]:
    """Open a stage that nobody watches."""
    yield untold
