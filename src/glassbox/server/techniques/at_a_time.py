"""How many requests about functions are in the works at a time. Knows no route and no function."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from anyio import CapacityLimiter

THREADS: Final = 32
"""Threads on which calls are submitted, and as many on which is asked for them."""

MOST_LOOKING: Final = 256
"""Requests that wait for a run at a time; others are answered with what is known."""

LARGE_BODIES: Final = 4
"""Large bodies that are read at a time; others wait on their connection."""


@dataclass(frozen=True, eq=False)
class AtATime:
    """The limits of one server, and who is within them; the event loop's thread alone uses it."""

    submitting: CapacityLimiter = field(default_factory=partial(CapacityLimiter, THREADS))
    """Threads of their own: submitting may block for as long as whatever runs functions is started
    or held up, and keys are looked up, and runs asked for, on others."""
    asking: CapacityLimiter = field(default_factory=partial(CapacityLimiter, THREADS))
    """All other calls of the service."""
    looking: CapacityLimiter = field(default_factory=partial(CapacityLimiter, MOST_LOOKING))
    """Requests that wait for a run's next line or its end."""
    large_bodies: CapacityLimiter = field(default_factory=partial(CapacityLimiter, LARGE_BODIES))
    """Bodies that are read."""
