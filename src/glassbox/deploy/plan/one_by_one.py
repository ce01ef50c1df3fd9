"""A fleet of servers, one event after another from a heap: slow, obvious, and routed as you like.

What ``simulator.py`` must agree with, to the last digit where requests are routed alike. Because it
sees all servers at once it can also send each request to the one with the fewest under way, which
lanes that know nothing of one another cannot.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, no_type_check

import numpy as np

from glassbox.deploy.plan.simulator import ServerModel

Routing = Literal["given", "least"]
"""``given``: to the server that the request names; ``least``: to one of those with the fewest
requests under way or waiting, drawn."""


@dataclass
class _Server:
    """One server between two events."""

    now: float = 0.0
    worked: float = 0.0
    running: list[tuple[float, int]] = field(default_factory=list)
    """Heap of (what must have been worked, request)."""
    waiting: deque[int] = field(default_factory=deque)
    version: int = 0
    """Counts changes: an event that was planned before one is void."""


def simulate_one_by_one(
    model: ServerModel,
    n_servers: int,
    arrivals: Sequence[float],
    sizes: Sequence[float],
    *,
    routing: Routing = "least",
    servers: Sequence[int] = (),
    seed: int = 0,
) -> list[float]:
    """Return when each request was done, seconds; NaN where it was turned away.

    Args:
        model: What every server is.
        n_servers: How many there are.
        arrivals: Seconds from 0, ascending.
        sizes: Work of each request; 1 is the one that was measured.
        routing: Who gets a request.
        servers: With ``given``: the server of each request.
        seed: Of the draw among equals.
    """
    fleet = _Fleet(model, n_servers, sizes)
    draw = np.random.default_rng(seed)
    for who, at_s in enumerate(arrivals):
        fleet.run_until(at_s)
        if routing == "given":
            chosen = servers[who]
        else:
            fewest = np.flatnonzero(fleet.loads == fleet.loads.min())
            chosen = int(fewest[draw.integers(len(fewest))])
        fleet.arrive(chosen, who, at_s)
    fleet.run_until(math.inf)
    return fleet.done


class _Fleet:
    def __init__(self, model: ServerModel, n_servers: int, sizes: Sequence[float]) -> None:
        self._model = model
        self._speeds = [float(model.speeds[0]), *map(float, model.speeds)]
        self._sizes = sizes
        self._servers = [_Server() for _ in range(n_servers)]
        self._planned: list[tuple[float, int, int]] = []
        self.loads = np.zeros(n_servers, dtype=np.int64)
        self.done = [math.nan] * len(sizes)

    @no_type_check
    def run_until(self, at_s: float) -> None:
        """Let all requests end that end before a moment."""
        while self._planned and self._planned[0][0] < at_s:
            end_s, index, version = heapq.heappop(self._planned)
            if self._servers[index].version == version:
                self._end_one(index, end_s)

    @no_type_check
    def arrive(self, index: int, who: int, at_s: float) -> None:
        """Take a request in, let it wait, or turn it away."""
        server = self._servers[index]
        if len(server.running) < self._model.n_rows:
            self._advance(server, at_s)
            heapq.heappush(server.running, (server.worked + self._sizes[who], who))
            self._plan(index)
        elif len(server.waiting) < self._model.n_waiting:
            server.waiting.append(who)
        else:
            return
        self.loads[index] += 1

    @no_type_check
    def _advance(self, server: _Server, at_s: float) -> None:
        server.worked += (at_s - server.now) * self._speeds[len(server.running)]
        server.now = at_s

    @no_type_check
    def _end_one(self, index: int, at_s: float) -> None:
        server = self._servers[index]
        server.now = at_s
        server.worked, who = heapq.heappop(server.running)
        self.done[who] = at_s
        self.loads[index] -= 1
        if server.waiting:
            following = server.waiting.popleft()
            heapq.heappush(server.running, (server.worked + self._sizes[following], following))
        self._plan(index)

    @no_type_check
    def _plan(self, index: int) -> None:
        server = self._servers[index]
        server.version += 1
        if server.running:
            left = server.running[0][0] - server.worked
            end_s = server.now + left / self._speeds[len(server.running)]
            heapq.heappush(self._planned, (end_s, index, server.version))
