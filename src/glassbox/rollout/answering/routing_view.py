"""Who answers what, kept ready: requests never wait for a database or for a version to load.

A thread of its own looks at the registry and at rollouts, brings a new champion to life first,
and only then lets requests see the new routing. While the database does not answer, or a new
version cannot be loaded, the last routing holds. Knows no HTTP.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from glassbox.engine.model.attempt import attempt
from glassbox.errors import CapacityError, ConflictError, GlassboxError, UnknownName
from glassbox.rollout.routing import Routing
from glassbox.rollout.version import CHAMPION, DEFAULT_MODEL, Snapshot, Version

LOOK_S: Final = 0.5
"""Seconds between two looks."""

URI: Final = "models:/"
"""Begins a version in MLflow's words."""

GRACE_S: Final = 2.0
"""Seconds for which a version that answers no more stays, for requests routed to it before."""

_log = logging.getLogger("glassbox.server")


class Hosts(Protocol):
    """Versions brought to life."""

    def load(self, version: Version) -> None:
        """Have a version ready to answer.

        Raises:
            GlassboxError: It cannot be loaded.
        """
        ...

    def keep(self, versions: frozenset[str]) -> None:
        """Free all versions but those of some digests, once nobody waits for them."""
        ...


@dataclass(frozen=True)
class View:
    """What was seen at the last look."""

    routings: Mapping[str, Routing]
    """By registered model."""
    snapshot: Snapshot
    """The registry."""


@dataclass(frozen=True)
class Chosen:
    """Who answers one request."""

    routing: Routing
    """The routing."""
    is_pinned: bool = False
    """Whether one version was named, so that no challenger sees a copy."""


class RoutingView:
    """The routings in force.

    Args:
        look: Returns the registry and the routing of every model as they should be; may ask the
            database.
        hosts: Brings versions to life.
        adopted: Told of each new routing, from the thread that looks: starts and stops
            challengers.
    """

    def __init__(
        self,
        look: Callable[[], View],
        hosts: Hosts,
        adopted: Callable[[Routing], None] = lambda _routing: None,
    ) -> None:
        self._look = look
        self._hosts = hosts
        self._adopted = adopted
        self._view = View({}, Snapshot(0, (), {}))
        self._turn = threading.Lock()
        self._failures: dict[str, str] = {}
        self._seen: dict[str, float] = {}
        self._adopted_s = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def failures(self) -> Mapping[str, str]:
        """Why a routing that should be in force is not, by model; ``""`` names the registry."""
        return dict(self._failures)

    @property
    def adopted_s(self) -> float:
        """Unix time since which requests are answered as they are now; 0 before the first look."""
        return self._adopted_s

    @property
    def snapshot(self) -> Snapshot:
        """The registry as last seen."""
        return self._view.snapshot

    @property
    def routings(self) -> Mapping[str, Routing]:
        """The routings in force, by model."""
        return self._view.routings

    def of(self, model: str) -> Chosen:
        """Return who answers for a registered model, or for one version in MLflow's words.

        A version that is named itself is asked alone: no challenger sees a copy.

        Raises:
            UnknownName: No such model, alias or version.
            ConflictError: A version that answers nobody.
            CapacityError: The model's version could not be loaded (yet).
        """
        view = self._view
        found = view.routings.get(model)
        if found is not None:
            return Chosen(found)
        if model.startswith(URI):
            return self._pinned(view, model)
        if model in view.snapshot.aliases:
            raise CapacityError(self._failures.get(model, "Its version is being loaded."))
        named = view.snapshot.named(model)
        if named is not None:
            return _alone(named, view)
        raise UnknownName(
            "registered model",
            model,
            view.snapshot.aliases,
            remedy="Register a version with 'glassbox versions register'.",
        )

    def refresh(self) -> None:
        """Look now; a routing that changed is in force when this returns, if it can be."""
        with self._turn:
            try:
                wanted = self._look()
            except CapacityError as error:
                self._failed("", str(error))
                return
            self._failures.pop("", None)
            routings = dict(self._view.routings)
            for model, routing in wanted.routings.items():
                if routings.get(model) != routing and self._ready(model, routing):
                    routings[model] = routing
            gone = routings.keys() - wanted.routings.keys()
            routings = {model: each for model, each in routings.items() if model not in gone}
            before, revision = self._view.routings, self._view.snapshot.revision
            self._view = View(routings, wanted.snapshot)
            if before != routings or revision != wanted.snapshot.revision:
                self._adopted_s = time.time()
            for model, routing in routings.items():
                if before.get(model) != routing:
                    self._adopted(routing)
            self._free(before, routings)

    def start(self) -> None:
        """Look again and again, on a thread of its own."""
        self._thread = threading.Thread(target=self._go_on, name="glassbox-routing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more; idempotent."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _go_on(self) -> None:
        while not self._ended.wait(LOOK_S):
            # Whatever is wrong with one look, the next one comes.
            told = attempt(self.refresh)
            if isinstance(told, Exception):
                is_ours = isinstance(told, GlassboxError)
                self._failed("", str(told) if is_ours else type(told).__name__)

    def _free(self, before: Mapping[str, Routing], routings: Mapping[str, Routing]) -> None:
        """Free versions that answer no more, but not under requests that were just routed.

        Until this look, however long it took, requests were routed as before.
        """
        now_s = time.monotonic()
        self._seen |= dict.fromkeys(_digests(before) | _digests(routings), now_s)
        kept = {digest for digest, seen_s in self._seen.items() if now_s - seen_s < GRACE_S}
        if kept != self._seen.keys():
            self._seen = {digest: self._seen[digest] for digest in kept}
            self._hosts.keep(frozenset(kept))

    def _ready(self, model: str, routing: Routing) -> bool:
        needed = [routing.champion] + ([routing.canary] if routing.canary else [])
        for version in needed:
            try:
                self._hosts.load(version)
            except GlassboxError as error:
                self._failed(model, f"{version.name} cannot be loaded: {error}")
                return False
        self._failures.pop(model, None)
        return True

    def _failed(self, model: str, reason: str) -> None:
        if self._failures.get(model) != reason:
            _log.error("routing of %s: %s", model or "all models", reason)
        self._failures[model] = reason

    def _pinned(self, view: View, uri: str) -> Chosen:
        model, number, alias = split_uri(uri)
        snapshot = view.snapshot
        if alias == CHAMPION and model in view.routings:
            return Chosen(view.routings[model])
        found = snapshot.aliased(alias, model) if alias else snapshot.numbered(number or 0, model)
        if found is None:
            raise UnknownName("version", uri, [each.uri for each in snapshot.versions])
        return _alone(found, view)


def _alone(version: Version, view: View) -> Chosen:
    routing = view.routings.get(version.model)
    answering = [] if routing is None else [routing.champion, routing.canary]
    if version not in answering:
        # Else any caller could have any version loaded beside the one that must not suffer.
        raise ConflictError(
            f"{version.name} answers no requests: it is neither champion nor on a canary step of "
            "a rollout. Challengers only see copies."
        )
    return Chosen(Routing(version.model, version, revision=view.snapshot.revision), is_pinned=True)


def split_uri(uri: str) -> tuple[str, int | None, str]:
    """Return (model, version number, alias) of ``models:/NAME/3`` or ``models:/NAME@alias``.

    Raises:
        UnknownName: It is neither.
    """
    rest = uri.removeprefix(URI)
    model, at, alias = rest.partition("@")
    if at and model and alias:
        return model, None, alias
    model, slash, number = rest.rpartition("/")
    if slash and model and number.isascii() and number.isdigit():
        return model, int(number), ""
    raise UnknownName(
        "version", uri, remedy=f"Versions are named {URI}{DEFAULT_MODEL}/3 or @champion."
    )


def _digests(routings: Mapping[str, Routing]) -> frozenset[str]:
    return frozenset(
        each.digest
        for routing in routings.values()
        for each in (routing.champion, routing.canary)
        if each is not None
    )
