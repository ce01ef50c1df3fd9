"""The moves of aliases that a rollout makes, and moves made by others.

Each gives the transaction that it is made in, for the state that is kept with it: both are, or
neither is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import sqlalchemy as sa

from glassbox.rollout.decisions.rollout_rows import Rollout
from glassbox.rollout.version import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS_CHAMPION,
    Snapshot,
    Version,
    is_challenger,
)
from glassbox.rollout.versions.registry import Registry


class Moves:
    """Moves aliases for rollouts.

    Args:
        registry: Where they are.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @contextmanager
    def challenged(
        self, version: Version, actor: str, reason: str
    ) -> Iterator[tuple[str, sa.Connection]]:
        """Give the alias under which a version sees requests, and the transaction it has it in.

        Raises:
            InvalidValue: The version has become champion.
        """
        with self._registry.changing() as within:
            aliases = self._registry.aliases(version.model, within)
            held = {number: each for each, number in aliases.items() if is_challenger(each)}
            alias = held.get(version.number)
            if alias is None:
                alias = next(each for each in _challenger_aliases() if each not in aliases)
                self._registry.move_alias(
                    version.model,
                    alias,
                    version.number,
                    expected=None,
                    actor=actor,
                    reason=reason,
                    within=within,
                )
            yield alias, within

    @contextmanager
    def promoted(
        self, rollout: Rollout, actor: str, reason: str, evidence: Mapping[str, Any]
    ) -> Iterator[sa.Connection]:
        """Give a transaction in which the challenger is champion.

        Raises:
            ConflictError: Another version has become champion.
        """
        champion, challenger = self._pair(rollout)
        with self._registry.changing() as within:
            if self._registry.aliases(rollout.model, within).get(CHAMPION) != challenger:
                self._registry.promote(
                    rollout.model,
                    challenger,
                    expected_champion=champion,
                    actor=actor,
                    reason=reason,
                    evidence=evidence,
                    within=within,
                )
            yield within

    @contextmanager
    def undone(
        self, rollout: Rollout, actor: str, reason: str, evidence: Mapping[str, Any]
    ) -> Iterator[sa.Connection]:
        """Give a transaction in which the challenger is neither champion nor challenger any more.

        What somebody else has moved since stays as it is, and so does the alias of a dry run.
        """
        champion, challenger = self._pair(rollout)
        said: Any = {"actor": actor, "reason": reason, "evidence": evidence}
        with self._registry.changing() as within:
            aliases = self._registry.aliases(rollout.model, within)
            said["within"] = within
            is_champion = aliases.get(CHAMPION) == challenger
            if is_champion and rollout.state.phase in ("Promoting", "Finalising"):
                if aliases.get(PREVIOUS_CHAMPION) == champion:
                    self._registry.rollback(rollout.model, expected_champion=challenger, **said)
                else:
                    self._registry.promote(
                        rollout.model, champion, expected_champion=challenger, **said
                    )
            if aliases.get(rollout.alias) == challenger and not rollout.dry_run:
                self._registry.move_alias(
                    rollout.model, rollout.alias, None, expected=challenger, **said
                )
            yield within

    def _pair(self, rollout: Rollout) -> tuple[int, int]:
        """Return the numbers of champion and challenger: before a transaction, for it reads."""
        return (
            self._registry.version(rollout.champion, rollout.model).number,
            self._registry.version(rollout.challenger, rollout.model).number,
        )


def words(rollout: Rollout, reason: str) -> str:
    """Return the reason of a move as the registry's history shows it."""
    return f"Rollout {rollout.id}: {reason}"


def is_taken_over(rollout: Rollout, snapshot: Snapshot) -> str | None:
    """Return what somebody else changed under a rollout, as a sentence; None where nothing is."""
    champion = snapshot.aliased(CHAMPION, rollout.model)
    name = "none" if champion is None else champion.name
    if rollout.state.phase == "Finalising":
        if name == rollout.challenger:
            return None
        return f"The champion is {name} now: somebody else moved it."
    if rollout.state.phase == "Promoting" and name == rollout.challenger:
        return None
    if name != rollout.champion:
        return f"The champion is {name} now: somebody else moved it."
    challenger = snapshot.aliased(rollout.alias, rollout.model)
    if challenger is None:
        return f"Nothing is {rollout.alias} any more: somebody else took it away."
    if challenger.name != rollout.challenger:
        return f"The {rollout.alias} is {challenger.name} now."
    return None


def is_champion(rollout: Rollout, snapshot: Snapshot) -> bool:
    """Return whether the challenger of a rollout has become champion."""
    champion = snapshot.aliased(CHAMPION, rollout.model)
    return champion is not None and champion.name == rollout.challenger


def _challenger_aliases() -> Iterator[str]:
    """Return ``challenger``, ``challenger-2``, ``challenger-3`` and so on."""
    yield CHALLENGER
    yield from (f"{CHALLENGER}-{place}" for place in count(2))
