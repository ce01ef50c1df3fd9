"""What a running server holds: the model's side, which comes when it is loaded, and the guards.

Routes take these as dependencies: ``Served`` is the model's side and answers 503 until it is there.
Knows no route.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol, runtime_checkable

from fastapi import Depends, Request

from glassbox.confidence.classify import Labeller
from glassbox.engine.protocol import Engine
from glassbox.introspection.verify import Verifier
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.server.fleet_member import FleetMember
from glassbox.server.key_ring import KeyRing
from glassbox.server.lifecycle import Lifecycle
from glassbox.server.metrics import Metrics
from glassbox.server.rates import Rates
from glassbox.server.refusals import not_ready
from glassbox.server.registered import RegisteredModels
from glassbox.server.signatures import Signatures
from glassbox.server.speech import Speaker
from glassbox.server.study_shelf import StudyShelf
from glassbox.server.technique_record import TechniqueRecord
from glassbox.server.technique_service import TechniqueService
from glassbox.server.tracing import Tracing
from glassbox.settings import ServerSettings

LOADING_RETRY_S = 5.0
"""When to come back while the model is loaded."""


@runtime_checkable
class Busy(Protocol):
    """An engine that says how much it has to do."""

    @property
    def n_running(self) -> int:
        """Requests in the batch."""
        ...

    @property
    def n_waiting(self) -> int:
        """Requests in the queue."""
        ...


@dataclass(frozen=True, eq=False)
class Serving:
    """The resident model and what stands on it."""

    speaker: Speaker
    """The resident model as the routes talk to it, with its probes."""
    labellers: Mapping[str, Labeller] = field(default_factory=dict)
    """Classifiers by the name that `/v1/classify` takes as model."""
    verifier: Verifier | None = None
    """Judges responses for `/v1/verify`; None answers by the unvalidated heuristic."""
    techniques: TechniqueService | None = None
    """Runs functions beside the model; None where the server runs none."""
    rollout: RolloutSide | None = None
    """Versions, predictions and what is kept of them; None keeps none."""
    bundle_digest: str = ""
    """Digest of the bundle that all of it comes from (hex); empty without one."""
    fleet: FleetMember | None = None
    """Place among the servers of its database; None where it keeps none."""
    created: int = field(default_factory=lambda: int(time.time()))
    """Unix time at which serving began."""

    def __post_init__(self) -> None:
        """Let requests name registered versions wherever they name a model."""
        if self.rollout is not None:
            self.speaker.registered = RegisteredModels(self.engine, self.rollout)

    @property
    def engine(self) -> Engine:
        """The resident model."""
        return self.speaker.engine

    @property
    def name(self) -> str:
        """Name of the base model that requests give."""
        return self.speaker.name

    def close(self) -> None:
        """End all of it; what was recorded is on the disk when this returns."""
        if self.fleet is not None:
            # First, while there is still something to say.
            self.fleet.close()
        if self.techniques is not None:
            self.techniques.close()
        if self.rollout is not None:
            # Before the engine, because versions that answer stand on it.
            self.rollout.close()
        self.engine.close()


@dataclass(frozen=True, eq=False)
class TechniqueGate:
    """What stands between the network and functions that run beside the model."""

    signatures: Signatures
    """Who asks."""
    record: TechniqueRecord
    """What the audit log holds of runs, also of those of former lives of the server."""
    max_body_bytes: int = 256 * 2**20
    """Largest body with a function and its arguments."""


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
    replica_id: str = field(default_factory=new_replica_id)
    """Names this server among those of its database, and in its answers."""
    hosts: frozenset[str] | None = None
    """Names that the Host header may hold while there are no keys; None allows all."""
    clock: Callable[[], float] = time.monotonic
    """Seconds, for durations."""
    rates: Rates = field(default_factory=Rates)
    """How often one caller may ask."""
    tracing: Tracing = field(default_factory=Tracing)
    """Traces that others collect."""
    techniques: TechniqueGate | None = None
    """Who may run functions; None lets nobody."""
    studies: StudyShelf = field(default_factory=StudyShelf)
    """Finished studies of pathways."""


def guards_of(request: Request) -> Guards:
    """Return the guards of the app that a request came to."""
    guards = request.app.state.guards
    assert isinstance(guards, Guards)
    return guards


async def served(request: Request) -> Serving:
    """Return the model's side.

    Raises:
        Refusal: 503 while the model is loaded, and when the server is about to end.
    """
    lifecycle = guards_of(request).lifecycle
    if lifecycle.is_draining:
        raise not_ready("The server is about to end and takes no new requests.", 1.0)
    serving = request.app.state.serving
    if serving is None:
        detail = lifecycle.failure or "The model is being loaded."
        raise not_ready(detail, LOADING_RETRY_S)
    assert isinstance(serving, Serving)
    return serving


Served = Annotated[Serving, Depends(served)]
"""The model's side, as a route's parameter."""


async def _guards(request: Request) -> Guards:
    # The framework calls a plain function on a thread of its own, which costs more than the call.
    return guards_of(request)


Guarded = Annotated[Guards, Depends(_guards)]
"""The guards, as a route's parameter."""
