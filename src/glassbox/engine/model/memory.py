"""What is done where memory does not suffice: it is said in our words, or less is tried.

The one place of the engine and of what stands on it where running out is caught around work.
Knows nothing of what is worked on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import clear_frames
from typing import TypeVar

import torch

from glassbox.engine.model.devices import is_out_of_memory
from glassbox.errors import OutOfMemory

R = TypeVar("R")


@contextmanager
def running_out_named(too_much: Callable[[], str]) -> Iterator[None]:
    """Turn running out of memory inside the block into our error.

    Whatever else goes wrong is raised as it is.

    Args:
        too_much: What is said, with what to do.

    Raises:
        OutOfMemory: Memory did not suffice.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(too_much()) from error


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
