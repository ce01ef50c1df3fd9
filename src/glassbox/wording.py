"""How a number reads in a sentence: its decimals, its interval, its unit, its noun; and many names.

A promise of 1.25 % must not read as one of 1.2 %, nor a threshold of 99.98 % as one of 100 %; an
estimate must not read as a count, nor one row as "1 rows"; no line may end before a unit.
"""

import re
from collections.abc import Sequence
from typing import Final

_UNIT = re.compile(r"(?<=\d) (?=(?:%|m?s|nats|points)(?!\w))")
"""The space between a number and its unit."""

MOST_DECIMALS: Final = 10
"""Decimals beyond which nobody reads, and floating point has nothing more to say."""


MOST_NAMED: Final = 20
"""Names that a sentence lists; of a registry there may be thousands."""


def decimals_apart(low: float, high: float, fewest: int) -> int:
    """Return the fewest decimals, from ``fewest`` on, with which ``low`` reads as less than high.

    Numbers that are not apart need no more than ``fewest``.

    Example:
        >>> [decimals_apart(each, 100, 1) for each in (86.92, 99.96, 99.998, 100)]
        [1, 2, 3, 1]
    """
    if low >= high:
        return fewest
    return next(
        (n for n in range(fewest, MOST_DECIMALS) if round(low, n) < round(high, n)), MOST_DECIMALS
    )


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a count with what is counted, thousands set apart.

    Args:
        number: How many.
        one: What stands after a 1; a verb may follow the noun.
        many: What stands after any other number; None adds an s.

    Example:
        >>> counted(1, "row"), counted(1234, "row"), counted(2, "file is", "files are")
        ('1 row', '1,234 rows', '2 files are')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Return names in a row; of more than ``most`` the first ones, and how many more there are.

    Example:
        >>> listed(["a", "b"]), listed(["a", "b", "c", "d"], 2)
        ('a, b', 'a, b and 2 more')
    """
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def size_of(n_bytes: float) -> str:
    """Return a size for people, in powers of a thousand.

    Example:
        >>> size_of(450), size_of(1_400_000)
        ('450 bytes', '1.4 MB')
    """
    if n_bytes < 1000:
        return f"{n_bytes:.0f} bytes"
    for unit in ("kB", "MB"):
        n_bytes /= 1000
        if n_bytes < 1000:
            return f"{n_bytes:.1f} {unit}"
    return f"{n_bytes / 1000:,.1f} GB"


def files_of(n_files: int, n_bytes: float) -> str:
    """Return how many files there are, and their size together."""
    if n_files == 0:
        return "no files of its own"
    return f"{counted(n_files, 'file')}, {size_of(n_bytes)}"


def percent(fraction: float, decimals: int = 0) -> str:
    """Return a fraction in per cent.

    Example:
        >>> percent(0.05), percent(0.9109, 1)
        ('5 %', '91.1 %')
    """
    return f"{100 * fraction:.{decimals}f} %"


def exact_percent(fraction: float) -> str:
    """Return a fraction that somebody asked for in per cent, not rounded.

    Example:
        >>> exact_percent(0.05), exact_percent(0.0125), exact_percent(0.07)
        ('5 %', '1.25 %', '7 %')
    """
    return f"{100 * fraction:.{MOST_DECIMALS}f}".rstrip("0").rstrip(".") + " %"


def with_interval(estimate: float, low: float, high: float) -> str:
    """Return a figure with its interval, three decimals each.

    Example:
        >>> with_interval(0.91234, 0.88, 0.94)
        '0.912 (0.880 to 0.940)'
    """
    return f"{estimate:.3f} ({low:.3f} to {high:.3f})"


def units_bound(text: str, space: str = "\u00a0") -> str:
    """Return a text in which ``space`` stands between each number and its unit.

    Example:
        >>> units_bound("1.5 s and 20 % of 3 rows", "_")
        '1.5_s and 20_% of 3 rows'
    """
    return _UNIT.sub(space, text)


def estimated(number: float) -> str:
    """Return an estimated count with two significant digits, thousands set apart.

    Example:
        >>> estimated(6557), estimated(42), estimated(103.7)
        ('6,600', '42', '100')
    """
    return f"{float(f'{number:.2g}'):,.0f}"
