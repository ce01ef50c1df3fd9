"""Moments as people write them and read them, always in UTC."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from glassbox.errors import InvalidValue

Moment = Annotated[str | None, typer.Option(help="As in 2026-11-21 or 2026-11-21T08:00 (UTC).")]
"""An option that names a moment; ``parse_moment`` reads it."""


def parse_moment(option: str, text: str | None) -> float | None:
    """Return the Unix time, in seconds, that an option names; None where it was not given.

    Raises:
        InvalidValue: It is no moment.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        allowed = "a moment, as in 2026-11-21 or 2026-11-21T08:00 (UTC)"
        raise InvalidValue(option, text, allowed) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def to_second(unix_s: float) -> str:
    """Return a Unix time with its seconds: ``2026-11-21 08:00:59``."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M:%S}"


def to_hour(unix_s: float) -> str:
    """Return a Unix time that is known to the hour: ``2026-11-21 08h``."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H}h"


def to_minute(unix_s: float) -> str:
    """Return a Unix time without its seconds: ``2026-11-21 08:00``."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M}"
