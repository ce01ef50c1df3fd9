"""The import of large libraries, without a look for garbage after every few objects of theirs."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing_libraries() -> Iterator[None]:
    """Leave unreachable cycles alone inside the block, which is to import torch and its like.

    They make a million objects that stay: to go over all of them again and again finds nothing and
    takes a fifth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
