"""Options that give names to things: NAME=VALUE, any number of times."""

from collections.abc import Sequence
from pathlib import Path

from glassbox.errors import InvalidValue


def named_values(
    option: str, given: Sequence[str] | None, *, allowed: str = "NAME=VALUE"
) -> dict[str, str]:
    """Return values by their names, in the order given.

    Args:
        option: Where they were given, as the caller wrote it.
        given: NAME=VALUE each; None is nothing.
        allowed: The form, for the error.

    Raises:
        InvalidValue: One has another form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for each in given or ():
        name, _, value = each.partition("=")
        if not name or not value:
            raise InvalidValue(option, each, allowed)
        _add(found, option, each, name, value)
    return found


def named_folders(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """Return folders or addresses by their names; ``~`` is the home folder.

    Raises:
        InvalidValue: One has another form, or a name comes twice.
    """
    pairs = named_values(option, given, allowed="NAME=PATH, as in support=runs/support/adapter")
    # An address in an object store stays what it is.
    return {
        name: str(Path(place).expanduser()) if place.startswith("~") else place
        for name, place in pairs.items()
    }


def named_runs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """Return runs by the names that requests give; a run without one goes by its folder's.

    Raises:
        InvalidValue: Two have the same name.
    """
    found: dict[str, str] = {}
    for each in given or ():
        name, _, run = each.partition("=")
        if name and run:
            _add(found, option, each, name, run)
        else:
            _add(found, option, each, Path(each).name, each)
    return found


def _add(found: dict[str, str], option: str, text: str, name: str, value: str) -> None:
    if name in found:
        raise InvalidValue(option, text, f"the name {name!r} once")
    found[name] = value
