"""The decorator that says more of a technique than its signature: how to batch it, its source.

A plain function is a technique without it. Knows nothing of models and of how techniques run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from glassbox.errors import InvalidValue

F = TypeVar("F", bound=Callable[..., object])

BATCH_SIZE = 32
"""Items given to a technique at a time unless it says otherwise."""

_MARK = "__technique__"


@dataclass(frozen=True)
class TechniqueInfo:
    """What is known of a technique beside its signature."""

    batch: str | None = None
    """Parameter that takes a list of items and for which the answer is a list, item by item."""
    batch_size: int = BATCH_SIZE
    """Most items at a time in a ``map``."""
    title: str = ""
    """What it does, in a few words."""
    paper: str = ""
    """Where it comes from."""


def technique(
    *,
    batch: str | None = None,
    batch_size: int = BATCH_SIZE,
    title: str = "",
    paper: str = "",
) -> Callable[[F], F]:
    """Return a decorator that leaves a function as it is and notes what is known of it.

    Args:
        batch: Parameter that takes a list of items; the function returns a list with one value for
            each. ``map`` then calls it once for many inputs that differ in that parameter alone.
        batch_size: Most items at a time.
        title: What it does, in a few words.
        paper: Where it comes from.

    Raises:
        InvalidValue: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise InvalidValue("batch_size", batch_size, "1 or more items")
    info = TechniqueInfo(batch, batch_size, title, paper)

    def note(function: F) -> F:
        setattr(function, _MARK, info)
        return function

    return note


def info_of(function: Callable[..., object]) -> TechniqueInfo:
    """Return what is known of a technique; of a plain function, nothing."""
    info = getattr(function, _MARK, None)
    return info if isinstance(info, TechniqueInfo) else TechniqueInfo()
