"""Which names and alias moves are allowed, and what follows from one. Pure; knows no database."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from glassbox.errors import ConflictError, InvalidValue
from glassbox.rollout.version import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS_CHAMPION,
    AliasMove,
    is_challenger,
)

MoveVerb = Literal["move", "promote", "rollback"]
"""What somebody did; one deed can move several aliases."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ALIAS: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")

# Source: MLflow's validation of aliases, where these would be taken for a version's number.
_TAKEN: Final = re.compile(r"latest|v[0-9]+")


def check_name(what: str, name: str) -> None:
    """Let the name of a model or version pass.

    Raises:
        InvalidValue: It could not stand in an address.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidValue(
            what, name[:200], "1 to 100 letters, digits, '_', '-' or '.', a letter or digit first"
        )


def check_alias(alias: str) -> None:
    """Let an alias pass.

    Raises:
        InvalidValue: It is no word, or one that means something else.
    """
    if _ALIAS.fullmatch(alias) is None or _TAKEN.fullmatch(alias):
        raise InvalidValue(
            "alias",
            alias[:200],
            "up to 64 small letters, digits, '_' or '-', a letter first; not 'latest' or 'v1'",
        )
    if alias.startswith(f"{CHALLENGER}-") and not is_challenger(alias):
        raise InvalidValue("alias", alias, "'challenger', 'challenger-2', 'challenger-3', …")


def moves_for(
    alias: str, to: int | None, aliases: Mapping[str, int]
) -> dict[str, tuple[int | None, int | None]]:
    """Return the moves that setting one alias takes: alias to the numbers before and after.

    A new champion makes the old one ``previous_champion`` and is a challenger no more, so that
    no version is ever compared with itself.

    Args:
        alias: What is set.
        to: Version number; None takes the alias away.
        aliases: All aliases of the model as they are.

    Raises:
        InvalidValue: Nothing would change, or something that must not be.
    """
    before = aliases.get(alias)
    if before == to:
        state = "not set" if to is None else f"version {to} already"
        raise InvalidValue(alias, to, f"another version than now: it is {state}")
    if alias == CHAMPION:
        return _crown(to, aliases)
    if is_challenger(alias) and to is not None:
        if to == aliases.get(CHAMPION):
            raise InvalidValue(alias, to, "a version that is not the champion")
        for other, number in aliases.items():
            if is_challenger(other) and number == to:
                raise InvalidValue(alias, to, f"a version that is no challenger yet: it is {other}")
    return {alias: (before, to)}


def _crown(to: int | None, aliases: Mapping[str, int]) -> dict[str, tuple[int | None, int | None]]:
    if to is None:
        raise InvalidValue(
            CHAMPION, to, "a version number", remedy="A model with requests has one champion."
        )
    before, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS_CHAMPION)
    moves: dict[str, tuple[int | None, int | None]] = {CHAMPION: (before, to)}
    if before is not None and previous != before:
        moves[PREVIOUS_CHAMPION] = (previous, before)
    for alias, number in aliases.items():
        if is_challenger(alias) and number == to:
            moves[alias] = (number, None)
    return moves


def moves_back(
    aliases: Mapping[str, int], reigns: Iterable[tuple[MoveVerb, int | None, int]]
) -> dict[str, tuple[int | None, int | None]]:
    """Return the moves that go back to the previous champion.

    ``previous_champion`` then names the one before that, and is taken away after the first: going
    back again never leads forward.

    Args:
        aliases: All aliases of the model as they are.
        reigns: Every move of ``champion`` so far, oldest first: verb, number before, number after.

    Raises:
        ConflictError: There is none to go back to.
    """
    previous = aliases.get(PREVIOUS_CHAMPION)
    if previous is None or previous == aliases.get(CHAMPION):
        raise ConflictError(
            "There is no previous champion to go back to. "
            "Set the alias champion to the version that you mean."
        )
    earlier = _without(_champions_before(reigns), previous)
    moves = _crown(previous, aliases)
    moves[PREVIOUS_CHAMPION] = (previous, earlier[-1] if earlier else None)
    return moves


def _champions_before(reigns: Iterable[tuple[MoveVerb, int | None, int]]) -> list[int]:
    stack: list[int] = []
    for verb, before, after in reigns:
        if verb == "rollback":
            stack = _without(stack, after)
        elif before is not None:
            stack.append(before)
    return stack


def _without(stack: list[int], number: int) -> list[int]:
    """Return what is below the last place of a number."""
    if number in stack:
        stack = stack[: len(stack) - 1 - stack[::-1].index(number)]
    while stack and stack[-1] == number:
        stack = stack[:-1]
    return stack


def replayed(moves: Iterable[AliasMove]) -> dict[str, dict[str, int]]:
    """Return the aliases of every model that a history, oldest first, leads to.

    Raises:
        ConflictError: The history contradicts itself.
    """
    found: dict[str, dict[str, int]] = {}
    for move in moves:
        aliases = found.setdefault(move.model, {})
        if aliases.get(move.alias) != move.before:
            raise ConflictError(
                f"Line {move.sequence} of the history moves {move.alias} of {move.model!r} away "
                f"from {move.before}, but it was {aliases.get(move.alias)} by then."
            )
        if move.after is None:
            aliases.pop(move.alias, None)
        else:
            aliases[move.alias] = move.after
    return {model: aliases for model, aliases in found.items() if aliases}
