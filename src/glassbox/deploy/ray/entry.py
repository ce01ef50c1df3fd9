"""What Ray Serve imports: the application of a configuration that ``serve_config`` made.

The only place that meets Serve inside the cluster. Ray is imported inside the functions.
"""

import importlib
from types import ModuleType
from typing import Any

from glassbox.deploy.ray.plan import DEPLOYMENT
from glassbox.deploy.ray.routing_hint import MOST_HINTS, RoutingHint
from glassbox.errors import DependencyMissing


def build(args: dict[str, Any]) -> Any:
    """Return the Serve application; Ray calls this with the ``args`` of the configuration.

    Args:
        args: ``core``, ``host``, ``most_replicas`` and, if any, ``settings``.

    Raises:
        DependencyMissing: Ray Serve is not installed.
    """
    serve = serve_library()

    class Replica:
        """One replica, as Serve drives it."""

        def __init__(self, asked: dict[str, Any]) -> None:
            # Imported here: only replicas have a model.
            from glassbox.deploy.ray.replica import Asked, ReplicaServer

            self._server = ReplicaServer(Asked(**asked), _place)

        def __serve_build_asgi_app__(self) -> Any:
            """Return the app that requests come to."""
            return RoutingHint(self._server, lambda: self._server.adapters, self._note)

        async def reconfigure(self, config: dict[str, Any]) -> None:
            """Serve another bundle; the first time, load everything."""
            await self._server.take(str(config["bundle"]), str(config["digest"]))

        async def check_health(self) -> None:
            """Raise where this replica should be replaced."""
            self._server.check()

        def __del__(self) -> None:
            """End the model once the last request has been answered."""
            if hasattr(self, "_server"):
                self._server.close()

        async def _note(self, name: str) -> None:
            await self._seen(name)

        @serve.multiplexed(max_num_models_per_replica=MOST_HINTS)  # type: ignore[untyped-decorator]
        async def _seen(self, name: str) -> str:
            return name

    ingress = serve.ingress()(Replica)
    return serve.deployment(name=DEPLOYMENT)(ingress).bind(args)


def serve_library() -> ModuleType:
    """Return Ray Serve.

    Raises:
        DependencyMissing: It is not installed.
    """
    try:
        return importlib.import_module("ray.serve")
    except ModuleNotFoundError as error:
        raise DependencyMissing("ray", "ray") from error


def _place() -> Any:
    """Return where requests come in, and how large the cluster is."""
    from glassbox.deploy.ray.replica import Place

    ray = importlib.import_module("ray")
    context = importlib.import_module("ray.serve.context")
    constants = importlib.import_module("ray.serve._private.constants")
    host = str(context._get_global_client().http_config.host)
    if constants.RAY_SERVE_ENABLE_DIRECT_INGRESS:
        # Replicas take requests themselves then, on every address of their machines.
        host = "0.0.0.0"
    return Place(host, sum(bool(node["Alive"]) for node in ray.nodes()))
