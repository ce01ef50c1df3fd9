"""The moves of aliases that a rollout makes, and moves made by others.

A champion moves together with the state of the rollout that moves it, or not at all; the other
moves are safe to make again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from glassbox.errors import ConflictError, InvalidValue
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

    def challenge(
        self, snapshot: Snapshot, version: Version, actor: str, reason: str
    ) -> tuple[str, bool]:
        """Return the alias under which a version sees requests, and whether it is new to it.

        Raises:
            ConflictError: Somebody else took the alias meanwhile.
        """
        aliases = snapshot.aliases.get(version.model, {})
        for alias, number in aliases.items():
            if number == version.number and is_challenger(alias):
                return alias, False
        place = 1
        while (alias := CHALLENGER if place == 1 else f"{CHALLENGER}-{place}") in aliases:
            place += 1
        self._registry.move_alias(
            version.model, alias, version.number, expected=None, actor=actor, reason=reason
        )
        return alias, True

    @contextmanager
    def promoted(
        self, rollout: Rollout, actor: str, reason: str, evidence: Mapping[str, Any]
    ) -> Iterator[sa.Connection]:
        """Give a transaction in which the challenger is champion, for what is kept with that.

        Raises:
            ConflictError: Another version has become champion.
        """
        champion, challenger = self._pair(rollout)
        is_there = self._is_champion(challenger)
        with self._registry.changing() as connection:
            if not is_there:
                self._registry.promote(
                    rollout.model,
                    challenger.number,
                    expected_champion=champion.number,
                    actor=actor,
                    reason=reason,
                    evidence=evidence,
                    within=connection,
                )
            yield connection

    @contextmanager
    def restored(
        self, rollout: Rollout, actor: str, reason: str, evidence: Mapping[str, Any]
    ) -> Iterator[sa.Connection]:
        """Give a transaction in which the challenger is not champion, for what is kept with that.

        The old champion answers again if the challenger had taken its place.

        Raises:
            ConflictError: Somebody else moved the champion meanwhile.
        """
        champion, challenger = self._pair(rollout)
        snapshot = self._registry.snapshot(is_fresh=True)
        is_there = snapshot.number_of(CHAMPION, rollout.model) == challenger.number
        is_before = snapshot.number_of(PREVIOUS_CHAMPION, rollout.model) == champion.number
        with self._registry.changing() as connection:
            if is_there and is_before:
                self._registry.rollback(
                    rollout.model,
                    expected_champion=challenger.number,
                    actor=actor,
                    reason=reason,
                    evidence=evidence,
                    within=connection,
                )
            elif is_there:
                self._registry.promote(
                    rollout.model,
                    champion.number,
                    expected_champion=challenger.number,
                    actor=actor,
                    reason=reason,
                    evidence=evidence,
                    within=connection,
                )
            yield connection

    def dismiss(
        self, rollout: Rollout, actor: str, reason: str, evidence: Mapping[str, Any]
    ) -> None:
        """Take the challenger's alias away if it still names it."""
        _, challenger = self._pair(rollout)
        snapshot = self._registry.snapshot(is_fresh=True)
        if snapshot.number_of(rollout.alias, rollout.model) != challenger.number:
            return
        # Whoever moved it meanwhile knows what they want.
        with suppress(ConflictError, InvalidValue):
            self._registry.move_alias(
                rollout.model,
                rollout.alias,
                None,
                expected=challenger.number,
                actor=actor,
                reason=reason,
                evidence=evidence,
            )

    def tidy(self, rollout: Rollout, snapshot: Snapshot) -> None:
        """Take the alias of a rollout that has failed away if a break kept it from doing so.

        Nothing is done where somebody has given that alias since.
        """
        number = snapshot.number_of(rollout.alias, rollout.model)
        if rollout.dry_run or rollout.state.phase != "Failed" or number is None:
            return
        moved = self._registry.history(rollout.model, 1, alias=rollout.alias)
        is_as_it_was = moved and (
            moved[0].time_s < rollout.started_s or moved[0].reason.startswith(words(rollout, ""))
        )
        if is_as_it_was:
            self.dismiss(rollout, moved[0].actor, words(rollout, rollout.decision.reason), {})

    def _is_champion(self, version: Version) -> bool:
        now = self._registry.snapshot(is_fresh=True)
        return now.number_of(CHAMPION, version.model) == version.number

    def _pair(self, rollout: Rollout) -> tuple[Version, Version]:
        return (
            self._registry.version(rollout.champion, rollout.model),
            self._registry.version(rollout.challenger, rollout.model),
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
