"""All challengers of all models: which lanes there are, and what each of them is offered.

Follows the routing that requests are answered under. Never blocks a request, never changes its
answer. Knows no storage.
"""

import threading
from collections.abc import Callable

import orjson

from glassbox.audit.records import ShadowRole, ShadowStatus
from glassbox.engine.model.attempt import attempt
from glassbox.rollout.prediction import Features, Prediction
from glassbox.rollout.routing import Routing, share_of
from glassbox.rollout.shadow.lane import Copy, Lane, LaneStatus, OnEvent, Side, ending
from glassbox.rollout.shadow.limits import ChildLimits
from glassbox.rollout.shadow.process import Origin, VersionProcess
from glassbox.rollout.shadow.ticket import ShadowTicket
from glassbox.rollout.version import Version
from glassbox.settings.sections import RolloutSettings

OpenSide = Callable[[Version], Side | None]
"""Finds a place for a version in this process; None where it has to have its own."""


class Shadows:
    """Offers copies of requests to those challengers that it was last told of. Thread-safe.

    Args:
        origin: How another process brings a version to life.
        settings: Sampling, queue, limits and noise floor.
        on_event: Told how each copy ended: on a lane's thread, or on the caller's where the copy
            was shed. So record the answer itself before its copy is offered.
        in_engine: Place for a challenger on the resident model; None gives each its own process.
        again: Place where the champion is asked once more; None measures no noise floor.
    """

    def __init__(
        self,
        origin: Origin,
        settings: RolloutSettings,
        on_event: OnEvent,
        *,
        in_engine: OpenSide | None = None,
        again: OpenSide | None = None,
    ) -> None:
        self._origin = origin
        self._settings = settings
        self._on_event = on_event
        self._in_engine = in_engine
        self._again = again
        self._lock = threading.Lock()
        self._revisions: dict[str, int] = {}
        self._lanes: dict[tuple[str, ShadowRole, str], Lane] = {}
        self._leaving: list[Lane] = []
        self._is_closed = False

    def reconfigure(self, routing: Routing) -> None:
        """Open and close a model's lanes so that they are those of a routing. Returns soon.

        A routing of an older revision than the latest one seen is let pass: a request that began
        earlier does not bring a challenger back.
        """
        with self._lock:
            if self._is_closed or routing.revision < self._revisions.get(routing.model, 0):
                return
            self._revisions[routing.model] = routing.revision
            wanted: dict[tuple[str, ShadowRole, str], Version] = {
                (routing.model, "challenger", each.name): each for each in routing.shadows
            }
            if self._again is not None and self._settings.noise_floor > 0.0:
                champion = routing.champion
                wanted[routing.model, "noise_floor", champion.name] = champion
            for key in [k for k in self._lanes if k[0] == routing.model and k not in wanted]:
                leaving = self._lanes.pop(key)
                leaving.stop()
                self._leaving.append(leaving)
            for key, version in wanted.items():
                if key not in self._lanes:
                    self._lanes[key] = self._open(version, key[1])
            self._leaving = [each for each in self._leaving if each.is_alive]

    def offer(
        self,
        routing: Routing,
        request_id: str,
        features: Features,
        answer: Prediction,
        *,
        answered_by: Version | None = None,
    ) -> ShadowTicket | None:
        """Return a ticket for the first challenger's copy, None where no challenger is to see one.

        Takes about ten microseconds and never waits. The copy is made here: what happens to the
        features later, or in a challenger, changes nothing elsewhere. A challenger that
        ``reconfigure`` was not told of gets none, and that is told as ``disabled``.

        Args:
            routing: What the request was answered under.
            request_id: Its id; also decides whether it is sampled.
            features: Its features.
            answer: Its answer, to which the challengers' are compared.
            answered_by: Version that gave it; None is the champion. A version gets no copy of
                what it answered itself.
        """
        by = routing.champion if answered_by is None else answered_by
        shadows = [each for each in routing.shadows if each.name != by.name]
        rows: bytes | None = None
        ticket = ShadowTicket() if shadows else None
        is_sampled = self._is_sampled("shadow", request_id, self._settings.shadow_sampling)
        for place, version in enumerate(shadows):
            theirs = None if place else ticket
            lane = self._lanes.get((routing.model, "challenger", version.name))
            shed: ShadowStatus | None = "sampled_out"
            if lane is not None and is_sampled and (shed := lane.refusal()) is None:
                # What is shed is not even copied.
                rows = rows or _copied(features)
                shed = None if rows else "error"
            copy = Copy(request_id, rows or b"", answer, theirs)
            if lane is None:
                self._end_without_lane(copy, version)
            elif shed is not None:
                lane.end(copy, shed)
            else:
                lane.offer(copy)
        if self._again is not None and by.name == routing.champion.name:
            self._offer_again(routing, request_id, features, answer)
        return ticket

    def status(self) -> tuple[LaneStatus, ...]:
        """Return how each challenger is doing, noise floor included, in the order of opening."""
        with self._lock:
            lanes = list(self._lanes.values())
        return tuple(each.status() for each in lanes)

    def close(self) -> None:
        """End every lane and wait until nothing is left of them; idempotent."""
        with self._lock:
            self._is_closed = True
            lanes = [*self._lanes.values(), *self._leaving]
            self._lanes, self._leaving = {}, []
        for each in lanes:
            each.stop()
        for each in lanes:
            each.close()

    def _offer_again(
        self, routing: Routing, request_id: str, features: Features, answer: Prediction
    ) -> None:
        if not self._is_sampled("noise", request_id, self._settings.noise_floor):
            return
        lane = self._lanes.get((routing.model, "noise_floor", routing.champion.name))
        rows = _copied(features)
        if lane is not None and rows is not None:
            lane.offer(Copy(request_id, rows, answer, None))

    def _end_without_lane(self, copy: Copy, version: Version) -> None:
        """End a copy whose challenger has been taken away since its request began."""
        event = ending(copy, version.name, "disabled")
        attempt(lambda: self._on_event(event))
        if copy.ticket is not None:
            copy.ticket.fulfil(event)

    def _is_sampled(self, what: str, request_id: str, share: float) -> bool:
        return share >= 1.0 or (share > 0.0 and share_of(f"{what}:{request_id}") < share)

    def _open(self, version: Version, role: ShadowRole) -> Lane:
        settings = self._settings
        limits = ChildLimits(memory_bytes=settings.shadow_memory_bytes)
        place = self._again if role == "noise_floor" else self._in_engine

        def open_side() -> Side:
            here = None if place is None else place(version)
            return VersionProcess(version, self._origin, limits) if here is None else here

        return Lane(
            version,
            open_side,
            self._on_event,
            role=role,
            capacity=settings.shadow_queue,
            timeout_s=settings.shadow_timeout_s,
        )


def _copied(features: Features) -> bytes | None:
    """Return the features as a JSON array of one row; None if they are no JSON."""
    try:
        return orjson.dumps([features])
    except orjson.JSONEncodeError:
        return None
