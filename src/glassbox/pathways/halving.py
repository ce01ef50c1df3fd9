"""Work that may be too large for the memory: all of it, or else its halves.

Knows nothing of what is worked on.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

from glassbox.engine.model.memory import within_memory


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
