"""Rules over signals: who is told that something began, and that it is over.

``look`` compares and writes down, ``deliver`` sends; both may be called by any number of processes
over one database, and nothing is told twice. Some signals are one process's own, as how full its
queue is: what one of them sees alone, the others do not take back. Knows neither where signals
come from nor how a receiver is reached.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from glassbox.errors import ConflictError, UnknownName
from glassbox.rollout.alerts.alert_store import AlertBook, AlertKey, AlertStore
from glassbox.rollout.alerts.judging import AlertStanding, Increases, Step, elsewhere_s, step
from glassbox.rollout.alerts.messages import AlertMessage, AlertState, FiringAlert
from glassbox.rollout.alerts.outbox import Outbox
from glassbox.rollout.alerts.receivers import Receiver
from glassbox.rollout.alerts.rules import AlertRule
from glassbox.rollout.alerts.signals import value_of
from glassbox.storage.database import Database

MOST_ALERTS: Final = 200
"""Signals that one rule with a star looks at; further ones are left out, the first by name stay."""

_log = logging.getLogger("glassbox.server.alerts")


@dataclass(frozen=True)
class _Seen:
    """What one look saw of one alert."""

    rule: AlertRule
    signal: str
    value: float | None
    is_beyond: bool | None

    @property
    def key(self) -> AlertKey:
        return self.rule.name, self.signal


class AlertEngine:
    """The alerts of one server.

    Args:
        database: Where they stand and what is to be sent.
        rules: What is worth telling.
        receivers: Who is told, by name.
        clock: Unix time in seconds.
        interval_s: Seconds between two looks of each of the servers.

    Raises:
        ConflictError: Two rules have one name.
        UnknownName: A rule names a receiver that there is not.
    """

    def __init__(
        self,
        database: Database,
        rules: Sequence[AlertRule],
        receivers: Mapping[str, Receiver],
        clock: Callable[[], float] = time.time,
        *,
        interval_s: float = 5.0,
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        if len(self._rules) != len(rules):
            raise ConflictError("Two alert rules have one name; each needs its own.")
        for rule in rules:
            for name in rule.receivers or ():
                if name not in receivers:
                    raise UnknownName(f"receiver of rule {rule.name!r}", name, receivers)
        self._receivers = tuple(receivers)
        self._store = AlertStore(database)
        self._outbox = Outbox(self._store, receivers, clock)
        self._clock = clock
        self._elsewhere_s = elsewhere_s(interval_s)
        self._increases = Increases()
        self._latest: dict[AlertKey, float | None] = {}
        # What this process has seen beyond its limit itself; None before its first look.
        self._ours: set[AlertKey] | None = None
        self._lock = threading.Lock()

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """The rules, in the order of their file."""
        return tuple(self._rules.values())

    def look(self, signals: Mapping[str, float]) -> tuple[AlertMessage, ...]:
        """Compare the signals with the rules and return the messages that follow, if any.

        They are in the outbox then. Where nothing changes, nothing is written.

        Args:
            signals: Numbers by path, as ``signals.flattened`` returns them.

        Raises:
            CapacityError: The database cannot be reached; the next look makes up for it.
        """
        with self._lock:
            now_s = self._clock()
            with self._store.reading() as book:
                before = book.all()
            seen = self._seen(signals, before, now_s)
            self._latest = {each.key: each.value for each in seen}
            ours = self._ours = self._seen_here(seen, before)
            if not self._changes(seen, before, ours, now_s) and not self._removed(before):
                return ()
            with self._store.writing() as book:
                # Another process may have looked meanwhile: what it wrote counts.
                before = book.all()
                changes = self._changes(seen, before, ours, now_s)
                said = [self._write(book, *each) for each in changes]
                said += [self._end(book, key, now_s) for key in self._removed(before)]
            # What begins again after this look is ours once we see it ourselves.
            self._ours = ours - {each.key for each, after in changes if after.standing is None}
            return tuple(message for message in said if message is not None)

    def deliver(self) -> int:
        """Send what is due and return how many messages were taken, one for each receiver.

        A receiver that hangs holds this call up for seconds, so call it on a thread of its own.

        Raises:
            CapacityError: The database cannot be reached; nothing is lost by that.
        """
        return self._outbox.deliver()

    def firing(self) -> tuple[FiringAlert, ...]:
        """Return the alerts that fire, the one that began last first.

        Raises:
            CapacityError: The database cannot be reached.
        """
        with self._store.reading() as book:
            kept = book.firing()
        ours = self._ours or set()
        latest = {key: value for key, value in self._latest.items() if key in ours}
        shown = (
            alert if latest.get(key) is None else replace(alert, value=latest[key])
            for key, alert in kept.items()
        )
        return tuple(sorted(shown, key=lambda alert: (-alert.since_s, alert.rule, alert.signal)))

    def history(self, limit: int = 100) -> tuple[AlertMessage, ...]:
        """Return the latest messages and what became of them, newest first.

        Raises:
            CapacityError: The database cannot be reached.
        """
        return self._store.history(limit)

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait for each receiver that any wait for.

        Raises:
            CapacityError: The database cannot be reached.
        """
        return self._store.waiting()

    def _seen(
        self, signals: Mapping[str, float], known: Mapping[AlertKey, AlertStanding], now_s: float
    ) -> list[_Seen]:
        seen: list[_Seen] = []
        for rule in self._rules.values():
            names = {rule.signal}
            if rule.is_pattern:
                fitting = sorted(filter(rule.fits, signals))
                if len(fitting) > MOST_ALERTS:
                    n_more = len(fitting) - MOST_ALERTS
                    _log.warning("rule %r fits too much: %d signals left out", rule.name, n_more)
                    del fitting[MOST_ALERTS:]
                names = {signal for name, signal in known if name == rule.name} | {*fitting}
            for signal in sorted(names):
                value = value_of(signals, signal)
                if value is not None and rule.increase_over_s is not None:
                    value = self._increases.grown(signal, value, rule.increase_over_s, now_s)
                seen.append(_Seen(rule, signal, value, _beyond(rule, value, signals)))
        return seen

    def _seen_here(
        self, seen: Sequence[_Seen], before: Mapping[AlertKey, AlertStanding]
    ) -> set[AlertKey]:
        """Return what this process saw itself; of an earlier life nobody knows, so all counts."""
        known = set(before) if self._ours is None else self._ours & set(before)
        return known | {each.key for each in seen if each.is_beyond}

    def _changes(
        self,
        seen: Sequence[_Seen],
        before: Mapping[AlertKey, AlertStanding],
        ours: set[AlertKey],
        now_s: float,
    ) -> list[tuple[_Seen, Step]]:
        changes = []
        for each in seen:
            standing = before.get(each.key)
            least_s = 0.0 if each.key in ours else self._elsewhere_s
            after = step(each.rule, standing, each.is_beyond, now_s, least_quiet_s=least_s)
            if after.standing != standing or after.edge is not None:
                changes.append((each, after))
        return changes

    def _removed(self, before: Mapping[AlertKey, AlertStanding]) -> list[AlertKey]:
        return [key for key in before if key[0] not in self._rules]

    def _write(self, book: AlertBook, seen: _Seen, after: Step) -> AlertMessage | None:
        rule, standing = seen.rule, after.standing
        if standing is not None and after.edge is None and not seen.is_beyond:
            # What it began with stays: another process may still see it.
            book.move(seen.key, standing)
            return None
        since_s = standing.since_s if standing is not None else after.since_s
        alert = FiringAlert(
            rule=rule.name,
            signal=seen.signal,
            severity=rule.severity,
            since_s=since_s,
            value=seen.value,
            limit=rule.limit,
            summary=_sentence(seen, after.edge or "firing"),
        )
        book.put(alert, standing)
        if after.edge is None:
            return None
        receivers = self._receivers if rule.receivers is None else rule.receivers
        return book.tell(alert, after.edge, receivers, self._clock())

    def _end(self, book: AlertBook, key: AlertKey, now_s: float) -> AlertMessage | None:
        """End an alert whose rule is not there any more."""
        alert = book.firing().get(key)
        if alert is None:
            rule, signal = key
            book.put(FiringAlert(rule, signal, "info", now_s, None, 0.0, ""), None)
            return None
        book.put(alert, None)
        ended = replace(alert, value=None, summary=f"{alert.rule}: the rule was removed.")
        told = [name for name in book.told(key) if name in self._receivers]
        return book.tell(ended, "resolved", told, now_s)


def _beyond(rule: AlertRule, value: float | None, signals: Mapping[str, float]) -> bool | None:
    if rule.only_if is not None:
        found = value_of(signals, rule.only_if.signal)
        if found is None or not rule.only_if.holds(found):
            return None
    if value is None:
        return True if rule.missing == "fire" else None
    return rule.holds(value)


def _sentence(seen: _Seen, state: AlertState) -> str:
    rule = seen.rule
    about = (rule.summary or rule.name).rstrip(".")
    grown = "" if rule.increase_over_s is None else f" grew in {rule.increase_over_s:g} s by"
    if seen.value is None:
        now = f"{seen.signal} is not reported"
    else:
        now = f"{seen.signal}{grown or ' is'} {seen.value:.4g}"
    if state == "resolved":
        return f"{about}: over; {now}, limit {rule.limit:g}."
    return f"{about}: {now}, {rule.said}."
