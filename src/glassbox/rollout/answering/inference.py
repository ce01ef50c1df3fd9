"""One request from features to answer: check, hash, choose a version, ask it, copy, record.

A request is answered under one routing from start to end, whatever moves meanwhile. The answer
never waits for a challenger unless it is asked to, and nothing that a challenger does can change
it. Knows no HTTP.

A request that is refused (unknown feature, NaN, unknown model) is no prediction and is not
recorded; one that the version failed to answer is recorded with status ``error``.
"""

import asyncio
import contextlib
import copy
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from glassbox.audit.records import Arm, PrimaryEvent, ShadowEvent
from glassbox.audit.request_ids import new_request_id
from glassbox.errors import DeadlineExceeded, GlassboxError, InvalidValue, UnknownName
from glassbox.rollout.answering.batching import Outcome
from glassbox.rollout.answering.recording import Recorder
from glassbox.rollout.answering.routing_view import Chosen
from glassbox.rollout.prediction import Features, Prediction
from glassbox.rollout.routing import Routing
from glassbox.rollout.version import DEFAULT_MODEL, Version

T = TypeVar("T")

_SINGLE: Final = frozenset((float, int, str, bool, type(None)))
"""Types of values that hold no others."""


class Ticket(Protocol):
    """A copy on its way to a challenger."""

    @property
    def event(self) -> ShadowEvent | None:
        """How it ended; None until it has."""
        ...

    def when_done(self, call: Callable[[], None]) -> None:
        """Call once when it has ended, at once if it has; on any thread."""
        ...


class Routes(Protocol):
    """Who does what, now."""

    def of(self, model: str) -> Chosen:
        """Return who answers for a registered model, or for ``models:/NAME@ALIAS``.

        Raises:
            UnknownName: There is no such model, alias or version.
            CapacityError: Its version is still being loaded.
        """
        ...


class Hosts(Protocol):
    """Versions brought to life."""

    def submit(self, version: Version, features: Features) -> "Future[Outcome]":
        """Return what will come of one row.

        Raises:
            GlassboxError: The version cannot be asked.
        """
        ...


class Copies(Protocol):
    """Challengers."""

    def offer(
        self,
        routing: Routing,
        request_id: str,
        features: Features,
        answer: Prediction,
        *,
        answered_by: Version | None = None,
    ) -> Ticket | None:
        """Hand a copy of an answered request to the challengers; never waits."""
        ...


@dataclass(frozen=True)
class Asked:
    """One request, checked."""

    features: Features
    """Named values."""
    feature_hash: str
    """Stands for them in the log."""
    request_id: str
    """Names the request."""
    routing: Routing
    """Who does what; fixed from here on."""
    version: Version
    """Who answers."""
    outcome: "Future[Outcome]"
    """What comes of it."""
    is_copied: bool = True
    """Whether challengers see a copy."""
    began_s: float = field(default_factory=time.perf_counter)
    """When it was handed over, in seconds of ``time.perf_counter``."""


@dataclass(frozen=True)
class Answered:
    """One request, answered and recorded."""

    event: PrimaryEvent
    """What the audit holds."""
    prediction: Prediction
    """The answer."""
    ticket: Ticket | None
    """Copy on its way to a challenger."""
    durable: "Future[Any] | None"
    """Ends with the commit, where the answer has to wait for it."""

    @property
    def shadow(self) -> ShadowEvent | None:
        """What the challenger said; None until it has."""
        return None if self.ticket is None else self.ticket.event


class InferenceService:
    """Answers requests for registered models.

    Args:
        routes: Who does what.
        hosts: Versions brought to life.
        copies: Challengers.
        recorder: Where it is written down.
        check: Raises for features that a version does not take.
        is_strict: Whether recording may hold the caller back until there is room.
    """

    def __init__(
        self,
        routes: Routes,
        hosts: Hosts,
        copies: Copies,
        recorder: Recorder,
        check: Callable[[Version, Features], None],
        *,
        is_strict: bool = False,
    ) -> None:
        self._routes = routes
        self._hosts = hosts
        self._copies = copies
        self._recorder = recorder
        self._check = check
        self._is_strict = is_strict

    async def predict(
        self,
        features: Features,
        *,
        model: str = DEFAULT_MODEL,
        request_id: str | None = None,
        wait_shadow_s: float = 0.0,
        routing_key: str | None = None,
        deadline_s: float | None = None,
    ) -> Answered:
        """Return the answer to one request, recorded.

        Args:
            features: Named values.
            model: Registered model, or a version in MLflow's words.
            request_id: Names the request; must be new. None makes one.
            wait_shadow_s: Most seconds to wait for the challenger, once the answer is there.
            routing_key: Requests with the same key get the same version of a canary; None is
                the request's id.
            deadline_s: Seconds after which the version has failed to answer; None never.

        Raises:
            InvalidValue: The features are none that the version takes.
            UnknownName: No such model.
            GlassboxError: The version failed, or, with strict durability, the log did.
        """
        asked = self._begin(features, model, request_id, routing_key)
        try:
            outcome = await _within(asked.outcome, deadline_s)
        except GlassboxError as error:
            pending = await self._unhurried(partial(self._failed, asked, error))
            if pending is not None:
                await asyncio.wrap_future(pending)
            raise
        answered = await self._unhurried(partial(self._finish, asked, outcome))
        if answered.durable is not None:
            await asyncio.wrap_future(answered.durable)
        return await _with_shadow(answered, wait_shadow_s)

    def _begin(
        self, features: Features, model: str, request_id: str | None, routing_key: str | None
    ) -> Asked:
        """Return a request that is checked and handed to the version that answers it.

        Raises:
            GlassboxError: It is refused; nothing is recorded.
        """
        chosen = self._routes.of(model)
        routing = chosen.routing
        name = request_id or new_request_id()
        version = self._answering(routing, routing_key or name, features)
        feature_hash = self._recorder.hash(features)
        outcome = self._hosts.submit(version, _copied(features))
        is_copied = not chosen.is_pinned
        return Asked(features, feature_hash, name, routing, version, outcome, is_copied)

    def _answering(self, routing: Routing, key: str, features: Features) -> Version:
        """Return the version that answers a request, its features checked.

        What only the challenger of a canary refuses, the champion answers as before: no caller
        bears it, and the challenger's copy of the request fails, which its gate sees.
        """
        version = routing.answering(key)
        if version.name != routing.champion.name:
            try:
                self._check(version, features)
            except (InvalidValue, UnknownName):
                version = routing.champion
            else:
                return version
        try:
            self._check(version, features)
        except UnknownName as error:
            # It is the request that is wrong; what does not exist is nothing that it asks for.
            raise InvalidValue(
                error.kind, error.name, f"one of {', '.join(error.known)}"
            ) from error
        return version

    def _finish(self, asked: Asked, outcome: Outcome) -> Answered:
        """Return an answer that is recorded, its copy on the way to the challengers."""
        answer = outcome.prediction
        event = self._event(asked, outcome.latency_ms, answer)
        # First the line of the answer, then the copy: a quick challenger finds its answer there.
        copied_to = [each for each in asked.routing.shadows if each.name != asked.version.name]
        n_copies = len(copied_to) if asked.is_copied else 0
        durable = self._recorder.primary(event, n_copies=n_copies)
        ticket = None
        if asked.is_copied:
            ticket = self._copies.offer(
                asked.routing,
                asked.request_id,
                asked.features,
                answer,
                answered_by=asked.version,
            )
        return Answered(event, answer, ticket, durable)

    def _failed(self, asked: Asked, error: GlassboxError) -> "Future[Any] | None":
        """Record a request that the version did not answer."""
        # How long it was waited for: a failure after a minute is none of 0 ms.
        spent_ms = 1000 * (time.perf_counter() - asked.began_s)
        return self._recorder.primary(self._event(asked, spent_ms, None, error.code))

    async def _unhurried(self, work: Callable[[], T]) -> T:
        """Record; on a thread where a full queue may hold it back, so that others go on."""
        return await asyncio.to_thread(work) if self._is_strict else work()

    def _event(
        self, asked: Asked, latency_ms: float, answer: Prediction | None, error_code: str = ""
    ) -> PrimaryEvent:
        segments, kept = self._recorder.kept(asked.features)
        routing = asked.routing
        is_canary = routing.canary is not None and asked.version.name == routing.canary.name
        arm: Arm = "challenger" if is_canary else "champion"
        probs: Mapping[str, float] | None = None if answer is None else answer.label_probs
        return PrimaryEvent(
            request_id=asked.request_id,
            time_s=self._recorder.now_s(),
            model=routing.model,
            model_version=asked.version.name,
            feature_hash=asked.feature_hash,
            latency_ms=latency_ms,
            status="success" if answer is not None else "error",
            prediction=None if answer is None else answer.prediction,
            confidence=None if answer is None else answer.confidence,
            label=None if answer is None else answer.label,
            label_probs=probs,
            arm=arm,
            rollout_id=routing.rollout_id,
            revision=routing.revision,
            segments=segments,
            features=kept,
            summaries={} if answer is None else answer.summaries,
            error_code=error_code,
        )


def _copied(features: Features) -> dict[str, Any]:
    """Return features of one's own: who changes them changes nothing for challengers and the log.

    Where no value holds others, a copy of the names is enough and a tenth of the work.
    """
    own = dict(features)
    return own if _SINGLE.issuperset(map(type, own.values())) else copy.deepcopy(own)


async def _within(outcome: "Future[Outcome]", seconds: float | None) -> Outcome:
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(outcome)
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"The version has not answered within {seconds:g} s. Try again, or allow more time."
        ) from error


async def _with_shadow(answered: Answered, seconds: float) -> Answered:
    """Return the answer once the challenger's copy has ended, or some seconds have."""
    ticket = answered.ticket
    if ticket is None or seconds <= 0 or ticket.event is not None:
        return answered
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        # The loop is closed where the server has ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    ticket.when_done(wake)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()
    return answered
