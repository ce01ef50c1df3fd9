"""Who answers what, kept ready: requests never wait for a database or for a version to load.

A thread of its own looks at the registry and at rollouts, has a new champion brought to life first,
and only then lets requests see the new routing. While the database does not answer, or a new
version cannot be loaded, the last routing holds. Versions are loaded beside that thread: what needs
no loading, as a way back does, is in force at once, however long others take. Knows no HTTP.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

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

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""The pause before a version that cannot be loaded is tried again doubles with each trial."""

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


class _Missing(NamedTuple):
    """Versions that are to be loaded."""

    answering: list[Version]
    """Those without which a routing is not in force."""
    standing_by: list[Version]


class _Pause(NamedTuple):
    """How long a version that cannot be loaded is left alone."""

    seconds: float
    until_s: float
    """By ``time.monotonic``."""


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
        self._loaded: set[str] = set()
        self._loading: list[str] = []
        self._pauses: dict[str, _Pause] = {}
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

    def refresh(self, model: str | None = None) -> None:
        """Look now; a routing that changed is in force when this returns, if it can be.

        Args:
            model: Wait for versions of this model alone; None waits for those of all.
        """
        # One that only stands by is loaded beside, once somebody answers.
        mine = [each for each in self._adopt().answering if model in (None, each.model)]
        for version in mine:
            self._load(version)
        if mine:
            self._adopt()

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
            told = attempt(self._follow)
            if isinstance(told, Exception):
                self._failed("", _words(told))

    def _follow(self) -> None:
        """Look, and have what is missing loaded beside; one that failed rests first."""
        missing = self._adopt()
        for version in (*missing.answering, *missing.standing_by):
            pause = self._pauses.get(version.digest)
            rests = pause is not None and time.monotonic() < pause.until_s
            if not rests and version.digest not in self._loading:
                threading.Thread(
                    target=self._load, args=(version,), name="glassbox-loading", daemon=True
                ).start()

    def _adopt(self) -> _Missing:
        """Look, put in force what needs no loading, and return the versions that have to be."""
        missing = _Missing([], [])
        with self._turn:
            try:
                wanted = self._look()
            except CapacityError as error:
                self._failed("", str(error))
                return missing
            self._failures.pop("", None)
            before, revision = self._view.routings, self._view.snapshot.revision
            routings: dict[str, Routing] = {}
            for model, routing in wanted.routings.items():
                absent = [each for each in _answering(routing) if each.digest not in self._loaded]
                missing.answering.extend(absent)
                standby = routing.standby
                if standby is not None and standby.digest not in self._loaded:
                    missing.standing_by.append(standby)
                elif not absent:
                    self._failed(model, routing.problem)
                if not absent:
                    routings[model] = routing
                elif model in before:
                    routings[model] = before[model]
            self._view = View(routings, wanted.snapshot)
            if before != routings or revision != wanted.snapshot.revision:
                self._adopted_s = time.time()
            for model, routing in routings.items():
                if before.get(model) != routing:
                    self._adopted(routing)
            self._free(_digests(before) | _digests(routings), _digests(wanted.routings))
            return missing

    def _load(self, version: Version) -> None:
        """Bring a version to life, or note why it cannot be."""
        with self._turn:
            self._loading.append(version.digest)
        told = attempt(lambda: self._hosts.load(version))
        with self._turn:
            self._loading.remove(version.digest)
            now_s = time.monotonic()
            if not isinstance(told, Exception):
                self._loaded.add(version.digest)
                self._seen[version.digest] = now_s
                self._pauses.pop(version.digest, None)
            elif not self._ended.is_set():
                before = self._pauses.get(version.digest)
                pause_s = FIRST_PAUSE_S if before is None else 2.0 * before.seconds
                pause_s = min(pause_s, LONGEST_PAUSE_S)
                self._pauses[version.digest] = _Pause(pause_s, now_s + pause_s)
                self._failed(version.model, f"{version.name} cannot be loaded: {_words(told)}")

    def _free(self, answering: frozenset[str], wanted: frozenset[str]) -> None:
        """Free versions that answer no more, but not under requests that were just routed.

        Until this look, however long it took, requests were routed as before.
        """
        now_s = time.monotonic()
        self._pauses = {digest: each for digest, each in self._pauses.items() if digest in wanted}
        self._seen |= dict.fromkeys(answering | wanted, now_s)
        kept = {digest for digest, seen_s in self._seen.items() if now_s - seen_s < GRACE_S}
        if kept != self._seen.keys():
            self._seen = {digest: self._seen[digest] for digest in kept}
            self._loaded &= kept
            # What is just being loaded is nobody's yet, and not to be freed under the loader.
            self._hosts.keep(frozenset(kept.union(self._loading)))

    def _failed(self, model: str, reason: str) -> None:
        """Note why a routing is not what it should be; without a reason, that it is again."""
        if not reason:
            self._failures.pop(model, None)
            return
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
    answering = [] if routing is None else _answering(routing)
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


def _answering(routing: Routing) -> list[Version]:
    named = (routing.champion, routing.canary)
    return [each for each in named if each is not None]


def _digests(routings: Mapping[str, Routing]) -> frozenset[str]:
    named = ((*_answering(each), each.standby) for each in routings.values())
    return frozenset(each.digest for those in named for each in those if each is not None)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, GlassboxError) else type(error).__name__
