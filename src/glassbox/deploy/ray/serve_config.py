"""A plan in Ray Serve's words: the configuration that ``serve deploy`` takes.

One way for all: the command gives the same values to the cluster that the file holds. Secrets are
in neither; they belong into the environment of the cluster's machines.
"""

import importlib
from types import ModuleType
from typing import Any, Final

from glassbox.deploy.ray.plan import DEPLOYMENT, RayPlan
from glassbox.errors import DependencyMissing

IMPORT_PATH: Final = "glassbox.deploy.ray.entry:build"
"""What Ray calls to make the application; it must be installed on every machine."""

PROXY_FACE: Final = "glassbox.server.proxy_face:middlewares"
"""What Ray's proxies put around every request."""

PROXY_VARIABLE: Final = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""Where Ray's proxies look for that. Source: Ray Serve 2.60, ``_private/constants.py``."""

PROXY_START_S: Final = "60"
"""Seconds that a proxy gets to start."""

PATIENCE_VARIABLE: Final = "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"
"""Where Ray reads that; 5 s where it is not set. Source: as above."""

MOST_ONGOING: Final = 1024
"""Requests that one replica is given at a time: Glassbox batches them and says itself when it is
full, as ``server.max_waiting`` tells it. Ray's default of 5 would starve the batch."""

MOST_QUEUED: Final = 4096
"""Requests that wait in each proxy while no replica can take them, as during an update."""

RETRY_AFTER_S: Final = 1.0
"""When to come back where even these are too many."""

MOST_STARTS: Final = 3
"""Times that a replica which does not start is tried again."""

END_S: Final = 5.0
"""Seconds beyond the drain in which a replica closes its model and its log."""

HEALTH_PERIOD_S: Final = 5.0
"""Seconds between two questions whether a replica is well."""

HEADER: Final = """\
# Made by 'glassbox deploy ray --write-config'. Use it with 'serve deploy FILE', or as serveConfigV2
# of KubeRay. Database, keys and other secrets are not in here: set GLASSBOX_STORAGE__URL and the
# like in the environment of every machine of the cluster.
"""


def serve_config(plan: RayPlan) -> dict[str, Any]:
    """Return the configuration of a whole cluster's Serve, this application the only one."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": plan.host, "port": plan.port},
        "controller_options": controller_options(),
        # Glassbox writes a line for each request itself, with key and trace.
        "logging_config": {"enable_access_log": False},
        "applications": [application(plan)],
    }


def controller_options() -> dict[str, Any]:
    """Return what the proxies inherit: our form for Ray's own errors, and time to start.

    Ray kills a proxy that has not started within five seconds, which on a busy machine is any.
    """
    return {
        "runtime_env": {"env_vars": {PROXY_VARIABLE: PROXY_FACE, PATIENCE_VARIABLE: PROXY_START_S}}
    }


def application(plan: RayPlan) -> dict[str, Any]:
    """Return one application.

    A change of ``args`` replaces replicas one by one; one of ``user_config`` reaches running ones.
    """
    args: dict[str, Any] = {"core": plan.core, "host": plan.host, "most_replicas": plan.most}
    if plan.settings:
        args["settings"] = dict(plan.settings)
    return {
        "name": plan.name,
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": args,
        "deployments": [_deployment(plan)],
    }


def _deployment(plan: RayPlan) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": DEPLOYMENT,
        "user_config": {"bundle": plan.bundle, "digest": plan.digest},
        "max_ongoing_requests": MOST_ONGOING,
        "max_queued_requests": MOST_QUEUED,
        "backpressure_config": {"status_code": 503, "retry_after_s": RETRY_AFTER_S},
        "graceful_shutdown_timeout_s": plan.drain_s + END_S,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": HEALTH_PERIOD_S,
        "max_constructor_retry_count": MOST_STARTS,
        "ray_actor_options": plan.share.options(),
        "logging_config": {"enable_access_log": False},
    }
    if plan.surge:
        # At least one whole copy: Ray rounds up.
        found["max_surge_percent"] = 1
    if plan.is_autoscaled:
        found["autoscaling_config"] = {
            "min_replicas": plan.fewest,
            "max_replicas": plan.most,
            "initial_replicas": plan.replicas,
            "target_ongoing_requests": plan.target_ongoing,
        }
    else:
        found["num_replicas"] = plan.replicas
    return found


def as_yaml(config: dict[str, Any]) -> str:
    """Return a configuration as the file that ``serve deploy`` takes.

    Raises:
        DependencyMissing: PyYAML, which comes with Ray, is not installed.
    """
    return HEADER + str(_library("yaml").safe_dump(config, sort_keys=False))


def checked(config: dict[str, Any]) -> Any:
    """Return a configuration as Ray's own model of it, which refuses what Ray would refuse.

    Raises:
        DependencyMissing: Ray Serve is not installed.
    """
    return _library("ray.serve.schema").ServeDeploySchema.model_validate(config)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise DependencyMissing(error.name or name, "ray") from error
