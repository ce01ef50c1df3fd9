"""What people type for a version, and which one they mean. Pure."""

from typing import Final, TypeGuard

from glassbox.errors import UnknownName
from glassbox.rollout.version import DEFAULT_MODEL, Snapshot, Version

MOST_DIGITS: Final = 18
"""Digits of a version's number: what a database counts to has no more."""

URI = "models:/"
"""Start of MLflow's addresses: ``models:/NAME/3`` and ``models:/NAME@champion``."""


def find_version(snapshot: Snapshot, name: str, model: str | None = None) -> Version:
    """Return the version that a name, an address of MLflow's, a number or an alias stands for.

    Args:
        snapshot: The registry.
        name: A unique name, ``models:/NAME/3``, ``models:/NAME@alias``, or a number or alias.
        model: Model whose numbers and aliases are meant; None takes the only one there is, or
            ``default``.

    Raises:
        UnknownName: There is no such version; the message lists those that there are.
    """
    found = _addressed(snapshot, name) if name.startswith(URI) else snapshot.named(name)
    if found is None and not name.startswith(URI):
        meant = model or _only(snapshot)
        found = snapshot.aliased(name, meant)
        if found is None and _is_version_number(name):
            found = snapshot.numbered(int(name), meant)
    if found is None:
        raise unknown_version(snapshot, name)
    return found


def is_registered(model: str | None) -> TypeGuard[str]:
    """Whether a request's model is the address of a registered version."""
    return model is not None and model.startswith(URI)


def unknown_version(snapshot: Snapshot, name: str) -> UnknownName:
    """Return the error about a version that there is not, with those that there are."""
    return UnknownName(
        "registered version",
        name,
        [each.name for each in snapshot.versions],
        remedy="Register it with 'glassbox versions register'.",
    )


def _addressed(snapshot: Snapshot, address: str) -> Version | None:
    rest = address.removeprefix(URI)
    model, at, alias = rest.partition("@")
    if at:
        return snapshot.aliased(alias, model)
    model, _, number = rest.partition("/")
    return snapshot.numbered(int(number), model) if _is_version_number(number) else None


def _is_version_number(text: str) -> bool:
    # Python refuses to read numbers of thousands of digits.
    return text.isdecimal() and len(text) <= MOST_DIGITS


def _only(snapshot: Snapshot) -> str:
    models = {each.model for each in snapshot.versions}
    return models.pop() if len(models) == 1 else DEFAULT_MODEL
