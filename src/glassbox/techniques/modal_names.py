"""Names that Modal has given up, and what they are called now.

Source: modal 1.6.4, ``_functions.py`` and ``app.py``: each of them raises there.
"""

from collections.abc import Mapping
from typing import Final

from glassbox.errors import InvalidValue

CALLED_NOW: Final[Mapping[str, str]] = {
    "keep_warm": "min_containers",
    "container_idle_timeout": "scaledown_window",
    "concurrency_limit": "max_containers",
    "allow_concurrent_inputs": "max_inputs",
}
"""Present name of each former one."""


def translated(
    given: Mapping[str, int | None], old: Mapping[str, int | None]
) -> tuple[dict[str, int | None], tuple[str, ...]]:
    """Return what was asked for by its present names, and a note for each former one.

    Args:
        given: By present name; None was not given.
        old: By former name; None was not given.

    Raises:
        InvalidValue: Both names of one thing, with different values.
    """
    found, notes = dict(given), []
    for name, value in old.items():
        if value is None:
            continue
        now = CALLED_NOW[name]
        said = found.get(now)
        if said not in (None, value):
            raise InvalidValue(
                name, value, f"{said}, or nothing", remedy=f"It is {now} now, which says {said}."
            )
        found[now] = value
        notes.append(f"{name} is called {now} now: taken as {now}={value}.")
    return found, tuple(notes)
