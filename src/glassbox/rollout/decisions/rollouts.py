"""Where rollouts are kept: the state of each, and everything that happened to it, append-only.

A state is changed only by who knows the one before it, so that of several servers that decide at
once one succeeds. Decides nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as RowExists

from glassbox.errors import ConflictError, CorruptArtifact, GlassboxError, InvalidValue, UnknownName
from glassbox.rollout.decisions.gates import GateReading
from glassbox.rollout.decisions.plan import RolloutPlan, plan_from
from glassbox.rollout.decisions.policy import State, Verdict
from glassbox.rollout.decisions.status import (
    MOST_POINTS,
    DecisionSaid,
    EvidencePoint,
    RolloutBrief,
    RolloutStatus,
    Transition,
)
from glassbox.rollout.version import CHALLENGER
from glassbox.storage.database import Database

MOST_LISTED: Final = 200
"""Rollouts of one list."""

BEGUN: Final = DecisionSaid("wait", "It has just begun.")
"""What is said before the first look."""

_ROLLOUTS: Final = sa.table(
    "rollouts",
    *(
        sa.column(name)
        for name in (
            "id",
            "model",
            "champion",
            "challenger",
            "is_active",
            "is_dry",
            "started_s",
            "updated_s",
            "revision",
            "progress",
            "evidence",
            "series",
        )
    ),
)

_LARGE: Final = ("evidence", "series")
"""Columns of which a line about a rollout needs nothing."""

_TRANSITIONS: Final = sa.table(
    "rollout_transitions",
    *(
        sa.column(name)
        for name in (
            "rollout_id",
            "sequence",
            "time_s",
            "before",
            "after",
            "actor",
            "reason",
            "evidence",
        )
    ),
)


@dataclass(frozen=True)
class Rollout:
    """A rollout as it is kept."""

    id: str
    """Names it."""
    model: str
    """Registered model."""
    champion: str
    """Name of the version that it compares with."""
    challenger: str
    """Name of the version that is to become champion."""
    plan: RolloutPlan
    """What it follows."""
    started_s: float
    """Unix time."""
    updated_s: float
    """Unix time of the last look."""
    alias: str = CHALLENGER
    """Alias of the challenger."""
    dry_run: bool = False
    """Whether it only says what it would do."""
    state: State = field(default_factory=State)
    """Where it stands."""
    decision: DecisionSaid = BEGUN
    """What the policy said last."""
    gates: tuple[GateReading, ...] = ()
    """What the gates said last."""
    cursor: int = 0
    """Sequence of the last event that its evidence holds."""
    revision: int = 0
    """Grows with every change."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Tallies, as plain values."""
    series: Mapping[str, Any] = field(default_factory=dict)
    """For each gate its ``points``, and at every how many looks (``stride``) one is kept."""

    def with_points(self, gates: tuple[GateReading, ...], time_s: float) -> "Rollout":
        """Return the rollout with a look more in its series."""
        series = {name: dict(value) for name, value in self.series.items()}
        for gate in gates:
            kept = series.setdefault(gate.name, {"stride": 1, "n_looks": 0, "points": []})
            points = list(kept["points"])
            point = [gate.n, time_s, gate.value, gate.low, gate.high, gate.limit]
            is_new = not points or points[-1][0] != gate.n
            if is_new and kept["n_looks"] % kept["stride"] == 0:
                points.append(point)
            kept["n_looks"] += is_new
            if len(points) > MOST_POINTS:
                points, kept["stride"] = points[::2], kept["stride"] * 2
            kept["points"] = points
        return replace(self, gates=gates, series=series)


class RolloutStore:
    """The rollouts of one database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, rollout: Rollout, transition: Transition) -> None:
        """Keep a new rollout.

        Raises:
            ConflictError: Another one of the same model is under way.
            CapacityError: The database cannot be reached.
        """
        with self._database.transaction() as connection:
            query = sa.select(_ROLLOUTS.c.id).where(
                _ROLLOUTS.c.model == rollout.model, _ROLLOUTS.c.is_active == 1
            )
            other = connection.execute(query).scalar()
            if other is not None:
                raise under_way(other, rollout.model)
            try:
                connection.execute(_ROLLOUTS.insert().values(_row(rollout)))
            except RowExists as error:
                raise ConflictError(f"There is a rollout {rollout.id!r} already.") from error
            _append(connection, rollout.id, [transition])

    def save(self, rollout: Rollout, transitions: Sequence[Transition] = ()) -> Rollout:
        """Keep a rollout anew and return it with its new revision.

        Args:
            rollout: With the revision that it was loaded with.
            transitions: What happened.

        Raises:
            ConflictError: Somebody else changed it since.
            CapacityError: The database cannot be reached.
        """
        after = replace(rollout, revision=rollout.revision + 1)
        with self._database.transaction() as connection:
            done = connection.execute(
                _ROLLOUTS.update()
                .where(_ROLLOUTS.c.id == rollout.id, _ROLLOUTS.c.revision == rollout.revision)
                .values(_row(after))
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
        return _rollout(row)

    def active(self, model: str | None = None) -> list[Rollout]:
        """Return the rollouts that are under way, of one model or of all."""
        query = _ROLLOUTS.select().where(_ROLLOUTS.c.is_active == 1)
        if model is not None:
            query = query.where(_ROLLOUTS.c.model == model)
        with self._database.reading() as connection:
            return [_rollout(row) for row in connection.execute(query.order_by(_ROLLOUTS.c.model))]

    def watched(self) -> tuple[list[Rollout], dict[str, GlassboxError]]:
        """Return the rollouts under way, and by its model why one of them cannot be read."""
        found, unread = [], dict[str, GlassboxError]()
        query = _ROLLOUTS.select().where(_ROLLOUTS.c.is_active == 1).order_by(_ROLLOUTS.c.model)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            try:
                found.append(_rollout(row))
            except CorruptArtifact as error:
                unread[row.model] = error
        return found, unread

    def latest(self, model: str | None = None, limit: int = 50) -> list[Rollout]:
        """Return rollouts, newest first."""
        return [_rollout(row) for row in self._newest(_ROLLOUTS.select(), model, limit)]

    def briefs(self, model: str | None = None, limit: int = 50) -> list[RolloutBrief]:
        """Return rollouts in one line each, newest first: quick, as their series are not read."""
        query = sa.select(*(each for each in _ROLLOUTS.c if each.name not in _LARGE))
        return [_brief(row) for row in self._newest(query, model, limit)]

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
        held: tuple[str, ...] = ("resume",) if state.is_paused else ("pause",)
        return RolloutStatus(
            id=rollout.id,
            model=rollout.model,
            champion=rollout.champion,
            challenger=rollout.challenger,
            phase=state.phase,
            paused=state.is_paused,
            weight=state.weight,
            dry_run=rollout.dry_run,
            started_s=rollout.started_s,
            updated_s=rollout.updated_s,
            plan=rollout.plan.to_json(),
            gates=rollout.gates,
            decision=rollout.decision,
            transitions=self.transitions(rollout.id),
            evidence_series=_points(rollout.series),
            counts=rollout.evidence.get("counts", {}),
            n_distinct=len(rollout.evidence.get("distinct", ())),
            verbs=() if state.is_ended else (*held, "promote", "abort"),
        )

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


@contextmanager
def _readable(row: Any) -> Iterator[None]:
    """Say of a row that is none of this version's what it is and what to do."""
    try:
        yield
    # A newer server of the same database may keep more of a rollout than is known here.
    except (KeyError, TypeError, ValueError, UnknownName, InvalidValue) as error:
        raise CorruptArtifact(
            f"rollout {row.id} of {row.model!r}",
            f"what is kept of it cannot be read ({error})",
            remedy="A newer Glassbox may have written it: upgrade this one.",
        ) from error


def _brief(row: Any) -> RolloutBrief:
    with _readable(row):
        state = State.from_json(orjson.loads(row.progress)["state"])
    return RolloutBrief(
        id=row.id,
        model=row.model,
        champion=row.champion,
        challenger=row.challenger,
        phase=state.phase,
        paused=state.is_paused,
        weight=state.weight,
        dry_run=bool(row.is_dry),
        started_s=float(row.started_s),
        updated_s=float(row.updated_s),
    )


def _points(series: Mapping[str, Any]) -> tuple[EvidencePoint, ...]:
    return tuple(
        EvidencePoint(int(n), float(time_s), name, *rest)
        for name, kept in series.items()
        for n, time_s, *rest in kept["points"]
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


def _row(rollout: Rollout) -> dict[str, Any]:
    progress = {
        "plan": rollout.plan.to_json(),
        "state": rollout.state.to_json(),
        "decision": vars(rollout.decision),
        "gates": [each.to_json() for each in rollout.gates],
        "cursor": rollout.cursor,
        "alias": rollout.alias,
    }
    return {
        "id": rollout.id,
        "model": rollout.model,
        "champion": rollout.champion,
        "challenger": rollout.challenger,
        "is_active": 0 if rollout.state.is_ended else 1,
        "is_dry": int(rollout.dry_run),
        "started_s": rollout.started_s,
        "updated_s": rollout.updated_s,
        "revision": rollout.revision,
        "progress": orjson.dumps(progress).decode(),
        "evidence": orjson.dumps(rollout.evidence).decode(),
        "series": orjson.dumps(rollout.series).decode(),
    }


def _rollout(row: Any) -> Rollout:
    with _readable(row):
        progress = orjson.loads(row.progress)
        decision = progress["decision"]
        verdict: Verdict = decision["verdict"]
        return Rollout(
            id=row.id,
            model=row.model,
            champion=row.champion,
            challenger=row.challenger,
            plan=plan_from(progress["plan"]),
            started_s=float(row.started_s),
            updated_s=float(row.updated_s),
            alias=progress["alias"],
            dry_run=bool(row.is_dry),
            state=State.from_json(progress["state"]),
            decision=DecisionSaid(verdict, decision["reason"]),
            gates=tuple(GateReading.from_json(each) for each in progress["gates"]),
            cursor=int(progress["cursor"]),
            revision=int(row.revision),
            evidence=orjson.loads(row.evidence),
            series=orjson.loads(row.series),
        )
