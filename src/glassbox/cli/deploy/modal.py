"""``glassbox deploy modal``: the whole server at Modal, shown, rehearsed or deployed.

Parses, makes one call, prints. Knows nothing of Modal.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbox.cli.arguments import options
from glassbox.cli.terminal.console import note, print_json, print_table
from glassbox.errors import InvalidValue, UnknownName
from glassbox.runtime import Runtime
from glassbox.wording import size_of

if TYPE_CHECKING:
    from glassbox.deploy.modal.definition import Definition
    from glassbox.deploy.modal.deploying import Functions, Rehearsal
    from glassbox.storage.key_record import KeyRecord
    from glassbox.techniques.remote.modal_account import Upload


def modal(
    bundle: Annotated[
        Path, typer.Option("--bundle", "-b", help="Folder or archive of 'glassbox bundle make'.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what there would be; send nothing.")
    ] = False,
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse",
            help="Run the class that would be deployed in this process and ask it once; send "
            "nothing.",
        ),
    ] = False,
    techniques: Annotated[
        bool,
        typer.Option(
            "--techniques", help="Also an app that runs your own functions beside the base model."
        ),
    ] = False,
    app: Annotated[
        str | None, typer.Option("--app", help="Name of the app; an equal one is replaced.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", help="Environment of your workspace.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="L4, A10G, H100, any …; without one, processors.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Regions it may run in, with commas.")
    ] = None,
    min_containers: Annotated[
        int | None, typer.Option("--min-containers", help="Containers that stay.", min=0)
    ] = None,
    max_containers: Annotated[
        int | None, typer.Option("--max-containers", help="Most containers at a time.", min=1)
    ] = None,
    scaledown_window: Annotated[
        int | None,
        typer.Option(
            "--scaledown-window", help="Idle seconds until the others go.", min=2, max=3600
        ),
    ] = None,
    max_inputs: Annotated[
        int | None,
        typer.Option("--max-inputs", help="Requests that one container answers at a time.", min=1),
    ] = None,
    no_snapshot: Annotated[
        bool, typer.Option("--no-snapshot", help="Load the model anew in every container.")
    ] = False,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", help="Modal secret for the container; may be repeated."),
    ] = None,
    database_secret: Annotated[
        str | None,
        typer.Option(
            "--database-secret",
            help="Modal secret with GLASSBOX_STORAGE__URL, a PostgreSQL that all containers share.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            help="Id of an API key to let in; may be repeated. Without: all of this machine.",
        ),
    ] = None,
    keep_warm: Annotated[int | None, typer.Option("--keep-warm", hidden=True)] = None,
    container_idle_timeout: Annotated[
        int | None, typer.Option("--container-idle-timeout", hidden=True)
    ] = None,
    concurrency_limit: Annotated[
        int | None, typer.Option("--concurrency-limit", hidden=True)
    ] = None,
    allow_concurrent_inputs: Annotated[
        int | None, typer.Option("--allow-concurrent-inputs", hidden=True)
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Put a bundle behind an address at Modal: the same server as on this machine.

    Further choices are settings of the section modal. Exercised: definitions, options, the class as
    it travels, and by --rehearse everything that it does. Never run in Modal's cloud.
    """
    from glassbox.deploy.modal.definition import define_server, source_of
    from glassbox.deploy.modal.deploying import deploy, technique_app
    from glassbox.deploy.modal.deploying import rehearse as rehearsed
    from glassbox.techniques.modal_names import translated

    if dry_run and rehearse:
        raise InvalidValue("--rehearse", True, "nothing together with --dry-run")
    numbers, notes = translated(
        {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "scaledown_window": scaledown_window,
            "max_inputs": max_inputs,
        },
        {
            "keep_warm": keep_warm,
            "container_idle_timeout": container_idle_timeout,
            "concurrency_limit": concurrency_limit,
            "allow_concurrent_inputs": allow_concurrent_inputs,
        },
    )
    for each in notes:
        note(each)
    runtime = Runtime.load(
        {
            "modal.app": app,
            "modal.environment": environment,
            "modal.gpu": gpu,
            "modal.region": region,
            "modal.min_containers": numbers["min_containers"],
            "modal.max_containers": numbers["max_containers"],
            "modal.scaledown_window_s": numbers["scaledown_window"],
            "modal.max_inputs": numbers["max_inputs"],
            "modal.snapshot": False if no_snapshot else None,
            "modal.secrets": ",".join(secret) if secret else None,
            "modal.database_secret": database_secret,
        }
    )
    wanted = runtime.settings.modal
    source = source_of(bundle)
    keys = [] if wanted.database_secret else _chosen(runtime.key_store().records(), key or ())
    definition = define_server(source, wanted, keys)
    functions = technique_app(source, wanted) if techniques else None
    if rehearse:
        _show_rehearsal(rehearsed(definition, source), json=json)
        return
    if dry_run:
        from glassbox.deploy.modal.app import modal_app

        modal_app(definition)
    if not json:
        _show(definition, functions)
    if dry_run:
        if json:
            print_json(_as_json(definition, functions))
        else:
            note("\nNothing was sent. Leave --dry-run out to deploy.")
        return
    done = deploy(definition, techniques=functions, report=note)
    if json:
        print_json(done)
        return
    note(f"\nDeployed: {done.address}")
    note(f"  curl {done.address}/v1/models -H 'authorization: Bearer KEY'")
    note(f"  back to the one before: modal app rollback {done.app}")
    note(f"  away with it: modal app stop {done.app}")


def _chosen(keys: "list[KeyRecord]", wanted: "list[str] | tuple[()]") -> "list[KeyRecord]":
    """Return the keys that are let in: those named, or all."""
    known = {each.id: each for each in keys}
    for each in wanted:
        if each not in known:
            raise UnknownName("active API key", each, known)
    return [known[each] for each in wanted] if wanted else keys


def _show(definition: "Definition", functions: "Functions | None") -> None:
    options_ = definition.options
    plan = definition.plan
    least, most = options_["min_containers"], options_["max_containers"]
    containers = f"{most}, always" if least == most else f"{least} to {most}"
    if least < most:
        containers += f", let go after {options_['scaledown_window']} idle s"
    at_a_time = f"{definition.concurrency['max_inputs']} requests at a time"
    if "target_inputs" in definition.concurrency:
        at_a_time += f", aiming at {definition.concurrency['target_inputs']}"
    memory = options_["memory"]
    rows: list[tuple[str, Any]] = [
        ("app", f"{definition.app}, class Server, Python {definition.python}"),
        ("address", definition.address),
        ("bundle", f"{definition.bundle}, {definition.bundle_digest[:12]}"),
        ("device", f"GPU {', else '.join(options_['gpu'])}" if options_["gpu"] else "processors"),
        ("cores", options_["cpu"] or "as few as Modal gives"),
        ("memory", f"{memory} MiB" if memory else "as little as Modal gives"),
        ("regions", ", ".join(options_["region"] or ["anywhere"])),
        ("containers", containers),
        ("each answers", at_a_time),
        ("snapshot", "model loaded on the CPU, kept, then moved" if plan.has_snapshot else "none"),
        ("image", f"{len(definition.requirements)} pinned packages, this glassbox"),
        ("volume", ", ".join(f"{name} at {at}" for at, name in definition.volumes.items())),
        ("sends first", "\n".join(_upload(each) for each in definition.uploads)),
        ("secrets", ", ".join(each.name for each in definition.secrets) or "none"),
        ("settings", "\n".join(f"{key} = {value}" for key, value in plan.settings.items())),
        ("database", "each container's own" if plan.has_own_database else "shared, by secret"),
        ("keys let in", ", ".join(f"{each.name} ({each.id})" for each in plan.keys) or "its own"),
    ]
    if functions is not None:
        rows.append(("functions", f"app {functions.app.name}, one container"))
    print_table(["what", "at Modal"], rows)
    for each in definition.notes:
        note(f"- {each}")
    if functions is not None:
        note(f"- Functions: {functions.call}")


def _upload(upload: "Upload") -> str:
    return f"{size_of(upload.n_bytes)} to {upload.place}"


def _as_json(definition: "Definition", functions: "Functions | None") -> dict[str, Any]:
    name = None if functions is None else functions.app.name
    return {**definition.to_json(), "techniques": name}


def _show_rehearsal(found: "Rehearsal", *, json: bool) -> None:
    if json:
        print_json(found)
        return
    print_table(
        ["rehearsed", "found"],
        [
            ("base model", found.model),
            ("names", ", ".join(found.names)),
            ("without a key", "refused" if found.refuses_strangers else "LET IN"),
            ("'The film was'", found.text),
        ],
    )
    note("Both steps of starting ran, and the app answered. Nothing was sent.")
