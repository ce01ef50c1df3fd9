"""One replica: the whole server of one bundle inside a process that Ray started.

It is made without a model; the bundle comes with Serve's ``user_config``, the first one before any
request. A later bundle that differs in its adapters alone is taken on while requests run; anything
else is a new replica. Knows nothing of Ray: ``entry`` gives it what it asks there.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from glassbox.deploy.bundle import Bundle, opened, read_bundle
from glassbox.deploy.ray.asgi import Receive, Scope, Send
from glassbox.deploy.ray.plan import core_of
from glassbox.errors import ConflictError, CorruptArtifact, InvalidValue
from glassbox.runtime import Runtime
from glassbox.server.app import begin_serving
from glassbox.server.process.listening import check_address
from glassbox.server.process.running import set_up_logs
from glassbox.server.routes.adapters import load_adapter, reserved_names
from glassbox.server.serving import Serving
from glassbox.server.start import assemble, whole_app
from glassbox.server.techniques.entries import Failing
from glassbox.server.telemetry.tracing import open_tracing
from glassbox.wire.addresses import is_loopback

UNLOAD_S: Final = 10.0
"""How long requests that use an adapter get before another of that name takes its place."""

SQLITE: Final = "sqlite"
"""Start of the addresses of databases that one machine has for itself."""

_log = logging.getLogger("glassbox.server")


@dataclass(frozen=True)
class Place:
    """Where a replica finds itself."""

    host: str
    """Address on which the cluster takes requests, as Ray says."""
    n_nodes: int
    """Machines of the cluster."""


@dataclass(frozen=True)
class Asked:
    """What a replica was started with: Serve's ``args``."""

    core: str
    """Digest (hex) of the bundle without its adapters."""
    host: str
    """Address on which the cluster was to take requests."""
    most_replicas: int = 1
    """Most replicas at a time."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings that win over the bundle's."""


class ReplicaServer:
    """The server of one replica.

    Args:
        asked: What it was started with.
        place: Returns where it is.
    """

    def __init__(self, asked: Asked, place: Callable[[], Place]) -> None:
        self._asked = asked
        self._place = place
        self._app: Any = None
        self._serving: Serving | None = None
        self._bundle: Bundle | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: the whole app, as behind ``glassbox serve``."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        assert self._app is not None
        await self._app(scope, receive, send)

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the adapters that requests may give here."""
        if self._serving is None:
            return frozenset()
        return frozenset(each.name for each in self._serving.engine.adapters)

    async def take(self, path: str, digest: str) -> None:
        """Serve a bundle from now on.

        Args:
            path: Its folder or archive on this machine.
            digest: What it must be (hex).

        Raises:
            CorruptArtifact: Another bundle is there, or a damaged one.
            ConflictError: It differs in more than adapters from the one that is served.
            GlassboxError: As ``glassbox serve`` says.
        """
        async with self._turn:
            if self._serving is None:
                await self._begin(path, digest)
            elif self._bundle is not None and self._bundle.digest != digest:
                await asyncio.to_thread(self._change, self._serving, path, digest)

    def check(self) -> None:
        """Raise where the model answers nobody any more; Ray then starts another replica.

        Raises:
            ConflictError: The model has failed, or was changed for good.
        """
        engine: object = None if self._serving is None else self._serving.engine
        if isinstance(engine, Failing) and engine.failure:
            raise ConflictError(engine.failure)

    def close(self) -> None:
        """End the model and write what was recorded; the second time does nothing."""
        serving, self._serving = self._serving, None
        if self._app is not None:
            self._app.state.guards.lifecycle.drain()
            self._app.state.serving = None
        if serving is not None:
            serving.close()
        if self._app is not None:
            self._app.state.guards.early.close()
            self._app.state.guards.tracing.close()

    async def _begin(self, path: str, digest: str) -> None:
        set_up_logs()
        bundle = await asyncio.to_thread(self._read, path, digest)
        place = await asyncio.to_thread(self._place)
        host = safe_host(self._asked.host, place.host)
        found = await asyncio.to_thread(opened, Path(path))
        runtime = Runtime.load({**found.overrides, **self._asked.settings, "server.host": host})
        check_database(runtime.settings.storage.url, self._asked.most_replicas, place.n_nodes)
        settings = runtime.settings
        keys = await asyncio.to_thread(runtime.key_store)
        check_address(host, has_keys=await asyncio.to_thread(keys.any_active))
        # Made on the loop's thread, which alone changes what it counts.
        app = whole_app(
            settings.server,
            keys,
            None,
            open_tracing(settings.telemetry),
            settings.paths.studies,
        )
        self._app = app
        serving = await asyncio.to_thread(lambda: assemble(runtime, found.wanted, app.state.guards))
        begin_serving(app, serving)
        self._serving, self._bundle = serving, bundle
        _log.info("ready: %s, bundle %s", serving.name, bundle.digest[:12])

    def _read(self, path: str, digest: str) -> Bundle:
        bundle = read_bundle(Path(path))
        if bundle.digest != digest:
            raise CorruptArtifact(
                path,
                f"the bundle on this machine has digest {bundle.digest[:12]}; deployed was "
                f"{digest[:12]}",
                remedy="Every machine of the cluster needs the same bundle under this path: put it "
                "on a shared file system or into the image, then deploy it again.",
            )
        return bundle

    def _change(self, serving: Serving, path: str, digest: str) -> None:
        """Load the adapters that are new or others, and let go of those that are gone."""
        bundle = self._read(path, digest)
        if core_of(bundle) != self._asked.core or self._bundle is None:
            raise ConflictError(
                f"The bundle {digest[:12]} differs in more than its adapters from the one that "
                "this replica serves: deploy it with 'glassbox deploy ray', which replaces "
                "replicas, or write the configuration anew."
            )
        folder = opened(Path(path)).folder
        engine = serving.engine
        before = self._bundle.adapters
        there = {each.name for each in engine.adapters}
        for name, part in bundle.adapters.items():
            known = before.get(name)
            if known is not None and known.digest == part.digest and name in there:
                continue
            reserved = reserved_names(serving) - {name}
            load_adapter(
                engine, name, str(folder / part.path), reserved=reserved, in_place=name in there
            )
        for name in before.keys() - bundle.adapters.keys():
            if name in there:
                engine.unload_adapter(name, timeout_s=UNLOAD_S)
        self._bundle = bundle
        _log.info("bundle %s: %d adapters", digest[:12], len(bundle.adapters))


async def _lifespan(receive: Receive, send: Send) -> None:
    """Say that the app is up before it has a model: Ray asks that first."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def safe_host(asked: str, actual: str) -> str:
    """Return the address on which requests really come, by which it is decided who needs a key.

    Raises:
        InvalidValue: The cluster takes requests from everywhere, and that was not asked for.
    """
    if is_loopback(asked) and not is_loopback(actual):
        raise InvalidValue(
            "host",
            asked,
            f"{actual}, on which Ray Serve of this cluster takes requests",
            remedy="Deploy with --host and that address; others can reach it, so it needs an API "
            "key.",
        )
    return actual


def check_database(url: str, most_replicas: int, n_nodes: int) -> None:
    """Refuse a database of one machine for replicas on several.

    Raises:
        InvalidValue: Registry, keys and audit log would be others on each machine.
    """
    if url.startswith(SQLITE) and most_replicas > 1 and n_nodes > 1:
        raise InvalidValue(
            "storage.url",
            url,
            "a PostgreSQL database where replicas are on several machines, because each would have "
            "a registry, keys and an audit log of its own",
            remedy="Set GLASSBOX_STORAGE__URL=postgresql+psycopg://… on every machine.",
        )
