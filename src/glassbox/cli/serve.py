"""``glassbox serve``: the resident model over HTTP."""

import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbox.cli import options
from glassbox.cli.console import note
from glassbox.errors import InvalidValue
from glassbox.runtime import Runtime
from glassbox.settings import effective, sagemaker_port

if TYPE_CHECKING:
    import socket

    from glassbox.server.serving import Serving


class Mode(StrEnum):
    """Whether and where functions run that callers send."""

    OFF = "off"
    PROCESS = "process"
    SHARED = "shared"


def serve(
    model: options.Model = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name that requests give as their model.")
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", help="NAME=PATH of a LoRA adapter; may be repeated."),
    ] = None,
    probe: Annotated[
        list[Path] | None,
        typer.Option("--probe", help="Folder of a trained probe; may be repeated."),
    ] = None,
    verifier: Annotated[
        Path | None,
        typer.Option("--verifier", help="Folder of a trained verifier for /v1/verify."),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option("--classifier", help="Run whose classifier is served; may be repeated."),
    ] = None,
    studies: Annotated[
        Path | None,
        typer.Option("--studies", help="Folder whose studies of pathways are shown."),
    ] = None,
    hidden_prompt: Annotated[
        Path | None,
        typer.Option(
            "--hidden-prompt",
            help="File with a system prompt that is put before every request and never shown.",
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; others need an API key.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port; 0 takes a free one.", min=0, max=65535)
    ] = None,
    sagemaker: Annotated[
        bool,
        typer.Option(
            "--sagemaker",
            help="Serve /ping and /invocations alone and to everyone, because the platform is the "
            "guard; on port 8080 of every address, from /opt/ml/model, unless told otherwise.",
        ),
    ] = False,
    techniques: Annotated[
        Mode | None,
        typer.Option(
            "--techniques",
            help="Run functions that callers send: 'process' in a process with a model of its "
            "own, 'shared' beside the serving model. This is code execution.",
        ),
    ] = None,
    sockets: Annotated[str | None, typer.Option("--sockets", hidden=True)] = None,
) -> None:
    """Serve the model: OpenAI's API, states, probes, labels, verdicts, and a page for people."""
    from glassbox.server.listening import address_of, bind, check_address
    from glassbox.server.supervisor import Leash

    if sagemaker and hidden_prompt is not None:
        raise InvalidValue(
            "--hidden-prompt",
            str(hidden_prompt),
            "nothing together with --sagemaker, whose answers hold the states of the prompt",
        )
    given = {
        "server.host": host,
        "server.port": port,
        "engine.model": model,
        "techniques.mode": None if techniques is None else techniques.value,
        "paths.studies": studies,
    }
    runtime = Runtime.load(for_platform(given) if sagemaker else given)
    limits = runtime.settings.server
    keys = None if sagemaker else runtime.key_store()
    if keys is not None:
        check_address(limits.host, has_keys=keys.any_active())
    hidden = None if hidden_prompt is None else _text(hidden_prompt)
    leash = None if sockets is None else Leash(sockets)
    # From here on connections are taken; they wait for the seconds that the imports below last.
    listener = bind(limits.host, limits.port) if leash is None else leash.listener
    url = address_of(listener)
    if leash is None:
        note(f"Listening on {url}; loading {runtime.settings.engine.model} …")
        if keys is not None and runtime.settings.techniques.mode == "shared":
            raise typer.Exit(supervised(listener))

    from glassbox.server.process import run_server
    from glassbox.server.start import (
        Wanted,
        assemble,
        named_path,
        open_gate,
        sagemaker_app,
        whole_app,
    )
    from glassbox.server.tracing import open_tracing

    at_end = ExitStack()
    gate = None if keys is None else open_gate(runtime, keys, listener.getsockname()[1], at_end)
    tracing = open_tracing(runtime.settings.telemetry)
    wanted = Wanted(
        name=name,
        adapters=tuple(named_path(each) for each in adapter or ()),
        probes=tuple(probe or ()),
        classifiers=tuple(classifier or ()),
        verifier=verifier,
        hidden=hidden,
        gate=gate,
        is_supervised=leash is not None,
    )

    def on_ready(serving: "Serving") -> None:
        _welcome(serving, url, sagemaker=sagemaker)
        if leash is not None:
            leash.ready()

    app = (
        sagemaker_app(limits)
        if keys is None
        else whole_app(limits, keys, gate, tracing, runtime.settings.paths.studies)
    )
    guards = None if keys is None else app.state.guards
    with at_end:
        run_server(
            app,
            listener,
            lambda: assemble(runtime, wanted, guards),
            on_ready=on_ready,
        )
    note("Stopped.")


def supervised(listener: "socket.socket") -> int:
    """Return the exit status of a server that runs in a child, started again where it falls."""
    from glassbox.server.supervisor import Supervisor

    command = [sys.executable, "-m", "glassbox", *sys.argv[1:], "--sockets"]
    return Supervisor(command, listener, note).run()


def for_platform(given: dict[str, Any]) -> dict[str, Any]:
    """Return where the platform asks and where it unpacks the model, unless told otherwise."""
    usual = {
        "server.host": "0.0.0.0",
        "server.port": sagemaker_port() or 8080,
        "engine.model": "/opt/ml/model",
    }
    unsaid = {each.key for each in effective(given) if each.source == "default"}
    return given | {key: value for key, value in usual.items() if key in unsaid}


def _welcome(serving: "Serving", url: str, *, sagemaker: bool) -> None:
    info = serving.engine.info
    note(
        f"\nReady: {serving.name} ({info.n_parameters / 1e6:,.1f}M parameters, {info.n_layers} "
        f"layers, {info.dtype} on {info.device})"
    )
    if sagemaker:
        note(f"  invocations  {url}/invocations")
        return
    for what, names in (
        ("adapters", [each.name for each in serving.engine.adapters]),
        ("probes", list(serving.speaker.probes)),
        ("classifiers", list(serving.labellers)),
    ):
        if names:
            note(f"  {what:<11}  {', '.join(names)}")
    for model, routing in {} if serving.rollout is None else serving.rollout.view.routings.items():
        note(f"  predictions  {url}/api/v2/models/predict  {model}: {routing.champion.name}")
    note(f"  dashboard    {url}/")
    note(f"  playground   {url}/playground")
    note(f"  OpenAI API   {url}/v1")
    note(f"  routes       {url}/openapi.json")
    if serving.techniques is not None:
        note(f"  techniques   {url}/v1/techniques ({serving.techniques.record.mode})")
    note("\nTry it:")
    note(f"  curl {url}/v1/completions -H 'content-type: application/json' \\")
    note(f"""    -d '{{"model": "{serving.name}", "prompt": "Once upon a time"}}'""")
    note("\nCtrl-C stops it; running requests finish first.")


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue("hidden_prompt", str(path), "a text file in UTF-8") from error
    if not text:
        raise InvalidValue("hidden_prompt", str(path), "a text file that is not empty")
    return text
