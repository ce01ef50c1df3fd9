"""The durable log of predictions: record, find, follow, erase, remove, verify.

What is recorded is an event; a record is the view over the events of one request. Two levels of
durability. ``strict``: a future tells when the event is on the disk, and a request that waits for
it is answered only then, so nothing that was acknowledged is ever lost. ``group``: events wait at
most ``group_ms`` for the disk, and the end of the process by force loses these at most.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final, Literal

from glassbox.audit import record_queries, removal, verification
from glassbox.audit.anchors import Anchor, read_anchors
from glassbox.audit.event_rows import chain_end
from glassbox.audit.group_writer import GroupWriter, WriterStatus
from glassbox.audit.log import Head
from glassbox.audit.record_queries import EventPlace, StoreCounts, Wanted
from glassbox.audit.records import InferenceEvent, InferenceRecord, PredictionStatus
from glassbox.errors import CapacityError, CorruptArtifact
from glassbox.storage.database import Database

Durability = Literal["group", "strict"]
"""When an event is on the disk: within the group's time, or before its request is answered."""

OnEvents = Callable[[Sequence[tuple[int, InferenceEvent]]], None]
"""Told events with their sequences, in order."""

FLUSH_TIMEOUT_S: Final = 30.0
"""How long closing waits for what is in the queue."""

FOLLOW_S: Final = 0.25
"""Between two looks for what other processes have written."""


class InferenceStore:
    """The predictions of one database, written and read by any number of processes.

    Args:
        database: Where they are.
        durability: ``group`` or ``strict``.
        group_ms: Milliseconds after which an event is on the disk, in ``group``.
        queue: Events that may wait for the writer.
        clock: Unix time in seconds.
        on_events: Told, in order and from a thread of its own, what this store has not recorded:
            events of other processes, and erasures.
    """

    def __init__(
        self,
        database: Database,
        *,
        durability: Durability = "group",
        group_ms: float = 50.0,
        queue: int = 100_000,
        clock: Callable[[], float] = time.time,
        on_events: OnEvents | None = None,
    ) -> None:
        self.database = database
        """Where they are; whoever opened it closes it, after the store."""
        self.durability: Durability = durability
        """When an event is on the disk."""
        self._clock = clock
        self._options: dict[str, Any] = {
            "strict": durability == "strict",
            "group_s": group_ms / 1000,
            "most_waiting": queue,
        }
        self._writer: GroupWriter | None = None
        self._making = threading.Lock()
        self._own: deque[tuple[int, int]] = deque()
        self._on_events = on_events
        self._is_closed = threading.Event()
        self._follower: threading.Thread | None = None
        if on_events is not None:
            with database.reading() as connection:
                start = record_queries.latest_sequence(connection)
            self._follower = threading.Thread(
                target=self._follow, args=(start,), name="glassbox-audit-follow", daemon=True
            )
            self._follower.start()

    def record(self, event: InferenceEvent) -> "Future[int] | None":
        """Take an event down.

        Returns:
            In ``strict`` a future that is done when the event is on the disk, with its sequence;
            a request whose future fails must not be answered. In ``group`` None at once, or, when
            the queue is full, after at most 50 ms; see ``status`` for what is lost if it stays so.

        Raises:
            InvalidValue: A time that is not finite, or a request's name that is none. An event
                that holds what JSON cannot say fails its future, or is counted and told in the
                audit log.
            ConflictError: The store was closed.
        """
        writer = self._writer or self._make_writer()
        return writer.put(event)

    def now_s(self) -> float:
        """Return the Unix time by the store's clock."""
        return self._clock()

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Return once everything recorded so far is on the disk.

        Raises:
            DeadlineExceeded: It took longer; says what the database answers.
        """
        if self._writer is not None:
            self._writer.flush(timeout_s)

    def close(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Write what waits and end the threads; the database stays open.

        Raises:
            DeadlineExceeded: Something could not be written in time.
        """
        self._is_closed.set()
        if self._follower is not None:
            self._follower.join(timeout_s)
        if self._writer is not None:
            self._writer.close(timeout_s)

    def status(self) -> WriterStatus:
        """Return how the writer is doing."""
        if self._writer is None:
            return WriterStatus(0, 0, 0, 0, None, 0.0, "")
        return self._writer.status()

    def read(self, after: int = 0, limit: int = 1000) -> list[tuple[int, InferenceEvent]]:
        """Return a page of events with their sequences, oldest first; erased ones are left out.

        Args:
            after: Only those behind this sequence.
            limit: Most events, up to 1,000.

        Raises:
            CapacityError: The database cannot be reached; as of every question below.
        """
        with self.database.reading() as connection:
            return record_queries.events_after(connection, after, limit)

    def find(self, request_id: str) -> InferenceRecord | None:
        """Return the record of a request; None where there is none, or it was erased."""
        with self.database.reading() as connection:
            return record_queries.record_of(connection, request_id)

    def places(self, request_id: str) -> list[EventPlace]:
        """Return where the events of a request stand in the log, erased ones among them."""
        with self.database.reading() as connection:
            return record_queries.places_of(connection, request_id)

    def known(self, request_ids: Iterable[str]) -> set[str]:
        """Return those names of requests whose answer is kept."""
        with self.database.reading() as connection:
            return record_queries.known_requests(connection, request_ids)

    def recent(  # noqa: PLR0913  the filters of one question, each named where it is asked
        self,
        limit: int = 100,
        *,
        before: int | None = None,
        model: str | None = None,
        model_version: str | None = None,
        status: PredictionStatus | None = None,
        label: str | None = None,
        min_diff: float | None = None,
        segment: tuple[str, str] | None = None,
    ) -> list[InferenceRecord]:
        """Return records, newest first.

        Args:
            limit: Most records.
            before: Only those whose answer stands before this sequence.
            model: Only those that were asked of this registered model.
            model_version: Only those that this version answered.
            status: Only those that ended so.
            label: Only those that were answered so.
            min_diff: Only those from which a challenger differed by at least this.
            segment: Only those with this value of a feature, among the latest 200,000 events.
        """
        wanted = Wanted(before, model, model_version, status, label, min_diff, segment)
        with self.database.reading() as connection:
            return record_queries.latest_records(connection, limit, wanted)

    def range(
        self, since_s: float, until_s: float, *, model_version: str | None = None
    ) -> Iterator[InferenceRecord]:
        """Yield the records answered in ``[since_s, until_s)``, oldest first, a page at a time.

        The iterator holds a connection until it is used up or closed.
        """
        with self.database.reading() as connection:
            for page in record_queries.records_between(connection, since_s, until_s, model_version):
                yield from page

    def counts(self) -> StoreCounts:
        """Return how much is kept."""
        with self.database.reading() as connection:
            return record_queries.counts(connection)

    def head(self) -> Head:
        """Return where the log ends; keep it elsewhere to see later that nothing is missing."""
        with self.database.reading() as connection:
            end = chain_end(connection)
        return Head(end.sequence, end.hash.hex())

    def anchors(self) -> list[Anchor]:
        """Return what retention has left of removed events, oldest first."""
        with self.database.reading() as connection:
            return read_anchors(connection)

    def erase(self, request_id: str, *, actor: str, reason: str) -> int:
        """Take away the content of a request's events and return how many had one.

        What this process still has in its queue is written first. Events of the request that
        come later, a challenger's as an example, are not kept either.

        Raises:
            UnknownName: No event of that name is kept.
            InvalidValue: No actor or no reason.
        """
        self.flush()
        return removal.erase(
            self.database, request_id, actor=actor, reason=reason, time_s=self._clock()
        )

    def retain(
        self, *, max_age_s: float | None = None, max_bytes: int | None = None
    ) -> removal.Retained:
        """Remove the oldest events until none is too old and the rest fits; leave an anchor."""
        return removal.retain(
            self.database, max_age_s=max_age_s, max_bytes=max_bytes, clock=self._clock
        )

    def verify(self, known: Head | None = None) -> verification.Verification:
        """Walk the whole log and say where it breaks first; see ``verification.verify``."""
        return verification.verify(self.database, known)

    def _make_writer(self) -> GroupWriter:
        with self._making:
            if self._writer is None:
                self._writer = GroupWriter(
                    self.database,
                    **self._options,
                    own=None if self._on_events is None else self._own,
                    clock=self._clock,
                )
            return self._writer

    def _follow(self, after: int) -> None:
        while not self._is_closed.wait(FOLLOW_S):
            try:
                after = self._follow_once(after)
            except CapacityError:
                # The next look finds what this one did not.
                continue

    def _follow_once(self, after: int) -> int:
        with self.database.reading() as connection:
            last = record_queries.latest_sequence(connection)
        while after < last:
            while self._own and self._own[0][1] <= after:
                self._own.popleft()
            first, end = self._own[0] if self._own else (last + 1, last + 1)
            if first <= after + 1:
                after = end
                continue
            after = self._pass_on(after, min(last, first - 1))
        return after

    def _pass_on(self, after: int, up_to: int) -> int:
        try:
            with self.database.reading() as connection:
                page = record_queries.events_after(connection, after, 1000, up_to=up_to)
        except CorruptArtifact:
            # Someone changed what was written: no news for the window; verification names it.
            return up_to
        if page and self._on_events is not None:
            self._on_events(page)
        return page[-1][0] if len(page) == record_queries.MOST_READ else up_to
