"""Everything of versions and predictions that one server runs, in one value. Knows no HTTP."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from glassbox.audit.records import LabelEvent
from glassbox.audit.request_ids import new_request_id
from glassbox.audit.ring import AuditRing
from glassbox.audit.store import InferenceStore
from glassbox.errors import CapacityError, GlassboxError
from glassbox.rollout.answering.inference import InferenceService
from glassbox.rollout.answering.primary import Champions
from glassbox.rollout.answering.recording import Recorder
from glassbox.rollout.answering.routing_view import RoutingView
from glassbox.rollout.assembly.background import Background
from glassbox.rollout.assembly.looks import Looks
from glassbox.rollout.decisions.controller import Controller
from glassbox.rollout.decisions.plan import plan_from
from glassbox.rollout.drift.desk import DriftDesk
from glassbox.rollout.version import Version
from glassbox.rollout.versions.registering import Offer, Registrar
from glassbox.rollout.versions.registry import Registry
from glassbox.wire.rollouts import RolloutAsked
from glassbox.wire.versions import RegisterAsked

LONGEST_KEPT: Final = 60
"""Characters kept of a caller's name for a request that was taken already."""

LOOK_UP_S: Final = 0.5
"""Longest that a request waits for the log to say whether its name is taken."""

MOST_NAMES: Final = 4096
"""Callers' names of requests that are remembered; older ones are looked for in the log."""

_log = logging.getLogger("glassbox.server")


@dataclass(frozen=True, eq=False)
class RolloutSide:
    """The parts, put together by the composition root; closed by the server."""

    registry: Registry
    """Versions and aliases."""
    view: RoutingView
    """Who answers, kept ready."""
    champions: Champions
    """Versions that answer, brought to life."""
    inference: InferenceService
    """Answers requests."""
    recorder: Recorder
    """Where events go."""
    ring: AuditRing
    """The latest predictions."""
    store: InferenceStore
    """The durable log."""
    controller: Controller
    """Rollouts."""
    looks: Looks
    """Answers to those who look."""
    registrar: Registrar
    """Registers versions of files."""
    drift: DriftDesk
    """Comparisons."""
    background: Background
    """Work beside requests."""
    max_wait_shadow_s: float = 2.0
    """Longest that a request may wait for its challenger, in seconds."""
    closing: Sequence[Callable[[], None]] = field(default_factory=tuple)
    """What ends, in order, once no request is taken any more."""
    names: dict[str, None] = field(default_factory=dict)
    """Names that callers gave to their latest requests."""

    def start(self) -> None:
        """Bring the champions to life and begin the work beside requests; may take a while.

        A champion that cannot be loaded stops no server: its requests are told why.
        """
        self.view.refresh()
        self.view.start()
        self.background.start()

    def close(self) -> None:
        """End everything; what was recorded is on the disk when this returns. Idempotent."""
        self.background.close()
        self.view.close()
        for each in self.closing:
            try:
                each()
            except GlassboxError as error:
                # What comes after still has to end.
                _log.error("at the end: %s", error)

    async def fresh_id(self, given: str | None) -> str:
        """Return the name of a new request: the caller's, unless another has it already.

        A name that is taken gets a new one behind it, so that both can be found by its beginning.
        """
        if given is None:
            return new_request_id()
        is_new = given not in self.names and self.ring.find(given) is None
        # Noted before anything is waited for: of two requests at once one has the name.
        self.names[given] = None
        if len(self.names) > MOST_NAMES:
            del self.names[next(iter(self.names))]
        if is_new:
            # Where the database is away or slow, nobody can say: then the name is not given twice
            # either, and the request does not wait for it.
            with suppress(CapacityError, TimeoutError):
                async with asyncio.timeout(LOOK_UP_S):
                    found = await asyncio.to_thread(self.store.find, given)
                if found is None:
                    return given
        return f"{given[:LONGEST_KEPT]}.{new_request_id()}"

    async def tell_labels(self, labels: Sequence[tuple[str, str | float]], actor: str) -> list[str]:
        """Record the truth about predictions and return the names that are not there.

        Raises:
            CapacityError: The database is behind and some may be lost; those told twice count once.
        """
        unknown, pending = await asyncio.to_thread(self._label, labels, actor)
        for each in pending:
            await asyncio.wrap_future(each)
        return unknown

    def start_rollout(self, asked: RolloutAsked, actor: str) -> str:
        """Begin to try a version and return the rollout's id.

        Raises:
            UnknownName: No such version.
            InvalidValue: The plan holds something that is not allowed.
            ConflictError: Another one is under way, or the version is champion already.
        """
        status = self.controller.start(
            asked.challenger,
            plan_from(asked.plan),
            model=asked.model,
            actor=actor,
            reason=asked.reason,
            dry_run=asked.dry_run,
        )
        self.view.refresh(asked.model)
        return status.id

    def register(self, asked: RegisterAsked, actor: str) -> Version:
        """Return a version that is registered from now on, or was already.

        Raises:
            GlassboxError: There is nothing of that name, or it cannot answer.
        """
        offer = Offer(
            asked.source,
            model=asked.model,
            name=asked.name,
            kind=asked.kind,
            input_schema=asked.input_schema,
            trusted_types=tuple(asked.trusted_types),
            example=asked.example,
            metadata=asked.metadata or {},
        )
        version = self.registrar.register(offer, actor=actor).version
        self.view.refresh(asked.model)
        return version

    def _label(
        self, labels: Sequence[tuple[str, str | float]], actor: str
    ) -> tuple[list[str], "list[Future[Any]]"]:
        known = self.store.known([name for name, _ in labels])
        # An answer of the last moments is not on the disk yet, but it is there.
        missing = [name for name, _ in labels if name not in known]
        known |= {name for name in missing if self.ring.find(name) is not None}
        now_s = self.recorder.now_s()
        n_lost = self.store.status().n_overflowed
        pending = [
            self.recorder.label(LabelEvent(name, now_s, label, actor))
            for name, label in labels
            if name in known
        ]
        if self.store.status().n_overflowed > n_lost:
            # What was lost may have been an answer of somebody else; to tell a truth again is free.
            raise CapacityError(
                "More records come than the database takes, and some of these labels may be lost. "
                "Tell all of them again in a while; what is told twice counts once."
            )
        unknown = sorted({name for name in missing if name not in known})
        return unknown, [each for each in pending if each is not None]
