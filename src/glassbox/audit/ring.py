"""The window of the latest predictions, in memory: what the summary is about.

It holds a fixed number of requests and forgets the oldest. Each is completed in place as its
challengers end and its truth becomes known. Lifetime counters live beside it: they count from the
start of the process and never go down. Knows no storage; it can be filled from one.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from glassbox.audit.records import (
    ErasureEvent,
    InferenceEvent,
    InferenceRecord,
    LabelEvent,
    PrimaryEvent,
    ShadowEvent,
)
from glassbox.audit.summary import Entry, Summary, summarise
from glassbox.errors import InvalidValue

DEFAULT_CAP: Final = 1000
"""Requests in the window."""


class AuditRing:
    """The latest requests; any thread may call.

    Args:
        cap: Most requests that are held.
        leaves_out: What the model of a request begins with that is not held, wherever it comes
            from; empty holds all.

    Raises:
        InvalidValue: Not at least one.
    """

    def __init__(self, cap: int = DEFAULT_CAP, *, leaves_out: str = "") -> None:
        if cap < 1:
            raise InvalidValue("cap", cap, "at least 1")
        self.cap = cap
        """Most requests that are held."""
        self._leaves_out = leaves_out
        self._entries: deque[Entry] = deque()
        self._by_id: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._lifetime: Counter[str] = Counter()

    def add(self, primary: PrimaryEvent, *, sequence: int = 0, shadows_expected: int = 0) -> None:
        """Take a request in; the oldest one goes when the window is full.

        A request that is there already only gets its sequence: it may come back by way of
        storage.

        Args:
            primary: What was answered.
            sequence: Its place in the durable log; 0 where it is not there yet.
            shadows_expected: Challengers that got a copy and have not ended yet.
        """
        if self._is_left_out(primary):
            return
        with self._lock:
            entry = self._by_id.get(primary.request_id)
            if entry is not None:
                entry.sequence = entry.sequence or sequence
                return
            self._push(Entry(primary, sequence, shadows_expected))
            self._lifetime["inferences"] += 1
            if primary.status == "error":
                self._lifetime["errors"] += 1

    def complete(self, shadow: ShadowEvent) -> bool:
        """Put a challenger's end to its request; return whether the request is still held.

        One that comes a second time, by way of storage, changes nothing.
        """
        with self._lock:
            entry = self._by_id.get(shadow.request_id)
            if entry is not None:
                if shadow in entry.shadows:
                    return True
                entry.shadows += (shadow,)
            word = "shadow" if shadow.role == "challenger" else "noise_floor"
            self._lifetime[f"{word}_{shadow.status}"] += 1
            return entry is not None

    def label(self, label: LabelEvent) -> bool:
        """Put the truth to its request; return whether the request is still held."""
        with self._lock:
            entry = self._by_id.get(label.request_id)
            if entry is not None:
                if entry.label == label:
                    return True
                entry.label = label
            self._lifetime["labels"] += 1
            return entry is not None

    def erase(self, request_id: str) -> bool:
        """Forget a request; return whether it was held."""
        with self._lock:
            entry = self._by_id.pop(request_id, None)
            if entry is None:
                return False
            self._entries.remove(entry)
            self._lifetime["erasures"] += 1
            return True

    def forget(self, request_id: str) -> None:
        """Forget a request that was not acknowledged, as its record could not be written."""
        with self._lock:
            entry = self._by_id.pop(request_id, None)
            if entry is not None:
                self._entries.remove(entry)
                self._lifetime["unrecorded"] += 1

    def take(self, events: Iterable[tuple[int, InferenceEvent]]) -> None:
        """Take in events with their sequences, as another process wrote them."""
        for sequence, event in events:
            if isinstance(event, PrimaryEvent):
                self.add(event, sequence=sequence)
            elif isinstance(event, ShadowEvent):
                self.complete(event)
            elif isinstance(event, LabelEvent):
                self.label(event)
            elif isinstance(event, ErasureEvent):
                self.erase(event.request_id)

    def fill(self, records: Iterable[InferenceRecord]) -> None:
        """Fill a window from its old end, as after a restart; these do not count as of this life.

        What has come in meanwhile is newer and stays.

        Args:
            records: Newest first, as ``InferenceStore.recent`` gives them.
        """
        with self._lock:
            for record in records:
                if len(self._entries) >= self.cap:
                    return
                if self._is_left_out(record.primary):
                    continue
                if record.primary.request_id not in self._by_id:
                    entry = Entry(record.primary, record.sequence, 0)
                    entry.shadows = record.shadows
                    entry.label = record.label
                    self._entries.appendleft(entry)
                    self._by_id[record.primary.request_id] = entry

    def find(self, request_id: str) -> InferenceRecord | None:
        """Return the record of a request; None where it is not held (any more)."""
        with self._lock:
            entry = self._by_id.get(request_id)
            return None if entry is None else entry.record()

    def awaits(self, request_id: str) -> bool:
        """Return whether a request is held whose challengers have not all ended."""
        with self._lock:
            entry = self._by_id.get(request_id)
            return entry is not None and entry.n_awaited > 0

    def records(self, limit: int | None = None, model: str | None = None) -> list[InferenceRecord]:
        """Return the records held, or those of one registered model, newest first."""
        with self._lock:
            entries = [
                entry for entry in reversed(self._entries) if model in (None, entry.primary.model)
            ]
            return [entry.record() for entry in entries[:limit]]

    def summary(self, model: str | None = None) -> Summary:
        """Return the exact aggregates over what is held now.

        Args:
            model: Only requests to this registered model; None takes all.
        """
        with self._lock:
            entries = [entry.copy() for entry in self._entries]
            lifetime = dict(self._lifetime)
        if model is not None:
            chosen = [entry for entry in entries if entry.primary.model == model]
        else:
            chosen = entries
        return summarise(chosen, lifetime=lifetime, ring_utilisation=len(entries) / self.cap)

    @property
    def utilisation(self) -> float:
        """How full the window is, [0, 1]."""
        return len(self._entries) / self.cap

    def lifetime(self) -> dict[str, int]:
        """Return the counters since the process began."""
        with self._lock:
            return dict(self._lifetime)

    def _is_left_out(self, primary: PrimaryEvent) -> bool:
        return bool(self._leaves_out) and primary.model.startswith(self._leaves_out)

    def _push(self, entry: Entry) -> None:
        if len(self._entries) >= self.cap:
            gone = self._entries.popleft()
            self._by_id.pop(gone.primary.request_id, None)
        self._entries.append(entry)
        self._by_id[entry.primary.request_id] = entry
