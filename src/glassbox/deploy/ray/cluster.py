"""Putting an application onto a Ray cluster, looking at it, taking it down again.

Other applications of the same Serve are left as they are. Ray is imported inside the functions.
"""

import contextlib
import importlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from glassbox.deploy.bundle import verify_bundle
from glassbox.deploy.ray.entry import serve_library
from glassbox.deploy.ray.plan import APPLICATION, RayPlan
from glassbox.deploy.ray.serve_config import IMPORT_PATH, application, checked, controller_options
from glassbox.deploy.ray.state import FAILED, Deployed, read_state
from glassbox.errors import CapacityError, ConflictError, DeadlineExceeded, GlassboxError
from glassbox.progress import Say, unsaid
from glassbox.techniques.remote.ray_cluster import LOCAL, join, ray_library
from glassbox.wording import counted

WAIT_S: Final = 1800.0
"""Seconds that an application gets to come up: weights of many gigabytes take their time."""

POLL_S: Final = 0.5
"""Seconds between two looks."""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, as this program sees it.

    Args:
        address: ``local`` starts one on this machine that ends with the program; ``auto`` finds one
            that runs on it; else ``host:port`` of its head.
        num_cpus: Processors that a cluster of our own may give away; None takes all.
        say: Told in words what is done.
    """

    address: str = "auto"
    num_cpus: int | None = None
    say: Say = field(default=unsaid)

    def deploy(
        self, plan: RayPlan, *, may_grow: bool = False, timeout_s: float = WAIT_S
    ) -> Deployed:
        """Bring the cluster to what a plan says, and return what then runs.

        The same plan again changes nothing; another bundle replaces replicas one by one, or reaches
        them as they run where only its adapters are others.

        Args:
            plan: What is to run.
            may_grow: Whether the cluster adds machines by itself: then waits instead of refusing.
            timeout_s: Longest wait for all replicas.

        Raises:
            Unreachable: No cluster answers.
            CorruptArtifact: The bundle is damaged.
            CapacityError: The cluster has not what a replica takes, or the port is taken.
            ConflictError: Another application has the name or the path, or it does not come up.
            DeadlineExceeded: It has not come up in time; it stays, and goes on trying.
        """
        verify_bundle(Path(plan.bundle)).check(plan.bundle)
        checked({"applications": [application(plan)]})
        if self.address == LOCAL and not ray_library().is_initialized():
            # Said before a cluster of our own takes its time to start.
            _check_port(plan.host, plan.port)
        ray = self.join()
        if not may_grow:
            check_room(ray.cluster_resources(), plan)
        client = self._serve(plan)
        plan = self._where(plan, client)
        if plan.surge and not may_grow and _is_replaced(client, plan):
            check_room(ray.cluster_resources(), plan, n_new=1)
        others = self._others(client, plan)
        schema = checked({"applications": [*others, application(plan)]})
        self.say(f"deploying bundle {plan.digest[:12]} as {plan.name!r}")
        with quiet_serve():
            client.deploy_apps(schema)
        try:
            return self._wait(client, plan, timeout_s)
        except KeyboardInterrupt:
            self.say(self._rest(plan.name, "--status", "shows what becomes of it"))
            raise

    def status(self, name: str) -> Deployed | None:
        """Return what runs under a name; None without any.

        Raises:
            Unreachable: No cluster answers.
        """
        self.join()
        client = self._client()
        return None if client is None else self._state(client, name)

    def destroy(self, name: str) -> bool:
        """Take an application down, running requests first; return whether there was one.

        Serve itself ends with its last application.

        Raises:
            Unreachable: No cluster answers.
            ConflictError: Another program's application has that name.
        """
        self.join()
        client = self._client()
        details = {} if client is None else client.get_serve_details()
        if client is None or name not in details.get("applications", {}):
            return False
        _check_ours(name, details["applications"][name])
        with quiet_serve():
            client.delete_apps([name], blocking=True)
            # A local cluster ends as a whole, with the program.
            if self.address != LOCAL and not client.get_serve_details().get("applications"):
                self.say("no application is left: Serve ends")
                serve_library().shutdown()
        return True

    def join(self) -> ModuleType:
        """Return Ray, connected.

        Raises:
            Unreachable: No cluster answers.
        """
        return join(self.address, num_cpus=self.num_cpus)

    def _serve(self, plan: RayPlan) -> Any:
        client = self._client()
        if client is not None:
            return client
        _check_port(plan.host, plan.port)
        self.say(f"starting Ray Serve on {plan.host}:{plan.port}")
        with quiet_serve():
            serve_library().start(
                proxy_location="EveryNode",
                http_options={"host": plan.host, "port": plan.port},
                logging_config={"enable_access_log": False},
                controller_options=controller_options(),
            )
        client = self._client()
        if client is None:
            raise GlassboxError("Ray Serve was started and does not answer; see Ray's logs.")
        return client

    @staticmethod
    def _client() -> Any:
        """Return the way to the cluster's Serve; None where it has none."""
        context = importlib.import_module("ray.serve.context")
        absent = importlib.import_module("ray.serve.exceptions").RayServeException
        try:
            with quiet_serve():
                return context._get_global_client(raise_if_no_controller_running=True)
        except absent:
            return None

    def _where(self, plan: RayPlan, client: Any) -> RayPlan:
        """Return the plan with the address at which Serve really listens."""
        host, port = str(client.http_config.host), int(client.http_config.port)
        if (host, port) != (plan.host, plan.port):
            self.say(
                f"Ray Serve of this cluster listens on {host}:{port} already; that cannot be "
                "changed while it runs"
            )
        return replace(plan, host=host, port=port)

    @staticmethod
    def _others(client: Any, plan: RayPlan) -> list[Any]:
        """Return the configurations of what else runs: leaving one out would end it."""
        others = []
        for name, found in client.get_serve_details().get("applications", {}).items():
            if name == plan.name:
                _check_ours(name, found)
                continue
            if found.get("route_prefix") == "/":
                raise ConflictError(
                    f"The application {name!r} of this cluster answers under '/', where "
                    f"{plan.name!r} would. Take it down, or give it another route_prefix."
                )
            if found.get("deployed_app_config"):
                others.append(found["deployed_app_config"])
        return others

    def _wait(self, client: Any, plan: RayPlan, timeout_s: float) -> Deployed:
        until_s, told = time.monotonic() + timeout_s, ""
        while True:
            state = self._state(client, plan.name)
            if state is not None:
                wanted = counted(
                    state.wanted or plan.replicas, "replica answers", "replicas answer"
                )
                line = f"{state.n_ready} of {wanted}"
                if line != told:
                    self.say(line)
                    told = line
                if state.status == "RUNNING" and state.digest == plan.digest:
                    return state
                if state.status in FAILED:
                    raise ConflictError(
                        f"{plan.name!r} does not come up ({state.status}): {state.message} "
                        "What ran before goes on where it could. "
                        f"{self._rest(plan.name, '--destroy', 'takes it down')}"
                    )
            if time.monotonic() > until_s:
                doing = "" if state is None else f" ({state.status}: {state.message})"
                raise DeadlineExceeded(
                    f"{plan.name!r} has not come up within {timeout_s:g} s{doing}. "
                    f"{self._rest(plan.name, '--status', 'shows what becomes of it')}"
                )
            time.sleep(POLL_S)

    def _rest(self, name: str, option: str, does: str) -> str:
        """Return what becomes of an application that is half there, and how to see to it."""
        if self.address == LOCAL:
            return "The cluster ends with the program that started it."
        named = "" if name == APPLICATION else f"--name {name} "
        command = f"glassbox deploy ray --address {self.address} {named}{option}"
        return f"The cluster goes on with it; '{command}' {does}."

    def _state(self, client: Any, name: str) -> Deployed | None:
        host, port = str(client.http_config.host), int(client.http_config.port)
        state = importlib.import_module("ray._private.state")
        actors = state.actors() or {}
        return read_state(
            name, client.get_serve_details(), f"http://{_reached(host)}:{port}", actors.values()
        )


def check_room(resources: dict[str, float], plan: RayPlan, *, n_new: int = 0) -> None:
    """Refuse a plan for which a cluster has no room.

    Args:
        resources: What the cluster has in all.
        plan: What is to run.
        n_new: Replicas of an update that run beside those before.

    Raises:
        CapacityError: It has less than the first replicas and those of an update take.
    """
    share = plan.share
    grow = (
        "Ask for less, join more machines ('ray start --address=HEAD:6379'), or pass --may-grow "
        "where the cluster adds machines by itself."
    )
    kind = f"accelerator_type:{share.accelerator}"
    if share.accelerator and kind not in resources:
        kinds = sorted(key[17:] for key in resources if key.startswith("accelerator_type:"))
        raise CapacityError(
            f"No machine of this cluster has a GPU of type {share.accelerator!r}; there are: "
            f"{', '.join(kinds) or 'none'}. {grow}"
        )
    update = ", one of them for the time of the update (--no-surge ends an old one first)"
    for what, each in (("GPU", share.num_gpus), ("CPU", share.num_cpus)):
        n = plan.replicas + n_new
        has, wants = float(resources.get(what, 0.0)), each * n
        if wants > has:
            missing = "has no GPUs" if what == "GPU" and not has else f"has {has:g}"
            raise CapacityError(
                f"{n} replica(s) with {each:g} {what} each{update if n_new else ''} need {wants:g} "
                f"{what}; the cluster {missing}. {grow}"
            )


@contextlib.contextmanager
def quiet_serve() -> Iterator[None]:
    """Keep Ray Serve's own remarks from the terminal; its errors are still said."""
    logger = logging.getLogger("ray.serve")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def free_port() -> int:
    """Return a port of this machine that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _check_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CapacityError(
            f"Ray Serve cannot listen on {host}:{port} ({reason}). Choose another with --port."
        ) from error


def _is_replaced(client: Any, plan: RayPlan) -> bool:
    """Return whether replicas run that cannot take a plan on as they are."""
    found = client.get_serve_details().get("applications", {}).get(plan.name, {})
    config = found.get("deployed_app_config")
    return bool(config) and config.get("args") != application(plan)["args"]


def _check_ours(name: str, found: dict[str, Any]) -> None:
    config = found.get("deployed_app_config") or {}
    if config.get("import_path") != IMPORT_PATH:
        raise ConflictError(
            f"The name {name!r} is taken: an application of this cluster that is not Glassbox's "
            "has it. Choose another with --name."
        )


def _reached(host: str) -> str:
    """Return a host by which somebody on the head's machine reaches the proxies."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
