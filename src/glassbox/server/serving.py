"""What a running server holds: the model's side, which comes when it is loaded.

Routes take it as a dependency: ``Served`` answers 503 until it is there. Knows no route.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from glassbox.confidence.asking.classify import Labeller
from glassbox.engine.protocol import Engine
from glassbox.introspection.verifier.verify import Verifier
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.server.access.guards import guards_of
from glassbox.server.errors.refusals import not_ready
from glassbox.server.fleet.member import FleetMember
from glassbox.server.techniques.runs import TechniqueService
from glassbox.server.translation.registered import RegisteredModels
from glassbox.server.translation.speech import Speaker

LOADING_RETRY_S = 5.0
"""When to come back while the model is loaded."""


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
