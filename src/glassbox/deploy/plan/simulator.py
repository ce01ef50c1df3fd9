"""Servers that share their speed among requests, many of them at once, event by event.

One server: up to ``n_rows`` requests advance at a time, each at a speed that depends on how many
there are; more wait in order of arrival, up to a bound, and those beyond are turned away. That is
what a server with a running batch does, and with a constant speed it is the textbook's M/G/c. Every
lane is a server of its own with its own arrivals; all lanes take one event at a time, together, so
that a step is a few operations on whole arrays. Knows times and sizes; knows no clock, no day and
no fleet. ``one_by_one.py`` does the same slowly and obviously.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from glassbox.errors import InvalidValue

FIRST_ROWS = 8
"""Requests a lane has room for at first; doubled whenever a lane needs more, up to its limit."""

_LARGE_BYTES = 16 << 20
"""A block that the C library takes from the system by itself."""


@dataclass(frozen=True, eq=False)
class ServerModel:
    """How fast a server is, by how many requests it works on."""

    speeds: Float[np.ndarray, " n_rows"]
    """At place k - 1 the speed of each of k requests: how much of a request of size 1 is done in a
    second; above 0, never growing."""
    n_waiting: int
    """Requests that may wait beside them; those beyond are turned away."""

    def __post_init__(self) -> None:
        speeds = np.asarray(self.speeds)
        if not len(speeds) or not (np.isfinite(speeds).all() and (speeds > 0).all()):
            raise InvalidValue("speeds", self.speeds, "one or more finite numbers above 0")
        if self.n_waiting < 0:
            raise InvalidValue("n_waiting", self.n_waiting, "0 or more")

    @property
    def n_rows(self) -> int:
        """Most requests at a time."""
        return len(self.speeds)

    @cached_property
    def rates(self) -> Float[np.ndarray, " n_rows"]:
        """Requests of size 1 that k at a time finish in a second, at place k - 1."""
        return self.speeds * np.arange(1, self.n_rows + 1)

    @cached_property
    def peak_rate(self) -> float:
        """Highest of them, requests a second: more than that no fleet of such servers answers."""
        return float(self.rates.max())

    @cached_property
    def alone_s(self) -> float:
        """Seconds that a request of size 1 takes when it is alone."""
        return float(1 / self.speeds[0])


def simulate(
    server: ServerModel,
    arrivals: Float[np.ndarray, "n_lanes n_requests"],
    sizes: Float[np.ndarray, "n_lanes n_requests"],
) -> Float[np.ndarray, "n_lanes n_requests"]:
    """Return when each request of each lane was done, seconds; NaN where it was turned away.

    A request that arrives in the very moment in which another ends finds it still there.

    Args:
        server: What every lane is.
        arrivals: Seconds from 0, ascending in each lane; infinity stands for no request, at the
            end. Where every lane ends with one, nothing is copied.
        sizes: Work of each request, above 0; 1 is the one that was measured.
    """
    n_requests = arrivals.shape[1]
    if not n_requests or not np.isinf(arrivals[:, -1]).all():
        # One more at the end, which never comes, so that there is always a next.
        arrivals = np.pad(arrivals, ((0, 0), (0, 1)), constant_values=np.inf)
        sizes = np.pad(sizes, ((0, 0), (0, 1)), constant_values=1.0)
    _keep_freed_memory()
    lanes = _Lanes(server, arrivals, sizes)
    while lanes.step():
        pass
    return lanes.done.reshape(arrivals.shape)[:, :n_requests]


def _keep_freed_memory() -> None:
    """Let small arrays that come and go at every step reuse their memory.

    The C library of Linux gives the end of its heap back to the system whenever 128 KiB of it are
    free, until a larger block has been freed once: a third of the time went into that. The engine
    has a setting of its own for this, which comes with torch; a plan does without.

    Source: ``M_MMAP_THRESHOLD`` in mallopt(3), which is dynamic.
    """
    np.empty(_LARGE_BYTES, dtype=np.uint8)


_Places = Int[np.ndarray, " n"]
_Chosen = Int[np.ndarray, " n_chosen"]


class _Lanes:
    """All lanes between two events.

    A lane's requests under way lie at places 0 to ``n - 1`` of its column, unordered. ``worked``
    is how much every request of the lane has got since the beginning, so that one ends when that
    has grown by its size: nothing is written for those that merely go on.

    What runs for every event is not checked while it runs: that would take longer than it does.
    """

    def __init__(
        self,
        server: ServerModel,
        arrivals: Float[np.ndarray, "n_lanes n_requests"],
        sizes: Float[np.ndarray, "n_lanes n_requests"],
    ) -> None:
        n_lanes, n_requests = arrivals.shape
        # Views where they can be: these are the largest arrays there are.
        self._due, self._sizes = arrivals.ravel(), sizes.ravel()
        self.done = np.full(len(self._due), np.nan)
        self._n_lanes = n_lanes
        self._n_rows = server.n_rows
        self._speeds = np.concatenate([server.speeds[:1], server.speeds])
        self._next = np.arange(n_lanes) * n_requests
        self._next_due = self._due[self._next]
        self._now = np.zeros(n_lanes)
        self._worked = np.zeros(n_lanes)
        self._n = np.zeros(n_lanes, dtype=np.int64)
        self._end = np.full(n_lanes, np.inf)
        """Smallest of the ends in each lane, and where it lies."""
        self._end_at = np.zeros(n_lanes, dtype=np.int64)
        self._width = 0
        self._ends = np.empty(0)
        self._who = np.empty(0, dtype=np.int64)
        self._widen(min(FIRST_ROWS, self._n_rows))
        self._line = _Line(n_lanes, server.n_waiting)
        self._n_steps = 0
        self._top = 1

    @no_type_check
    def step(self) -> bool:
        """Take every lane to its next event; return whether there was one."""
        ends = (self._end - self._worked) / self._speeds.take(self._n) + self._now
        arrives = self._next_due <= ends
        at = np.minimum(self._next_due, ends)
        ended = ~arrives
        if at.max() == np.inf:
            live = at < np.inf
            if not live.any():
                return False
            arrives &= live
            at = np.where(live, at, self._now)
        self._worked += (at - self._now) * self._speeds.take(self._n)
        self._now = at
        comers, leavers = np.flatnonzero(arrives), np.flatnonzero(ended)
        if len(comers):
            self._arrive(comers)
        if len(leavers):
            self._leave(leavers)
        return True

    @no_type_check
    def _arrive(self, lanes: _Places) -> None:
        who, n = self._next.take(lanes), self._n.take(lanes)
        following = who + 1
        self._next[lanes] = following
        self._next_due[lanes] = self._due.take(following)
        most = int(n.max())
        if most == self._n_rows:
            has_room = n < self._n_rows
            self._line.add(lanes[~has_room], who[~has_room])
            lanes, who, n = lanes[has_room], who[has_room], n[has_room]
        elif most >= self._width:
            self._widen(min(2 * self._width, self._n_rows))
        self._begin(lanes, who, n)
        self._top = max(self._top, min(most + 1, self._n_rows))

    @no_type_check
    def _begin(self, lanes: _Places, who: _Places, n: _Places) -> None:
        """Put one request into each of some lanes, which have ``n`` already."""
        ends = self._worked.take(lanes) + self._sizes.take(who)
        at = n * self._n_lanes + lanes
        self._ends[at] = ends
        self._who[at] = who
        self._n[lanes] = n + 1
        is_first = ends < self._end.take(lanes)
        firsts = lanes[is_first]
        self._end[firsts] = ends[is_first]
        self._end_at[firsts] = n[is_first]

    @no_type_check
    def _leave(self, lanes: _Places) -> None:
        # What has been worked is now exactly the end; rounding would let errors add up.
        self._worked[lanes] = self._end.take(lanes)
        at = self._end_at.take(lanes) * self._n_lanes + lanes
        self.done[self._who.take(at)] = self._now.take(lanes)
        n = self._n.take(lanes) - 1
        last = n * self._n_lanes + lanes
        self._ends[at] = self._ends.take(last)
        self._who[at] = self._who.take(last)
        self._ends[last] = np.inf
        self._n[lanes] = n
        self._find_ends(lanes)
        if self._line.is_used:
            begun, who = self._line.take(lanes)
            if len(begun):
                self._begin(begun, who, self._n.take(begun))

    @no_type_check
    def _find_ends(self, lanes: _Places) -> None:
        self._n_steps += 1
        if self._n_steps % 16 == 0:
            # The places looked at need not be the fewest possible, only not many too many.
            self._top = max(1, int(self._n.max()))
        table = self._ends.reshape(self._width, self._n_lanes)
        firsts = table[: self._top].take(lanes, axis=1).argmin(axis=0)
        self._end_at[lanes] = firsts
        self._end[lanes] = self._ends.take(firsts * self._n_lanes + lanes)

    def _widen(self, width: int) -> None:
        n_new = (width - self._width) * self._n_lanes
        self._ends = np.concatenate([self._ends, np.full(n_new, np.inf)])
        self._who = np.concatenate([self._who, np.zeros(n_new, dtype=np.int64)])
        self._width = width


class _Line:
    """Those who wait, in order of arrival, lane by lane; rings of ``n_places``."""

    def __init__(self, n_lanes: int, n_places: int) -> None:
        self._n_lanes = n_lanes
        self._n_places = n_places
        self._head = np.zeros(n_lanes, dtype=np.int64)
        self._n = np.zeros(n_lanes, dtype=np.int64)
        self._who = np.empty(0, dtype=np.int64)
        self.is_used = False
        """Whether anybody has ever waited."""

    @no_type_check
    def add(self, lanes: _Places, who: _Places) -> None:
        """Let one request of each of some lanes wait, where a place is left."""
        if not self.is_used:
            # Most runs never need it.
            self._who = np.zeros(self._n_places * self._n_lanes, dtype=np.int64)
            self.is_used = True
        has_room = self._n[lanes] < self._n_places
        lanes, who = lanes[has_room], who[has_room]
        if not len(lanes):
            return
        place = (self._head[lanes] + self._n[lanes]) % self._n_places
        self._who[place * self._n_lanes + lanes] = who
        self._n[lanes] += 1

    @no_type_check
    def take(self, lanes: _Places) -> tuple[_Chosen, _Chosen]:
        """Return those of some lanes in which somebody waited, and who is next there."""
        lanes = lanes[self._n.take(lanes) > 0]
        who = self._who[self._head[lanes] * self._n_lanes + lanes]
        self._head[lanes] = (self._head[lanes] + 1) % max(1, self._n_places)
        self._n[lanes] -= 1
        return lanes, who
