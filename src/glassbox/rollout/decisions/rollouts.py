"""Where rollouts are kept: the state of each, and everything that happened to it, append-only.

A state is changed only by who knows the one before it, so that of several servers that decide at
once one succeeds. Decides nothing.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as RowExists

from glassbox.errors import ConflictError, CorruptArtifact, GlassboxError, UnknownName
from glassbox.rollout.decisions.rollout_rows import (
    Rollout,
    answered_share,
    brief_of,
    points_of,
    rollout_of,
    row_of,
)
from glassbox.rollout.decisions.status import RolloutBrief, RolloutStatus, Transition
from glassbox.rollout.decisions.verbs import verbs_of
from glassbox.storage.database import Database
from glassbox.storage.tables import table

MOST_LISTED: Final = 200
"""Rollouts of one list."""

_ROLLOUTS: Final = table(
    "rollouts",
    "id model champion challenger is_active is_dry started_s updated_s revision progress "
    "evidence series",
)

_LARGE: Final = ("evidence", "series")
"""Columns of which a line about a rollout needs nothing."""

_TRANSITIONS: Final = table(
    "rollout_transitions",
    "rollout_id sequence time_s before after actor reason evidence",
)


class RolloutStore:
    """The rollouts of one database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, rollout: Rollout, transition: Transition, *, within: sa.Connection | None = None
    ) -> None:
        """Keep a new rollout; ``within`` is as in ``save``.

        Raises:
            ConflictError: Another one of the same model is under way.
            CapacityError: The database cannot be reached.
        """
        with self._changing(within) as connection:
            query = sa.select(_ROLLOUTS.c.id).where(
                _ROLLOUTS.c.model == rollout.model, _ROLLOUTS.c.is_active == 1
            )
            other = connection.execute(query).scalar()
            if other is not None:
                raise under_way(other, rollout.model)
            try:
                connection.execute(_ROLLOUTS.insert().values(row_of(rollout)))
            except RowExists as error:
                raise ConflictError(f"There is a rollout {rollout.id!r} already.") from error
            _append(connection, rollout.id, [transition])

    def save(
        self,
        rollout: Rollout,
        transitions: Sequence[Transition] = (),
        *,
        within: sa.Connection | None = None,
    ) -> Rollout:
        """Keep a rollout anew and return it with its new revision.

        Args:
            rollout: With the revision that it was loaded with.
            transitions: What happened.
            within: Transaction that this becomes part of; None is one of its own.

        Raises:
            ConflictError: Somebody else changed it since.
            CapacityError: The database cannot be reached.
        """
        after = replace(rollout, revision=rollout.revision + 1)
        with self._changing(within) as connection:
            done = connection.execute(
                _ROLLOUTS.update()
                .where(_ROLLOUTS.c.id == rollout.id, _ROLLOUTS.c.revision == rollout.revision)
                .values(row_of(after))
            )
            if done.rowcount != 1:
                raise ConflictError(
                    f"Rollout {rollout.id} was changed by somebody else meanwhile. "
                    "Look at it again: glassbox rollout status"
                )
            _append(connection, rollout.id, transitions)
        return after

    def load(self, rollout_id: str) -> Rollout:
        """Return a rollout.

        Raises:
            UnknownName: There is no such rollout.
            CorruptArtifact: What is kept of it cannot be read.
        """
        with self._database.reading() as connection:
            row = connection.execute(_ROLLOUTS.select().where(_ROLLOUTS.c.id == rollout_id)).first()
        if row is None:
            raise UnknownName(
                "rollout", rollout_id, remedy="List them with 'glassbox rollout status --all'."
            )
        return rollout_of(row)

    def active(self, model: str | None = None) -> list[Rollout]:
        """Return the rollouts that are under way, of one model or of all.

        Raises:
            CorruptArtifact: What is kept of one cannot be read.
        """
        found, unread = self.watched(model)
        for error in unread.values():
            raise error
        return found

    def watched(self, model: str | None = None) -> tuple[list[Rollout], dict[str, GlassboxError]]:
        """Return the rollouts under way, and by its model why one of them cannot be read."""
        found, unread = [], dict[str, GlassboxError]()
        query = _ROLLOUTS.select().where(_ROLLOUTS.c.is_active == 1)
        if model is not None:
            query = query.where(_ROLLOUTS.c.model == model)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(_ROLLOUTS.c.model)).all()
        for row in rows:
            try:
                found.append(rollout_of(row))
            except CorruptArtifact as error:
                unread[row.model] = error
        return found, unread

    def latest(self, model: str | None = None, limit: int = 50) -> list[Rollout]:
        """Return rollouts, newest first; those that cannot be read are in ``briefs`` alone."""
        found = []
        for row in self._newest(_ROLLOUTS.select(), model, limit):
            with suppress(CorruptArtifact):
                found.append(rollout_of(row))
        return found

    def briefs(self, model: str | None = None, limit: int = 50) -> list[RolloutBrief]:
        """Return rollouts in one line each, newest first: quick, as their series are not read."""
        query = sa.select(*(each for each in _ROLLOUTS.c if each.name not in _LARGE))
        return [brief_of(row) for row in self._newest(query, model, limit)]

    def transitions(self, rollout_id: str) -> tuple[Transition, ...]:
        """Return what happened to a rollout, oldest first."""
        query = _TRANSITIONS.select().where(_TRANSITIONS.c.rollout_id == rollout_id)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(_TRANSITIONS.c.sequence)).all()
        return tuple(
            Transition(
                time_s=float(row.time_s),
                before=row.before,
                after=row.after,
                actor=row.actor,
                reason=row.reason,
                evidence=orjson.loads(row.evidence),
            )
            for row in rows
        )

    def status(self, rollout: Rollout) -> RolloutStatus:
        """Return what is shown of a rollout."""
        state = rollout.state
        return RolloutStatus(
            id=rollout.id,
            model=rollout.model,
            champion=rollout.champion,
            challenger=rollout.challenger,
            phase=state.phase,
            paused=state.is_paused,
            weight=answered_share(state, dry_run=rollout.dry_run),
            dry_run=rollout.dry_run,
            started_s=rollout.started_s,
            updated_s=rollout.updated_s,
            plan=rollout.plan.to_json(),
            gates=rollout.gates,
            decision=rollout.decision,
            transitions=self.transitions(rollout.id),
            evidence_series=points_of(rollout.series),
            counts=rollout.evidence.get("counts", {}),
            n_distinct=len(rollout.evidence.get("distinct", ())),
            verbs=verbs_of(rollout),
        )

    def _changing(self, within: sa.Connection | None) -> AbstractContextManager[sa.Connection]:
        return self._database.transaction() if within is None else nullcontext(within)

    def _newest(self, query: sa.Select[Any], model: str | None, limit: int) -> Sequence[Any]:
        if model is not None:
            query = query.where(_ROLLOUTS.c.model == model)
        query = query.order_by(_ROLLOUTS.c.started_s.desc(), _ROLLOUTS.c.id)
        with self._database.reading() as connection:
            return connection.execute(query.limit(max(1, min(limit, MOST_LISTED)))).all()


def under_way(rollout_id: str, model: str) -> ConflictError:
    """Return the error of whoever wants to start a second rollout of a model."""
    return ConflictError(
        f"Rollout {rollout_id} of {model!r} is under way. Wait for its end, or run: "
        f"glassbox rollout abort {rollout_id}"
    )


def _append(connection: sa.Connection, rollout_id: str, transitions: Sequence[Transition]) -> None:
    if not transitions:
        return
    last = connection.execute(
        sa.select(sa.func.max(_TRANSITIONS.c.sequence)).where(
            _TRANSITIONS.c.rollout_id == rollout_id
        )
    ).scalar()
    connection.execute(
        _TRANSITIONS.insert(),
        [
            {
                "rollout_id": rollout_id,
                "sequence": (last or 0) + place,
                **vars(each),
                "evidence": orjson.dumps(each.evidence).decode(),
            }
            for place, each in enumerate(transitions, start=1)
        ],
    )
