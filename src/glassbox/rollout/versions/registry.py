"""Models, their versions and the aliases that say what each is for; a history that only grows.

The words are MLflow's. A version never changes and is never deleted; an alias moves by
compare-and-set, so two people who decide at the same time do not undo each other; every move is
kept with who made it, why, and what the decision rested on. Requests look at a ``Snapshot`` that
is at most half a second old. Knows nothing of how a version is brought to life.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final, cast, get_args

import orjson
import sqlalchemy as sa

from glassbox.errors import CapacityError, ConflictError, InvalidValue
from glassbox.rollout.version import CHAMPION, AliasMove, Snapshot, Version, VersionKind
from glassbox.rollout.versions import registry_rows as rows
from glassbox.rollout.versions.alias_rules import check_alias, check_name, moves_back, moves_for
from glassbox.rollout.versions.registry_rows import Deed, Moves
from glassbox.rollout.versions.version_names import find_version
from glassbox.storage.database import Database

SNAPSHOT_S: Final = 0.5
"""Seconds for which a snapshot is taken to be the present; other processes move aliases, too."""

MOST_MOVES: Final = 1000
"""Lines of the history in one answer."""


class Registry:
    """The versions of one database.

    Args:
        database: Where they are.
        clock: Unix time in seconds.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._kept: Snapshot | None = None
        self._looked_s = 0.0
        self._looking = threading.Lock()
        # Counts changes made here: a look that began before one of them is not the present.
        self._n_changes = 0
        self._n_seen = 0

    def snapshot(self, *, is_fresh: bool = False) -> Snapshot:
        """Return the registry as it is, or was up to ``SNAPSHOT_S`` ago.

        Moves made through this object are always in it. While the database does not answer, the
        last one is returned: requests go on under what was last known.

        Args:
            is_fresh: Whether to ask the database in any case.

        Raises:
            CapacityError: The database cannot be reached and nothing is known yet, or must be.
        """
        kept = self._kept
        if kept is not None and not is_fresh and self._n_seen == self._n_changes:
            is_recent = time.monotonic() - self._looked_s < SNAPSHOT_S
            if is_recent or self._looking.locked():
                return kept
        with self._looking:
            n_changes = self._n_changes
            try:
                self._kept = self._look()
                self._n_seen = n_changes
            except CapacityError:
                if kept is None or is_fresh:
                    raise
            self._looked_s = time.monotonic()
            return cast(Snapshot, self._kept)

    def register(
        self,
        model: str,
        kind: VersionKind,
        source: str,
        digest: str,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        actor: str = "unknown",
    ) -> Version:
        """Return a version that is registered from now on, or the one that was already.

        What has the same digest is the same version: nothing is changed then.

        Args:
            model: Registered model; made with its first version.
            kind: How it is brought to life.
            source: Where it is kept, or ``module:function``.
            digest: SHA-256 over what it consists of (hex).
            metadata: What else is known of it, as JSON.
            name: Unique name; ``<model>_model_v<number>`` unless given.
            actor: Who registers it.

        Raises:
            InvalidValue: A name that is none, an unknown kind, or metadata that is no JSON.
            ConflictError: The name is another version's, or this version has another name.
            CapacityError: The database cannot be reached.
        """
        check_name("model", model)
        if name is not None:
            check_name("name", name)
        if kind not in get_args(VersionKind):
            raise InvalidValue("kind", kind, ", ".join(get_args(VersionKind)))
        text = rows.as_json("metadata", metadata or {})
        with self.changing() as connection:
            there = rows.version_of_digest(connection, model, digest)
            if there is not None:
                if name not in (None, there.name):
                    raise ConflictError(
                        f"The same content is registered already, as {there.name!r}; a version has "
                        f"one name. Leave out the name {name!r}."
                    )
                return there
            number = rows.next_number(connection, model)
            version = Version(
                model=model,
                number=number,
                name=name or f"{model}_model_v{number}",
                kind=kind,
                digest=digest,
                source=source,
                created_s=self._clock(),
                metadata=orjson.loads(text),
            )
            rows.add_version(connection, version, text, actor)
        return version

    def move_alias(  # noqa: PLR0913  all that is said of one move, each part named
        self,
        model: str,
        alias: str,
        to: int | None,
        *,
        expected: int | None,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        within: sa.Connection | None = None,
    ) -> AliasMove:
        """Return the line of the history under which an alias now names another version.

        With ``champion`` the old champion becomes ``previous_champion`` and the new one is no
        challenger any more, all at once.

        Args:
            model: Registered model.
            alias: As in ``challenger``.
            to: Version number; None takes the alias away.
            expected: Number that it must name still; None if it must not be there.
            actor: Who decides.
            reason: Why.
            evidence: What the decision rests on, as JSON.
            within: Transaction of ``changing`` that this becomes part of; None is one of its own.

        Raises:
            ConflictError: Somebody else moved it meanwhile: the message says who and when.
            InvalidValue: Nothing would change, or a champion would be missing or its own
                challenger.
            UnknownName: There is no such version.
            CapacityError: The database cannot be reached.
        """
        deed = Deed("move", model, alias, actor, reason, evidence or {})
        return self._move(deed, expected, lambda aliases, _: moves_for(alias, to, aliases), within)

    def promote(
        self,
        model: str,
        number: int,
        *,
        expected_champion: int | None,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        within: sa.Connection | None = None,
    ) -> AliasMove:
        """Return the line of the history under which a version became champion.

        The old champion becomes ``previous_champion``; both happen or neither does. Takes and
        raises what ``move_alias`` does.
        """
        deed = Deed("promote", model, CHAMPION, actor, reason, evidence or {})
        return self._move(
            deed, expected_champion, lambda aliases, _: moves_for(CHAMPION, number, aliases), within
        )

    def rollback(
        self,
        model: str,
        *,
        expected_champion: int | None,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        within: sa.Connection | None = None,
    ) -> AliasMove:
        """Return the line of the history under which the previous champion answers again.

        ``previous_champion`` then names the champion before that one. Takes and raises what
        ``move_alias`` does, and ``ConflictError`` where there is none to go back to.
        """
        deed = Deed("rollback", model, CHAMPION, actor, reason, evidence or {})
        return self._move(deed, expected_champion, moves_back, within)

    def history(
        self,
        model: str | None = None,
        limit: int = 100,
        *,
        alias: str | None = None,
        before: int | None = None,
    ) -> list[AliasMove]:
        """Return alias moves, newest first.

        Args:
            model: Only this model's.
            limit: Most lines, up to ``MOST_MOVES``.
            alias: Only of this alias.
            before: Only those before this sequence: the next page.
        """
        with self._database.reading() as connection:
            return rows.read_moves(
                connection, model, max(1, min(limit, MOST_MOVES)), alias=alias, before=before
            )

    def version(self, name: str, model: str | None = None) -> Version:
        """Return a version by name, ``models:/NAME/3``, ``models:/NAME@alias``, number or alias.

        Args:
            name: What somebody typed.
            model: Model whose numbers and aliases are meant; None takes the only one there is,
                or ``default``.

        Raises:
            UnknownName: There is no such version; the message lists those that there are.
        """
        return find_version(self.snapshot(), name, model)

    @contextmanager
    def changing(self) -> Iterator[sa.Connection]:
        """Give a transaction: moves and whatever else is written in it are kept, or nothing is.

        What ``aliases`` reads in it stays true to its end. Within it, nothing else may be asked
        of the database but through it.

        Raises:
            CapacityError: The database cannot be reached.
        """
        with self._database.transaction() as connection:
            yield connection
        with self._looking:
            self._n_changes += 1

    def aliases(self, model: str, within: sa.Connection) -> dict[str, int]:
        """Return the aliases of a model and their version numbers, as a transaction sees them."""
        return rows.aliases_of(within, model)

    def close(self) -> None:
        """Close the database's connections."""
        self._database.close()

    def _move(
        self,
        deed: Deed,
        expected: int | None,
        rule: Callable[[Mapping[str, int], rows.Reigns], Moves],
        within: sa.Connection | None = None,
    ) -> AliasMove:
        if not deed.actor or not deed.reason:
            raise InvalidValue(
                "actor and reason", f"{deed.actor!r} and {deed.reason!r}", "texts, not empty"
            )
        check_alias(deed.alias)
        with self.changing() if within is None else nullcontext(within) as connection:
            aliases = rows.aliases_of(connection, deed.model)
            if aliases.get(deed.alias) != expected:
                raise ConflictError(rows.moved_meanwhile(connection, deed, expected, aliases))
            moves = rule(aliases, rows.reigns(connection, deed.model))
            return rows.write_moves(connection, deed, moves, self._clock())

    def _look(self) -> Snapshot:
        kept = self._kept
        with self._database.reading() as connection:
            if connection.dialect.name == "postgresql":
                # Revision, versions and aliases are of one moment, as they are in SQLite anyway.
                connection.execution_options(isolation_level="REPEATABLE READ")
            revision = rows.revision(connection)
            if kept is not None and kept.revision == revision:
                return kept
            return Snapshot(
                revision, tuple(rows.all_versions(connection)), rows.all_aliases(connection)
            )
