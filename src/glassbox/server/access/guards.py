"""What stands between the network and the model: limits, keys, counters, and who may run functions.

Routes take it as a dependency, ``Guarded``. Knows no route and nothing of the model's side.
"""

import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from glassbox.server.access.key_ring import KeyRing
from glassbox.server.access.rates import Rates
from glassbox.server.access.signatures import Signatures
from glassbox.server.concurrency.slow_work import SlowCalls
from glassbox.server.lifecycle import Lifecycle
from glassbox.server.study_shelf import StudyShelf
from glassbox.server.techniques.at_a_time import AtATime
from glassbox.server.techniques.record import TechniqueRecord
from glassbox.server.telemetry.metrics import Metrics
from glassbox.server.telemetry.tracing import Tracing
from glassbox.settings import ServerSettings


@dataclass(frozen=True, eq=False)
class TechniqueGate:
    """What stands between the network and functions that run beside the model."""

    signatures: Signatures
    """Who asks."""
    record: TechniqueRecord
    """What the audit log holds of runs, also of those of former lives of the server."""
    max_body_bytes: int = 256 * 2**20
    """Largest body with a function and its arguments."""
    at_a_time: AtATime = field(default_factory=AtATime)
    """How many of their requests are in the works."""


def new_replica_id() -> str:
    """Return a name that no other server has; it tells nothing of the machine."""
    return secrets.token_hex(4)


@dataclass(frozen=True, eq=False)
class Guards:
    """What stands between the network and the model."""

    limits: ServerSettings = field(default_factory=ServerSettings)
    """Sizes and times."""
    keys: KeyRing = field(default_factory=KeyRing)
    """Who may do what."""
    metrics: Metrics = field(default_factory=Metrics)
    """What is counted."""
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    """Loading, ready, draining."""
    early: ExitStack = field(default_factory=ExitStack)
    """What ends also with a server that ends before its model is there."""
    replica_id: str = field(default_factory=new_replica_id)
    """Names this server among those of its database, and in its answers."""
    hosts: frozenset[str] | None = None
    """Names that the Host header may hold while there are no keys; None allows all."""
    rates: Rates = field(default_factory=Rates)
    """How often one caller may ask."""
    tracing: Tracing = field(default_factory=Tracing)
    """Traces that others collect."""
    slow_calls: SlowCalls = field(default_factory=SlowCalls)
    """Whose turn it is among calls that take the model for a while."""
    techniques: TechniqueGate | None = None
    """Who may run functions; None lets nobody."""
    studies: StudyShelf = field(default_factory=StudyShelf)
    """Finished studies of pathways."""


def guards_of(request: Request) -> Guards:
    """Return the guards of the app that a request came to."""
    guards = request.app.state.guards
    assert isinstance(guards, Guards)
    return guards


async def _guards(request: Request) -> Guards:
    # The framework calls a plain function on a thread of its own, which costs more than the call.
    return guards_of(request)


Guarded = Annotated[Guards, Depends(_guards)]
"""The guards, as a route's parameter."""
