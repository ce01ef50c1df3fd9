"""What a failure is called where others may read it: never in its own words.

Words of a version may quote what a caller sent. They go to whoever asked, and nowhere else: not to
health, not to logs, not to records. Knows no version.
"""

from typing import Final

UNNAMED: Final = "Fault"
"""Stands for a name that is none."""

_LONGEST: Final = 80


def fault_of(error: BaseException) -> str:
    """Return the class of what was raised first, as in ``KeyError``."""
    return type(error.__cause__ or error).__name__


def fault_named(told: object) -> str:
    """Return the name of a class that a process told; what it makes up instead is not repeated."""
    is_name = isinstance(told, str) and told.isidentifier() and len(told) <= _LONGEST
    return str(told) if is_name else UNNAMED
