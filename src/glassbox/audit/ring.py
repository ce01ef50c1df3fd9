"""The windows of the latest predictions, in memory: what summaries are about.

Each registered model has one of its own, so that a busy model does not push out what a quiet one
answered. It holds a fixed number of requests and forgets the oldest. Each is completed in place as
its challengers end and its truth becomes known. Lifetime counters live beside it: they count from
the start of the process and never go down. Knows no storage; it can be filled from one.
"""

import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable
from itertools import islice
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
"""Requests in the window of a model."""

_Window = OrderedDict[str, Entry]
"""Requests by their names, oldest first."""


class AuditRing:
    """The latest requests to each model; any thread may call.

    Args:
        cap: Most requests that are held of one model.
        leaves_out: What the model of a request begins with that is not held, wherever it comes
            from; empty holds all.

    Raises:
        InvalidValue: Not at least one.
    """

    def __init__(self, cap: int = DEFAULT_CAP, *, leaves_out: str = "") -> None:
        if cap < 1:
            raise InvalidValue("cap", cap, "at least 1")
        self.cap = cap
        """Most requests that are held of one model."""
        self._leaves_out = leaves_out
        self._by_id: _Window = OrderedDict()
        self._windows: defaultdict[str, _Window] = defaultdict(OrderedDict)
        self._lock = threading.Lock()
        self._lifetime: Counter[str] = Counter()

    def add(self, primary: PrimaryEvent, *, sequence: int = 0, shadows_expected: int = 0) -> None:
        """Take a request in; the model's oldest one goes when its window is full.

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
            window = self._windows[primary.model]
            if len(window) >= self.cap:
                oldest, _ = window.popitem(last=False)
                del self._by_id[oldest]
            entry = Entry(primary, sequence, shadows_expected)
            window[primary.request_id] = self._by_id[primary.request_id] = entry
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
        return self._leave(request_id, "erasures")

    def forget(self, request_id: str) -> None:
        """Forget a request that was not acknowledged, as its record could not be written."""
        self._leave(request_id, "unrecorded")

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
        """Fill windows from their old end, as after a restart; these do not count as of this life.

        What has come in meanwhile is newer and stays.

        Args:
            records: Newest first, as ``InferenceStore.recent`` gives them.
        """
        with self._lock:
            for record in records:
                name = record.primary.request_id
                if name in self._by_id or self._is_left_out(record.primary):
                    continue
                window = self._windows[record.primary.model]
                if len(window) >= self.cap:
                    continue
                window[name] = self._by_id[name] = Entry(
                    record.primary, record.sequence, 0, record.shadows, record.label
                )
                for each in (window, self._by_id):
                    each.move_to_end(name, last=False)

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
            held = reversed(self._held(model).values())
            return [entry.record() for entry in islice(held, limit)]

    def summary(self, model: str | None = None) -> Summary:
        """Return the exact aggregates over what is held now.

        Args:
            model: Only requests to this registered model; None takes all.
        """
        with self._lock:
            entries = [entry.copy() for entry in self._held(model).values()]
            lifetime = dict(self._lifetime)
            used = self._utilisation(model)
        return summarise(entries, lifetime=lifetime, ring_utilisation=used)

    @property
    def n_held(self) -> int:
        """Requests held, of all models."""
        return len(self._by_id)

    @property
    def utilisation(self) -> float:
        """How full the fullest window is, [0, 1]."""
        with self._lock:
            return self._utilisation(None)

    def lifetime(self) -> dict[str, int]:
        """Return the counters since the process began."""
        with self._lock:
            return dict(self._lifetime)

    def _held(self, model: str | None) -> _Window:
        return self._by_id if model is None else self._windows.get(model, OrderedDict())

    def _utilisation(self, model: str | None) -> float:
        windows = self._windows.values() if model is None else [self._held(model)]
        return max(map(len, windows), default=0) / self.cap

    def _leave(self, request_id: str, counted_as: str) -> bool:
        with self._lock:
            entry = self._by_id.pop(request_id, None)
            if entry is None:
                return False
            del self._windows[entry.primary.model][request_id]
            self._lifetime[counted_as] += 1
            return True

    def _is_left_out(self, primary: PrimaryEvent) -> bool:
        return bool(self._leaves_out) and primary.model.startswith(self._leaves_out)
