"""Work that may be too large for the memory: all of it, or else its halves.

The one place where running out is caught. Knows nothing of what is worked on.
"""

from collections.abc import Callable, Iterator
from traceback import clear_frames
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch

from glassbox.engine.model.devices import is_out_of_memory
from glassbox.errors import OutOfMemory


@runtime_checkable
class Sliceable(Protocol):
    """Some things in order: a list, a range, an array."""

    def __len__(self) -> int:
        """Return how many."""
        ...

    def __getitem__(self, part: slice, /) -> Any:
        """Return some of them, of the same kind."""
        ...


S = TypeVar("S", bound=Sliceable)
R = TypeVar("R")


def within_memory(
    run: Callable[[], R],
    *,
    n: int,
    too_much: Callable[[], str],
    let_go: Callable[[], None] = lambda: None,
) -> R | None:
    """Return what comes of some work; none where memory did not suffice, so that less is tried.

    Whatever else goes wrong is raised as it is.

    Args:
        run: The work; what it returns is never none.
        n: How many things it works on. One of them cannot be halved.
        too_much: What is said where one alone does not fit, with what to do.
        let_go: Lets go of what was held for the work outside of it; then a GPU's free memory is
            gathered, so that less finds room.

    Raises:
        OutOfMemory: Memory did not suffice for a single thing.
    """
    try:
        return run()
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        # What another thread raised is kept by its future, and that by a frame of the traceback: a
        # circle, in which the tensors that did not fit would stay while less is tried.
        clear_frames(error.__traceback__)
        if n <= 1:
            raise OutOfMemory(too_much()) from error
    # Outside the handler, where nothing holds the traceback any more.
    let_go()
    torch.cuda.empty_cache()
    return None


def by_halves(
    some: S,
    run: Callable[[S], R],
    *,
    too_much: Callable[[S], str],
    let_go: Callable[[], None] = lambda: None,
) -> Iterator[R]:
    """Yield what comes of some things: of all at once, or of their halves where memory ran out.

    Results come in order, and each thing is in exactly one of them.

    Args:
        some: At least one thing.
        run: What is done; may be called again with the halves of what it was called with.
        too_much: What is said of a single thing that does not fit.
        let_go: As for ``within_memory``.

    Raises:
        OutOfMemory: Memory did not suffice for a single thing.
    """
    found = within_memory(
        lambda: run(some),
        n=len(some),
        too_much=lambda: too_much(some),
        let_go=let_go,
    )
    if found is not None:
        yield found
        return
    middle = (len(some) + 1) // 2
    for half in (some[:middle], some[middle:]):
        yield from by_halves(half, run, too_much=too_much, let_go=let_go)
