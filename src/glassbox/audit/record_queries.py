"""Questions about kept predictions: by name, newest first, by time, by place in the log.

Each answers from one state of the database, within a connection that someone else opened. A
record is put together from its events; what was erased is left out. Knows no writer.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from glassbox.audit.event_rows import EVENTS, TOTALS
from glassbox.audit.records import (
    ErasureEvent,
    InferenceEvent,
    InferenceRecord,
    LabelEvent,
    PredictionStatus,
    PrimaryEvent,
    ShadowEvent,
)
from glassbox.audit.request_ids import request_key
from glassbox.audit.stored_events import event_of
from glassbox.errors import InvalidValue

MOST_READ: Final = 1000
"""Events or records of one page."""

SEGMENT_LOOKBACK: Final = 200_000
"""Latest events among which a value of a segment is looked for: it has no index."""

_KEYS_AT_ONCE: Final = 500

_VERSIONS_AT_ONCE: Final = 100
"""Versions of one statement; SQLite joins 500 selections at most."""

_LEAST_INDEXED: Final = 0.01
"""Differences below it have no index."""

_RARE: Final = 10_000
"""Differences up to this number are rather sorted than searched for."""

_IS_PRIMARY: Final = EVENTS.c.kind == sa.literal_column("'primary'")
"""Written out, not bound: only then the databases see that an index of primaries will do."""

_Conditions = Sequence[sa.ColumnElement[bool]]

_NEWEST_BODIES: Final = sa.text(
    """
    WITH RECURSIVE versions (name) AS (
        SELECT min(model_version) FROM inference_events WHERE kind = 'primary'
        UNION ALL
        SELECT (
            SELECT min(model_version) FROM inference_events
            WHERE kind = 'primary' AND model_version > versions.name
        ) FROM versions WHERE versions.name IS NOT NULL
    )
    SELECT name, (
        SELECT body FROM inference_events
        WHERE kind = 'primary' AND model_version = versions.name AND body IS NOT NULL
        ORDER BY sequence DESC LIMIT 1
    ) AS body FROM versions WHERE name IS NOT NULL
    """
)
"""Every version that has answered, with the body of its newest answer: a leap over the index from
one version to the next, however many answers there are."""

_SHADOW: Final = EVENTS.alias("shadow")

_SHOWN: Final = (
    EVENTS.c.sequence,
    EVENTS.c.kind,
    EVENTS.c.time_s,
    EVENTS.c.request_id,
    EVENTS.c.body,
)


@dataclass(frozen=True)
class Wanted:
    """Which records are meant; what is None does not matter."""

    before: int | None = None
    """Only those whose answer stands before this sequence."""
    model: str | None = None
    """Registered model that was asked."""
    model_version: str | None = None
    """Version that answered."""
    status: PredictionStatus | None = None
    """How it ended."""
    label: str | None = None
    """Class that was answered."""
    min_diff: float | None = None
    """Smallest difference that any challenger must have had."""
    segment: tuple[str, str] | None = None
    """Feature and its value, among the latest ``SEGMENT_LOOKBACK`` events."""


@dataclass(frozen=True)
class EventPlace:
    """Where an event of a request stands."""

    sequence: int
    """Place in the log."""
    kind: str
    """What happened."""
    time_s: float
    """Unix time."""
    is_erased: bool
    """Whether its content is gone."""


@dataclass(frozen=True)
class StoreCounts:
    """What is kept now."""

    n_primaries: int
    """Answers and failures."""
    n_shadows: int
    """Challengers' copies."""
    n_labels: int
    """Truths told."""
    n_erasures: int
    """Requests that were erased."""
    n_body_bytes: int
    """Bytes of all bodies."""

    @property
    def n_events(self) -> int:
        """All events."""
        return self.n_primaries + self.n_shadows + self.n_labels + self.n_erasures


def events_after(
    connection: sa.Connection, after: int, limit: int, *, up_to: int | None = None
) -> list[tuple[int, InferenceEvent]]:
    """Return a page of events with their sequences, oldest first, without erased ones."""
    query = sa.select(*_SHOWN).where(EVENTS.c.sequence > after, EVENTS.c.body.is_not(None))
    if up_to is not None:
        query = query.where(EVENTS.c.sequence <= up_to)
    query = query.order_by(EVENTS.c.sequence).limit(_bounded(limit))
    return [(int(row[0]), _event(row)) for row in connection.execute(query)]


def latest_sequence(connection: sa.Connection) -> int:
    """Return the sequence of the last event; 0 without any."""
    return int(connection.execute(sa.select(sa.func.max(EVENTS.c.sequence))).scalar() or 0)


def record_of(connection: sa.Connection, request_id: str) -> InferenceRecord | None:
    """Return the record of a request; None where there is none, or it was erased.

    Where one name was used twice, it is the later answer's.
    """
    key = request_key(request_id)
    query = (
        sa.select(*_SHOWN)
        .where(EVENTS.c.request_key == key, EVENTS.c.request_id == request_id)
        .where(EVENTS.c.body.is_not(None))
        .order_by(EVENTS.c.sequence)
    )
    rows = connection.execute(query).all()
    primaries = [row for row in rows if row.kind == "primary"]
    return _record(primaries[-1], rows) if primaries else None


def places_of(connection: sa.Connection, request_id: str) -> list[EventPlace]:
    """Return where the events of a request stand, erased ones among them."""
    query = (
        sa.select(*_SHOWN[:3], EVENTS.c.body.is_(None))
        .where(EVENTS.c.request_key == request_key(request_id))
        .where(EVENTS.c.request_id == request_id)
        .order_by(EVENTS.c.sequence)
    )
    return [
        EventPlace(int(row[0]), row[1], float(row[2]), bool(row[3]))
        for row in connection.execute(query)
    ]


def known_requests(connection: sa.Connection, request_ids: Iterable[str]) -> set[str]:
    """Return those names of requests whose answer is kept."""
    wanted = {each: request_key(each) for each in request_ids}
    keys = sorted(set(wanted.values()))
    found: set[str] = set()
    for at in range(0, len(keys), _KEYS_AT_ONCE):
        query = sa.select(EVENTS.c.request_id).where(
            EVENTS.c.request_key.in_(keys[at : at + _KEYS_AT_ONCE]),
            _IS_PRIMARY,
            EVENTS.c.body.is_not(None),
        )
        found.update(connection.execute(query).scalars())
    return found & wanted.keys()


def latest_records(connection: sa.Connection, limit: int, wanted: Wanted) -> list[InferenceRecord]:
    """Return records, newest first."""
    limit = max(1, limit)
    conditions = _conditions(connection, wanted)
    versions = _versions_wanted(connection, wanted)
    rare = None if wanted.min_diff is None else _rare_shadows(connection, wanted.min_diff)
    if wanted.min_diff is not None and rare is None:
        conditions.append(_differs_by(wanted.min_diff))
    if rare is not None:
        if versions is not None:
            conditions.append(EVENTS.c.model_version.in_(versions))
        primaries = _latest_under(connection, rare, conditions, limit)
    elif versions is None:
        primaries = list(connection.execute(_latest(conditions, limit)))
    else:
        # The text put together keeps the index of versions away.
        near = [*conditions, EVENTS.c.model_version.concat("").in_(versions)]
        if wanted.status != "error":  # they are few and have an index
            end = wanted.before or latest_sequence(connection)
            near.append(EVENTS.c.sequence > end - 4 * limit)
        primaries = list(connection.execute(_latest(near, limit)))
        if len(primaries) < limit and wanted.status != "error":
            primaries = _latest_of_versions(connection, versions, conditions, limit)
    return complete_records(connection, primaries)


def records_between(
    connection: sa.Connection, since_s: float, until_s: float, model_version: str | None
) -> Iterator[list[InferenceRecord]]:
    """Yield pages of the records answered in ``[since_s, until_s)``, oldest first."""
    time_s, sequence = since_s, -1
    while True:
        query = sa.select(*_SHOWN).where(
            _IS_PRIMARY,
            EVENTS.c.body.is_not(None),
            EVENTS.c.time_s >= time_s,
            EVENTS.c.time_s < until_s,
            sa.or_(EVENTS.c.time_s > time_s, EVENTS.c.sequence > sequence),
        )
        if model_version is not None:
            query = query.where(EVENTS.c.model_version == model_version)
        query = query.order_by(EVENTS.c.time_s, EVENTS.c.sequence).limit(MOST_READ)
        page = connection.execute(query).all()
        if page:
            yield complete_records(connection, page)
        if len(page) < MOST_READ:
            return
        time_s, sequence = float(page[-1].time_s), int(page[-1].sequence)


def complete_records(connection: sa.Connection, primaries: Sequence[Any]) -> list[InferenceRecord]:
    """Return the records whose primaries' rows these are, in their order."""
    ids = {row.request_id for row in primaries}
    keys = sorted({request_key(each) for each in ids})
    others: dict[str, list[Any]] = defaultdict(list)
    for at in range(0, len(keys), _KEYS_AT_ONCE):
        query = sa.select(*_SHOWN).where(
            EVENTS.c.request_key.in_(keys[at : at + _KEYS_AT_ONCE]),
            EVENTS.c.kind.in_(("shadow", "label")),
            EVENTS.c.body.is_not(None),
        )
        for row in connection.execute(query.order_by(EVENTS.c.sequence)):
            others[row.request_id].append(row)
    return [_record(row, others[row.request_id]) for row in primaries]


def counts(connection: sa.Connection) -> StoreCounts:
    """Return how much is kept, at once whatever it is."""
    found = {row.kind: row for row in connection.execute(sa.select(TOTALS))}
    n_events = {kind: int(row.n_events) for kind, row in found.items()}
    return StoreCounts(
        n_primaries=n_events.get("primary", 0),
        n_shadows=n_events.get("shadow", 0),
        n_labels=n_events.get("label", 0),
        n_erasures=n_events.get("erasure", 0),
        n_body_bytes=sum(int(row.n_bytes) for row in found.values()),
    )


def _conditions(connection: sa.Connection, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found = [_IS_PRIMARY, EVENTS.c.body.is_not(None)]
    if wanted.before is not None:
        found.append(EVENTS.c.sequence < wanted.before)
    if wanted.status is not None:
        # Written out for the sake of the index of errors; it is one of two words.
        word = "error" if wanted.status == "error" else "success"
        found.append(EVENTS.c.status == sa.literal_column(f"'{word}'"))
    if wanted.label is not None:
        found.append(EVENTS.c.label == wanted.label)
    if wanted.segment is not None:
        found.extend(_segment_conditions(connection, wanted.segment, wanted.before))
    return found


def _segment_conditions(
    connection: sa.Connection, segment: tuple[str, str], before: int | None
) -> list[sa.ColumnElement[bool]]:
    name, value = (orjson.dumps(each) for each in segment)
    last = latest_sequence(connection) if before is None else before
    # Inside the object of segments, which holds texts only: nothing else can look like this pair
    # unless it is kept under the same name, which the allow-list of features may do.
    needle = name + b":" + value
    is_postgres = connection.dialect.name == "postgresql"
    place = (
        sa.func.position(sa.bindparam("needle", needle, sa.LargeBinary).op("IN")(EVENTS.c.body))
        if is_postgres
        else sa.func.instr(EVENTS.c.body, needle)
    )
    return [EVENTS.c.sequence > last - SEGMENT_LOOKBACK, place > 0]


def _versions_wanted(connection: sa.Connection, wanted: Wanted) -> list[str] | None:
    """Return the versions whose answers are meant; None where it does not matter."""
    if wanted.model is None:
        return None if wanted.model_version is None else [wanted.model_version]
    # The name of a version is unique over all models: any answer of it tells whose it is.
    found = [
        row.name
        for row in connection.execute(_NEWEST_BODIES)
        if row.body is not None and orjson.loads(row.body)["model"] == wanted.model
    ]
    return [each for each in found if wanted.model_version in (None, each)]


def _latest(conditions: _Conditions, limit: int) -> sa.Select[tuple[Any, ...]]:
    query = sa.select(*_SHOWN).where(*conditions)
    return query.order_by(EVENTS.c.sequence.desc()).limit(limit)


def _latest_of_versions(
    connection: sa.Connection, versions: Sequence[str], conditions: _Conditions, limit: int
) -> list[Any]:
    """Return the latest of some versions' answers, of each the latest by its index."""
    found: list[Any] = []
    for at in range(0, len(versions), _VERSIONS_AT_ONCE):
        each = [
            _latest([*conditions, EVENTS.c.model_version == name], limit).subquery()
            for name in versions[at : at + _VERSIONS_AT_ONCE]
        ]
        query = sa.union_all(*(sa.select(one) for one in each))
        found.extend(connection.execute(query.order_by(sa.desc("sequence")).limit(limit)))
    return sorted(found, key=lambda row: row.sequence, reverse=True)[:limit]


def _differs_by(least: float) -> sa.ColumnElement[bool]:
    """Return the condition that a challenger differed from an answer by at least this."""
    # As a number and not as EXISTS, for which PostgreSQL may read every shadow there is.
    largest = sa.select(sa.func.max(_SHADOW.c.diff)).where(
        _SHADOW.c.request_key == EVENTS.c.request_key,
        _SHADOW.c.request_id == EVENTS.c.request_id,
        _SHADOW.c.kind == sa.literal_column("'shadow'"),
    )
    return largest.scalar_subquery() >= least


def _rare_shadows(connection: sa.Connection, least: float) -> list[int] | None:
    """Return where shadows that differ by this are found in their index; None for too many."""
    if least < _LEAST_INDEXED:
        return None
    indexed = EVENTS.c.diff >= sa.literal_column(str(_LEAST_INDEXED))
    query = sa.select(EVENTS.c.sequence).where(indexed, EVENTS.c.diff >= least).limit(_RARE)
    found = list(connection.execute(query).scalars())
    return found if len(found) < _RARE else None


def _latest_under(
    connection: sa.Connection, shadows: Sequence[int], conditions: _Conditions, limit: int
) -> list[Any]:
    """Return the latest answers that meet conditions, of those that some shadows belong to."""
    found: dict[int, Any] = {}
    requests = sa.select(EVENTS.c.request_key, EVENTS.c.request_id)
    for at in range(0, len(shadows), _KEYS_AT_ONCE):
        those = requests.where(EVENTS.c.sequence.in_(shadows[at : at + _KEYS_AT_ONCE]))
        keys, names = map(set, zip(*connection.execute(those), strict=True))
        answers = sa.select(*_SHOWN).where(*conditions, EVENTS.c.request_key.in_(sorted(keys)))
        for row in connection.execute(answers):
            if row.request_id in names:
                found[row.sequence] = row
    return [found[sequence] for sequence in sorted(found, reverse=True)[:limit]]


def _record(primary: Any, rows: Sequence[Any]) -> InferenceRecord:
    event = _event(primary)
    if not isinstance(event, PrimaryEvent):
        raise InvalidValue("event", type(event).__name__, "an answer")
    others = [_event(row) for row in rows if row.kind != "primary"]
    labels = [each for each in others if isinstance(each, LabelEvent)]
    return InferenceRecord(
        primary=event,
        shadows=tuple(each for each in others if isinstance(each, ShadowEvent)),
        label=labels[-1] if labels else None,
        sequence=int(primary.sequence),
    )


def _event(row: Any) -> PrimaryEvent | ShadowEvent | LabelEvent | ErasureEvent:
    return event_of(row.kind, float(row.time_s), row.request_id, bytes(row.body))


def _bounded(limit: int) -> int:
    return max(1, min(limit, MOST_READ))
