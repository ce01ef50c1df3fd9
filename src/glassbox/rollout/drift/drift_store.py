"""References and reports of drift in the database. Computes nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import sqlalchemy as sa

from glassbox.errors import UnknownName
from glassbox.rollout.drift.reference import Reference, pack_window, thinned, unpack_window
from glassbox.rollout.drift.report import DriftReport, report_bytes
from glassbox.rollout.drift.windows import Window
from glassbox.rollout.version import DEFAULT_MODEL
from glassbox.storage.database import Database
from glassbox.storage.tables import table

FORGOTTEN_AT_ONCE: Final = 100
"""Reports of one removal: others who write wait for it."""

_REFERENCES = table(
    "drift_references",
    "reference_id model number model_version created_s since_s until_s n_rows digest actor "
    "columns body",
)

_REPORTS = table("drift_reports", "sequence report_id time_s model verdict body")

_POINTS = table(
    "drift_points",
    "sequence model feature report_id time_s effect effect_limit p_adjusted drifted",
)


@dataclass(frozen=True)
class ReferenceBrief:
    """What is known of a reference without its rows."""

    reference_id: str
    """Names it."""
    model: str
    """Registered model."""
    number: int
    """From 1, per model."""
    model_version: str
    """Version that answered its rows; empty for several."""
    created_s: float
    """Unix time."""
    since_s: float
    """Unix time of its first row."""
    until_s: float
    """Unix time of its last row."""
    n_rows: int
    """Rows."""
    digest: str
    """SHA-256 over its content (hex)."""
    actor: str
    """Who made it."""
    columns: tuple[str, ...]
    """What it can be compared by."""
    is_current: bool = False
    """Whether windows are compared with it."""


@dataclass(frozen=True)
class Point:
    """One column at one comparison."""

    time_s: float
    """Unix time."""
    feature: str
    """Its name."""
    report_id: str
    """The comparison."""
    effect: float
    """Population stability index."""
    p_adjusted: float
    """P-value, corrected."""
    limit: float
    """Effect from which it counts."""
    drifted: bool
    """Whether it was flagged."""


class DriftStore:
    """References and reports of one database.

    Args:
        database: Where they are.
        clock: Unix time in seconds.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def freeze(
        self, window: Window, *, model: str = DEFAULT_MODEL, actor: str = "unknown"
    ) -> Reference:
        """Return a reference that windows of the model are compared with from now on.

        Raises:
            NotEnoughData: Fewer than 100 rows.
            CapacityError: The database cannot be reached.
        """
        rows = thinned(window)
        body, digest = pack_window(rows)
        with self._database.transaction() as connection:
            last = connection.execute(
                sa.select(sa.func.max(_REFERENCES.c.number)).where(_REFERENCES.c.model == model)
            ).scalar()
            number = (last or 0) + 1
            reference = Reference(
                f"{model}-r{number}", model, number, self._clock(), digest, actor, rows
            )
            connection.execute(
                _REFERENCES.insert().values(
                    reference_id=reference.reference_id,
                    model=model,
                    number=number,
                    model_version=rows.model_version,
                    created_s=reference.created_s,
                    since_s=reference.since_s,
                    until_s=reference.until_s,
                    n_rows=rows.n_rows,
                    digest=digest,
                    actor=actor,
                    columns=orjson.dumps([each.name for each in rows.columns]).decode(),
                    body=body,
                )
            )
        return reference

    def references(self, model: str | None = None) -> list[ReferenceBrief]:
        """Return all references without their rows, newest first; the newest is the current one."""
        query = sa.select(*(each for each in _REFERENCES.c if each.name != "body"))
        if model is not None:
            query = query.where(_REFERENCES.c.model == model)
        query = query.order_by(_REFERENCES.c.created_s.desc(), _REFERENCES.c.number.desc())
        with self._database.reading() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
        newest: dict[str, int] = {}
        for row in rows:
            newest[row["model"]] = max(row["number"], newest.get(row["model"], 0))
        return [
            ReferenceBrief(
                **{**row, "columns": tuple(orjson.loads(row["columns"]))},
                is_current=row["number"] == newest[row["model"]],
            )
            for row in rows
        ]

    def reference(
        self, model: str = DEFAULT_MODEL, *, reference_id: str | None = None
    ) -> Reference | None:
        """Return the current reference of a model, or one by its id; None before the first.

        Raises:
            UnknownName: No reference has that id.
            CorruptArtifact: It was changed in the database.
        """
        query = _REFERENCES.select()
        if reference_id is None:
            query = query.where(_REFERENCES.c.model == model)
            query = query.order_by(_REFERENCES.c.number.desc()).limit(1)
        else:
            query = query.where(_REFERENCES.c.reference_id == reference_id)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            if reference_id is None:
                return None
            known = [each.reference_id for each in self.references()]
            raise UnknownName("drift reference", reference_id, known)
        window = unpack_window(row.body, row.digest, source=f"drift reference {row.reference_id}")
        return Reference(
            row.reference_id, row.model, row.number, row.created_s, row.digest, row.actor, window
        )

    def keep(self, report: DriftReport) -> DriftReport:
        """Return the report under the id that it is kept under from now on.

        Raises:
            CapacityError: The database cannot be reached.
        """
        with self._database.transaction() as connection:
            last = connection.execute(sa.select(sa.func.max(_REPORTS.c.sequence))).scalar()
            sequence = (last or 0) + 1
            kept = replace(report, report_id=f"{report.model}-d{sequence}")
            connection.execute(
                _REPORTS.insert().values(
                    sequence=sequence,
                    report_id=kept.report_id,
                    time_s=kept.time_s,
                    model=kept.model,
                    verdict=kept.verdict,
                    body=report_bytes(kept).decode(),
                )
            )
            points = [
                {
                    "sequence": sequence,
                    "model": kept.model,
                    "feature": each.name,
                    "report_id": kept.report_id,
                    "time_s": kept.time_s,
                    "effect": each.effect,
                    "effect_limit": each.limit,
                    "p_adjusted": each.p_adjusted,
                    "drifted": int(each.drifted),
                }
                for each in kept.features
            ]
            if points:
                connection.execute(_POINTS.insert(), points)
        return kept

    def latest(self, model: str = DEFAULT_MODEL) -> DriftReport | None:
        """Return the last report of a model, None before the first."""
        query = _REPORTS.select().where(_REPORTS.c.model == model)
        return self._one(query.order_by(_REPORTS.c.sequence.desc()).limit(1))

    def report(self, report_id: str) -> DriftReport:
        """Return a report by its id.

        Raises:
            UnknownName: There is none.
        """
        found = self._one(_REPORTS.select().where(_REPORTS.c.report_id == report_id))
        if found is None:
            raise UnknownName("drift report", report_id)
        return found

    def history(
        self, model: str = DEFAULT_MODEL, *, feature: str | None = None, limit: int = 200
    ) -> list[Point]:
        """Return how columns stood at the last comparisons, newest first.

        Args:
            model: Registered model.
            feature: Only this column; None is all of them.
            limit: Most points.
        """
        query = _POINTS.select().where(_POINTS.c.model == model)
        if feature is not None:
            query = query.where(_POINTS.c.feature == feature)
        query = query.order_by(_POINTS.c.sequence.desc(), _POINTS.c.feature).limit(limit)
        with self._database.reading() as connection:
            return [_point(row) for row in connection.execute(query)]

    def forget(self, before_s: float) -> int:
        """Remove reports from before a time, ``FORGOTTEN_AT_ONCE`` at most; return how many."""
        first = sa.select(_REPORTS.c.sequence, _REPORTS.c.model, _REPORTS.c.time_s)
        first = first.order_by(_REPORTS.c.sequence).limit(FORGOTTEN_AT_ONCE)
        with self._database.reading() as connection:
            rows = connection.execute(first).all()
        gone = [(row.model, row.sequence) for row in rows if row.time_s < before_s]
        if not gone:
            return 0
        with self._database.transaction() as connection:
            for model, sequence in gone:
                its_points = (_POINTS.c.model == model) & (_POINTS.c.sequence == sequence)
                connection.execute(_POINTS.delete().where(its_points))
                connection.execute(_REPORTS.delete().where(_REPORTS.c.sequence == sequence))
        return len(gone)

    def _one(self, query: Any) -> DriftReport | None:
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return DriftReport.from_json(orjson.loads(row.body), source=f"report {row.report_id}")


def _point(row: Any) -> Point:
    return Point(
        time_s=row.time_s,
        feature=row.feature,
        report_id=row.report_id,
        effect=row.effect,
        p_adjusted=row.p_adjusted,
        limit=row.effect_limit,
        drifted=bool(row.drifted),
    )
