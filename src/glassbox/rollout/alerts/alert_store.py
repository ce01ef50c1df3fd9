"""Where alerts stand and what is to be told, in the database: both survive the process.

An edge and its message are written in one transaction, so that none is told twice or never. Knows
neither rules nor receivers' addresses.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from glassbox.rollout.alerts.judging import AlertStanding
from glassbox.rollout.alerts.messages import AlertMessage, AlertState, Delivery, FiringAlert
from glassbox.storage.database import Database
from glassbox.storage.tables import table

AlertKey = tuple[str, str]
"""Rule and signal of an alert."""

MOST_WAITING: Final = 1000
"""Messages of one receiver that are looked at at a time."""

FARTHEST_S: Final = 900.0
"""Seconds ahead beyond which a claim or a next attempt was dated by a clock that has been set back
since: longer than any that is made."""


_STATES = table(
    "alert_states", "rule signal phase since_s quiet_since_s value limit_value severity summary"
)
_MESSAGES = table(
    "alert_messages",
    "sequence id rule signal state severity time_s since_s value limit_value summary",
)
_DELIVERIES = table(
    "alert_deliveries",
    "message_id receiver attempts next_attempt_s claimed_until_s delivered_s gave_up_s last_error",
)


class AlertBook:
    """One transaction's view of where alerts stand."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self) -> dict[AlertKey, AlertStanding]:
        """Return where every alert stands that is not well."""
        rows = self._connection.execute(_STATES.select())
        return {(row.rule, row.signal): _standing(row) for row in rows}

    def put(self, alert: FiringAlert, standing: AlertStanding | None) -> None:
        """Keep where an alert stands from now on."""
        self._connection.execute(
            _STATES.delete().where(_STATES.c.rule == alert.rule, _STATES.c.signal == alert.signal)
        )
        if standing is not None:
            self._connection.execute(
                _STATES.insert().values(
                    rule=alert.rule,
                    signal=alert.signal,
                    phase=standing.phase,
                    since_s=standing.since_s,
                    quiet_since_s=standing.quiet_since_s,
                    value=alert.value,
                    limit_value=alert.limit,
                    severity=alert.severity,
                    summary=alert.summary,
                )
            )

    def move(self, key: AlertKey, standing: AlertStanding) -> None:
        """Change where an alert stands, and nothing of what it says."""
        rule, signal = key
        self._connection.execute(
            _STATES.update()
            .where(_STATES.c.rule == rule, _STATES.c.signal == signal)
            .values(
                phase=standing.phase,
                since_s=standing.since_s,
                quiet_since_s=standing.quiet_since_s,
            )
        )

    def firing(self) -> dict[AlertKey, FiringAlert]:
        """Return the alerts that fire, as they were kept."""
        rows = self._connection.execute(_STATES.select().where(_STATES.c.phase == "firing"))
        return {(row.rule, row.signal): _firing(row) for row in rows}

    def tell(
        self, alert: FiringAlert, state: AlertState, receivers: Sequence[str], now_s: float
    ) -> AlertMessage:
        """Return a message that will be sent to each of the receivers."""
        last = self._connection.execute(sa.select(sa.func.max(_MESSAGES.c.sequence))).scalar()
        message = AlertMessage(
            id=f"alert-{secrets.token_hex(12)}",
            rule=alert.rule,
            signal=alert.signal,
            state=state,
            severity=alert.severity,
            time_s=now_s,
            since_s=alert.since_s,
            value=alert.value,
            limit=alert.limit,
            summary=alert.summary,
            delivered=tuple(Delivery(each, 0, None, "") for each in receivers),
        )
        self._connection.execute(
            _MESSAGES.insert().values(
                sequence=(last or 0) + 1,
                id=message.id,
                rule=message.rule,
                signal=message.signal,
                state=state,
                severity=message.severity,
                time_s=now_s,
                since_s=message.since_s,
                value=message.value,
                limit_value=message.limit,
                summary=message.summary,
            )
        )
        for each in receivers:
            self._connection.execute(
                _DELIVERIES.insert().values(
                    message_id=message.id,
                    receiver=each,
                    attempts=0,
                    next_attempt_s=now_s,
                    last_error="",
                )
            )
        return message

    def told(self, key: AlertKey) -> tuple[str, ...]:
        """Return the receivers of the last message about an alert."""
        rule, signal = key
        last = (
            sa.select(_MESSAGES.c.id)
            .where(_MESSAGES.c.rule == rule, _MESSAGES.c.signal == signal)
            .order_by(_MESSAGES.c.sequence.desc())
            .limit(1)
        )
        query = (
            sa.select(_DELIVERIES.c.receiver)
            .where(_DELIVERIES.c.message_id == last.scalar_subquery())
            .order_by(_DELIVERIES.c.receiver)
        )
        return tuple(self._connection.execute(query).scalars())


class AlertStore:
    """The alerts of one database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def writing(self) -> Iterator[AlertBook]:
        """Give where alerts stand, to be changed; nobody else changes it meanwhile."""
        with self._database.transaction() as connection:
            yield AlertBook(connection)

    @contextmanager
    def reading(self) -> Iterator[AlertBook]:
        """Give where alerts stand."""
        with self._database.reading() as connection:
            yield AlertBook(connection)

    def history(self, limit: int) -> tuple[AlertMessage, ...]:
        """Return messages and what became of them, newest first."""
        query = _MESSAGES.select().order_by(_MESSAGES.c.sequence.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = list(connection.execute(query))
            sent = _deliveries(connection, [row.id for row in rows])
        return tuple(replace(_message(row), delivered=sent.get(row.id, ())) for row in rows)

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait for each receiver."""
        query = (
            sa.select(_DELIVERIES.c.receiver, sa.func.count())
            .where(_DELIVERIES.c.delivered_s.is_(None), _DELIVERIES.c.gave_up_s.is_(None))
            .group_by(_DELIVERIES.c.receiver)
        )
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def claim(
        self, receiver: str, most: int, now_s: float, until_s: float
    ) -> tuple[AlertMessage, ...]:
        """Return messages that this caller alone sends until a time, oldest first.

        What comes after a message about the same alert that is not sent yet waits for it. A moment
        farther ahead than ``FARTHEST_S`` holds nothing up.
        """
        waits = (
            sa.select(_MESSAGES, _DELIVERIES.c.next_attempt_s, _DELIVERIES.c.claimed_until_s)
            .add_columns(_DELIVERIES.c.attempts)
            .join_from(_DELIVERIES, _MESSAGES, _DELIVERIES.c.message_id == _MESSAGES.c.id)
            .where(
                _DELIVERIES.c.receiver == receiver,
                _DELIVERIES.c.delivered_s.is_(None),
                _DELIVERIES.c.gave_up_s.is_(None),
            )
            .order_by(_MESSAGES.c.sequence)
            .limit(MOST_WAITING)
        )
        with self._database.reading() as connection:
            if connection.execute(waits.limit(1)).first() is None:
                return ()
        taken: list[AlertMessage] = []
        held: set[AlertKey] = set()
        with self._database.transaction() as connection:
            for row in connection.execute(waits):
                key = (row.rule, row.signal)
                ends_s = (row.claimed_until_s or now_s, row.next_attempt_s)
                if key in held or any(now_s < each <= now_s + FARTHEST_S for each in ends_s):
                    held.add(key)
                elif len(taken) < most:
                    tried = (Delivery(receiver, row.attempts, None, ""),)
                    taken.append(replace(_message(row), delivered=tried))
            self._set(connection, receiver, [each.id for each in taken], claimed_until_s=until_s)
        return tuple(taken)

    def settle(self, receiver: str, ids: Sequence[str], **values: float | str | None) -> None:
        """Write down what became of claimed messages and let go of them."""
        with self._database.transaction() as connection:
            counted = {"attempts": _DELIVERIES.c.attempts + 1, "claimed_until_s": None}
            self._set(connection, receiver, ids, **counted, **values)

    def abandon(self, known: Sequence[str], before_s: float, now_s: float) -> int:
        """Give up messages from before a time that wait for receivers unknown; return how many."""
        late = sa.select(_MESSAGES.c.id).where(_MESSAGES.c.time_s < before_s)
        waits = sa.and_(
            _DELIVERIES.c.receiver.not_in(known),
            _DELIVERIES.c.delivered_s.is_(None),
            _DELIVERIES.c.gave_up_s.is_(None),
            _DELIVERIES.c.message_id.in_(late),
        )
        given_up = {"gave_up_s": now_s, "last_error": "There is no receiver of this name any more."}
        with self._database.transaction() as connection:
            done = connection.execute(_DELIVERIES.update().where(waits).values(**given_up))
            return int(done.rowcount)

    def forget(self, before_s: float) -> int:
        """Remove messages from before a time that wait for nobody; return how many."""
        waits = sa.select(_DELIVERIES.c.message_id).where(
            _DELIVERIES.c.delivered_s.is_(None), _DELIVERIES.c.gave_up_s.is_(None)
        )
        with self._database.transaction() as connection:
            old = sa.select(_MESSAGES.c.id).where(
                _MESSAGES.c.time_s < before_s, _MESSAGES.c.id.not_in(waits)
            )
            ids = list(connection.execute(old.limit(MOST_WAITING)).scalars())
            for table, column in (
                (_DELIVERIES, _DELIVERIES.c.message_id),
                (_MESSAGES, _MESSAGES.c.id),
            ):
                connection.execute(table.delete().where(column.in_(ids)))
        return len(ids)

    @staticmethod
    def _set(connection: sa.Connection, receiver: str, ids: Sequence[str], **values: Any) -> None:
        if ids:
            connection.execute(
                _DELIVERIES.update()
                .where(_DELIVERIES.c.receiver == receiver, _DELIVERIES.c.message_id.in_(ids))
                .values(**values)
            )


def _deliveries(
    connection: sa.Connection, ids: Sequence[str]
) -> Mapping[str, tuple[Delivery, ...]]:
    query = (
        _DELIVERIES.select()
        .where(_DELIVERIES.c.message_id.in_(ids))
        .order_by(_DELIVERIES.c.receiver)
    )
    found: dict[str, tuple[Delivery, ...]] = {}
    for row in connection.execute(query):
        one = Delivery(row.receiver, row.attempts, row.delivered_s, row.last_error, row.gave_up_s)
        found[row.message_id] = (*found.get(row.message_id, ()), one)
    return found


def _standing(row: Any) -> AlertStanding:
    return AlertStanding(row.phase, row.since_s, row.quiet_since_s)


def _firing(row: Any) -> FiringAlert:
    return FiringAlert(
        rule=row.rule,
        signal=row.signal,
        severity=row.severity,
        since_s=row.since_s,
        value=row.value,
        limit=row.limit_value,
        summary=row.summary,
    )


def _message(row: Any) -> AlertMessage:
    return AlertMessage(
        id=row.id,
        rule=row.rule,
        signal=row.signal,
        state=row.state,
        severity=row.severity,
        time_s=row.time_s,
        since_s=row.since_s,
        value=row.value,
        limit=row.limit_value,
        summary=row.summary,
    )
