"""``glassbox deploy ray``: a bundle as a Ray Serve application, looked at, changed, removed.

Parses, makes one call, prints. Knows nothing of Ray.
"""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbox.artifacts import write_bytes
from glassbox.cli.arguments import options
from glassbox.cli.arguments.moments import to_second
from glassbox.cli.terminal.console import note, print_json, print_table, print_text
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import InvalidValue
from glassbox.settings import effective, load_settings
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.deploy.ray import Cluster, Deployed, RayPlan


def ray(
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            "-b",
            help="Folder or archive of 'glassbox bundle make', under the same path on every "
            "machine of the cluster.",
        ),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            "--address",
            help="'local' starts a cluster here that ends with this command; 'auto' finds one that "
            "runs on this machine; else HOST:PORT of its head.",
        ),
    ] = "local",
    name: Annotated[str, typer.Option("--name", help="Name of the application.")] = "glassbox",
    replicas: Annotated[
        int, typer.Option("--replicas", help="Copies of the model at first.", min=1)
    ] = 1,
    min_replicas: Annotated[
        int | None, typer.Option("--min-replicas", help="Fewest copies; turns on autoscaling.")
    ] = None,
    max_replicas: Annotated[
        int | None, typer.Option("--max-replicas", help="Most copies; turns on autoscaling.")
    ] = None,
    target_ongoing: Annotated[
        int, typer.Option("--target-ongoing", help="Requests in hand per copy to aim at.", min=1)
    ] = 32,
    num_gpus: Annotated[
        float,
        typer.Option("--num-gpus", help="Share of a GPU for each copy, 0 to 1. Not exercised."),
    ] = 0.0,
    num_cpus: Annotated[float, typer.Option("--num-cpus", help="Processors for each copy.")] = 1.0,
    accelerator: Annotated[
        str, typer.Option("--accelerator", help="Ray's type of GPU, such as A10G. Not exercised.")
    ] = "",
    memory: Annotated[
        int | None,
        typer.Option("--memory", help="Bytes set aside for each copy; Ray counts them only."),
    ] = None,
    surge: Annotated[
        bool,
        typer.Option(
            "--surge/--no-surge",
            help="On an update, start a new copy before an old one ends; needs room for one more.",
        ),
    ] = True,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others need an API key.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    may_grow: Annotated[
        bool,
        typer.Option(
            "--may-grow", help="The cluster adds machines by itself: wait for them. Not exercised."
        ),
    ] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", help="Longest wait for all copies, in seconds.", min=1.0)
    ] = 1800.0,
    write_config: Annotated[
        Path | None,
        typer.Option("--write-config", help="Write what 'serve deploy' takes, and do nothing."),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show what runs.")] = False,
    destroy: Annotated[bool, typer.Option("--destroy", help="Take the application down.")] = False,
    json: options.AsJson = False,
) -> None:
    """Answer with a bundle from several replicas on a Ray cluster, with the server's HTTP face.

    The same command again with another bundle is an update without a lost request. Exercised on
    clusters of one machine without GPUs; several machines and GPUs were not.
    """
    from glassbox.deploy.ray import Cluster, RayPlan, Share
    from glassbox.deploy.ray.cluster import free_port

    cluster = Cluster(address, say=lambda line: note(f"  {line}"))
    if status and destroy:
        raise InvalidValue("--status", True, "one of --status and --destroy at a time")
    if status or destroy:
        _check_found(address, "--status" if status else "--destroy")
        _show(cluster, name, as_json=json) if status else _destroy(cluster, name)
        return
    if bundle is None:
        raise InvalidValue("--bundle", None, "a bundle; make one with 'glassbox bundle make'")
    plan = RayPlan.of(
        bundle,
        name=name,
        replicas=max(replicas, min_replicas or 0),
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        target_ongoing=target_ongoing,
        share=Share(num_gpus, num_cpus, accelerator, memory),
        surge=surge,
        drain_s=load_settings().server.drain_s,
        host=host,
        port=port or free_port(),
        settings=_own_settings() if address == "local" and write_config is None else {},
    )
    if write_config is not None:
        _write(plan, write_config)
        return
    deployed = cluster.deploy(plan, may_grow=may_grow, timeout_s=wait_s)
    print_json(deployed.to_json()) if json else _welcome(deployed)
    if address == "local":
        _stay(cluster, name)


def _own_settings() -> dict[str, Any]:
    """Return what this program's environment and file set; replicas here shall have it, too."""
    taken = ("server.host", "server.port", "engine.model")
    return {
        each.key: each.value
        for each in effective()
        if each.source != "default" and each.key not in taken
    }


def _check_found(address: str, what: str) -> None:
    if address == "local":
        raise InvalidValue(
            "--address", address, f"'auto' or HOST:PORT with {what}: a local cluster ends with the "
            "command that started it",
        )  # fmt: skip


def _write(plan: "RayPlan", path: Path) -> None:
    from glassbox.deploy.ray import as_yaml, serve_config
    from glassbox.deploy.ray.serve_config import checked

    config = serve_config(plan)
    checked(config)
    write_bytes(path, as_yaml(config).encode())
    note(f"Wrote {path}. Deploy it with: serve deploy {path}")


def _welcome(deployed: "Deployed") -> None:
    note(
        f"\nReady: {deployed.name}, {deployed.n_ready} of {counted(deployed.wanted, 'replica')}, "
        f"bundle {deployed.digest[:12]}"
    )
    note(f"  dashboard    {deployed.address}/")
    note(f"  OpenAI API   {deployed.address}/v1")
    note(f"  routes       {deployed.address}/openapi.json")


def _stay(cluster: "Cluster", name: str) -> None:
    note("\nCtrl-C takes it down; running requests finish first.")
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        ended.wait()
    except KeyboardInterrupt:
        note("")
    finally:
        signal.signal(signal.SIGTERM, before)
    cluster.destroy(name)
    note("Stopped.")


def _destroy(cluster: "Cluster", name: str) -> None:
    was_there = cluster.destroy(name)
    note(f"Took {name!r} down." if was_there else f"Nothing runs as {name!r}: nothing to do.")


def _show(cluster: "Cluster", name: str, *, as_json: bool) -> None:
    found = cluster.status(name)
    if as_json:
        print_json(None if found is None else found.to_json())
    elif found is None:
        print_text(f"Nothing runs as {name!r} on this cluster.")
    else:
        _print(found)
    if found is None or found.status != "RUNNING":
        raise typer.Exit(ExitCode.INCOMPLETE)


def _print(found: "Deployed") -> None:
    print_text(
        f"{found.name}: {found.status}, {found.n_ready} of {counted(found.wanted, 'replica')}, "
        f"{found.address}"
    )
    print_text(f"bundle {found.digest[:12]}  {found.bundle}")
    if found.message:
        print_text(found.message)
    print_table(
        ("replica", "state", "pid", "machine", "since"),
        [
            (each.id, each.state, each.pid, each.node, f"{to_second(each.started_s)} UTC")
            for each in found.replicas
        ],
    )
    for each in found.fallen:
        print_text(f"ended unasked {to_second(each.ended_s)} UTC  {each.id} (pid {each.pid})")
        print_text(f"  {each.reason}")
