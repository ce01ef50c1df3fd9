"""``glassbox serve``: the resident model over HTTP."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.arguments.named import named_folders, named_runs
from glassbox.cli.terminal.console import note
from glassbox.errors import InvalidValue, UnknownName
from glassbox.importing import importing_libraries
from glassbox.runtime import Runtime
from glassbox.settings import effective, load_settings, sagemaker_model, sagemaker_port

if TYPE_CHECKING:
    import socket

    from glassbox.deploy.bundle import Opened
    from glassbox.server.process.supervisor import Leash
    from glassbox.server.serving import Serving
    from glassbox.server.start import Wanted

MODEL_FOLDER = "/opt/ml/model"
"""Where SageMaker unpacks a model. Source: Amazon SageMaker, "Custom Inference Code with Hosting
Services"."""

ANSWER_S = 55.0
"""Longest that a container works on one request: the platform waits for 60 s."""

DRAIN_S = 22.0
"""Longest that running requests get at the end: those that do not finish are told so within 6 s
more, and the platform kills after 30 s."""

PLATFORM_BYTES = 6_291_456
"""Largest request that the platform sends. Source: SageMaker Runtime's service model, BodyBlob."""


class Mode(StrEnum):
    """Whether and where functions run that callers send."""

    OFF = "off"
    PROCESS = "process"
    SHARED = "shared"


def serve(
    model: options.Model = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", help="Folder or archive that 'glassbox bundle make' wrote."),
    ] = None,
    name: options.ServedName = None,
    adapter: options.Adapters = None,
    probe: options.Probes = None,
    verifier: Annotated[
        Path | None,
        typer.Option("--verifier", help="Folder of a trained verifier for /v1/verify."),
    ] = None,
    classifier: options.Classifiers = None,
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
        str | None,
        typer.Option(
            "--host",
            help="Address to listen on, by default 127.0.0.1; any but this machine's own needs an "
            "API key first.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", help="Port, by default 8787; 0 takes a free one.", min=0, max=65535),
    ] = None,
    sagemaker: Annotated[
        bool,
        typer.Option(
            "--sagemaker",
            help="Serve /ping and /invocations alone and to everyone, because the platform is the "
            "guard; on port 8080 of every address, from the bundle or model in /opt/ml/model, "
            "unless told otherwise.",
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
    """Serve the model: OpenAI's API, states, probes, labels, verdicts, and a page for people.

    With --bundle everything comes from a bundle; what is given beside it is added, or wins.
    """
    from glassbox.server.process.listening import address_of, bind, check_address
    from glassbox.server.process.supervisor import Leash

    _check_hidden(hidden_prompt, sagemaker=sagemaker)
    given = {
        "server.host": host,
        "server.port": port,
        "engine.model": model,
        "techniques.mode": None if techniques is None else techniques.value,
        "paths.studies": studies,
    }
    usual = for_platform(given) if sagemaker else {}
    platform = in_force(usual, None, given) if sagemaker else None
    packed = packed_in(bundle, model, platform)
    runtime = Runtime.load(in_force(usual, packed, given))
    limits = runtime.settings.server
    keys = None if sagemaker else runtime.key_store()
    if keys is not None:
        check_address(limits.host, has_keys=keys.any_active())
    hidden = None if hidden_prompt is None else _text(hidden_prompt)
    adapters, classifiers = _there(runtime, adapter, classifier, probe or (), verifier)
    leash = None if sockets is None else Leash(sockets)
    # From here on connections are taken; they wait for the seconds that the imports below last.
    listener = bind(limits.host, limits.port) if leash is None else leash.listener
    url = address_of(listener)
    if leash is None:
        note(f"Listening on {url}; loading {runtime.settings.engine.model} …")
        if keys is not None and runtime.settings.techniques.mode == "shared":
            raise typer.Exit(supervised(listener))

    with importing_libraries():
        from glassbox.server.process.running import run_server
        from glassbox.server.start import (
            Wanted,
            assemble,
            open_gate,
            sagemaker_app,
            whole_app,
        )
        from glassbox.server.telemetry.tracing import open_tracing

    at_end = ExitStack()
    gate = None if keys is None else open_gate(runtime, keys, listener.getsockname()[1], at_end)
    asked = Wanted(
        name=name,
        adapters=tuple(adapters.items()),
        probes=tuple(probe or ()),
        classifiers=tuple(classifiers.items()),
        verifier=verifier,
        hidden=hidden,
        gate=gate,
        is_supervised=leash is not None,
        address=url,
    )

    def load() -> "Serving":
        # A bundle's base model may have to be fetched first; connections are taken meanwhile.
        wanted = asked if packed is None else together(packed.wanted, asked)
        return assemble(runtime, wanted, guards)

    def on_ready(serving: "Serving") -> None:
        _welcome(serving, url, sagemaker=sagemaker)
        _tell_ready(leash)

    app = (
        sagemaker_app(limits)
        if keys is None
        else whole_app(
            limits,
            keys,
            gate,
            open_tracing(runtime.settings.telemetry),
            runtime.settings.paths.studies,
        )
    )
    guards = None if keys is None else app.state.guards
    with at_end:
        run_server(
            app,
            listener,
            load,
            on_ready=on_ready,
        )
    note("Stopped.")


def _tell_ready(leash: "Leash | None") -> None:
    """Tell the service manager, by way of the process that it started: it listens to no other."""
    from glassbox.server.process.service_manager import tell_ready

    if leash is None:
        tell_ready()
    else:
        leash.ready()


def _check_hidden(hidden_prompt: Path | None, *, sagemaker: bool) -> None:
    if sagemaker and hidden_prompt is not None:
        raise InvalidValue(
            "--hidden-prompt",
            str(hidden_prompt),
            "nothing together with --sagemaker, whose answers hold the states of the prompt",
        )


def _there(
    runtime: Runtime,
    adapter: Sequence[str] | None,
    classifier: Sequence[str] | None,
    probes: Iterable[Path],
    verifier: Path | None,
) -> tuple[dict[str, str], dict[str, str]]:
    """Return adapters and classifiers by name; all of it is there, or no model is loaded for it.

    Raises:
        InvalidValue: A name is missing or comes twice.
        UnknownName: Something is not there.
    """
    adapters = named_folders("--adapter", adapter)
    classifiers = named_runs("--classifier", classifier)
    for place in adapters.values():
        if "://" not in place and not Path(place).is_dir():
            raise UnknownName("adapter folder", place)
    for run in classifiers.values():
        runtime.finished_run(run)
    for probe in probes:
        from glassbox.introspection.probes.file import describe_probe

        describe_probe(probe)
    if verifier is not None:
        from glassbox.introspection.verifier.file import VerifierManifest

        VerifierManifest.load(verifier)
    return adapters, classifiers


def supervised(listener: "socket.socket") -> int:
    """Return the exit status of a server that runs in a child, started again where it falls."""
    from glassbox.server.process.supervisor import Supervisor

    # As the command itself does, the child takes no module from the folder that it is in.
    command = [sys.executable, "-P", "-m", "glassbox", *sys.argv[1:], "--sockets"]
    return Supervisor(command, listener, note).run()


def for_platform(given: Mapping[str, object]) -> dict[str, object]:
    """Return what a SageMaker container does where nobody has said otherwise, by setting.

    Args:
        given: What the command line says, by setting; None where it does not.
    """
    usual: dict[str, object] = {
        "server.host": "0.0.0.0",
        "server.port": sagemaker_port() or 8080,
        "server.max_deadline_s": ANSWER_S,
        "server.drain_s": DRAIN_S,
        "server.max_body_bytes": PLATFORM_BYTES,
        "engine.model": sagemaker_model() or MODEL_FOLDER,
    }
    unsaid = {each.key for each in effective(given) if each.source == "default"}
    return {key: value for key, value in usual.items() if key in unsaid}


def packed_in(
    bundle: Path | None, model: str | None, platform: Mapping[str, object] | None = None
) -> "Opened | None":
    """Return the bundle that is to be served, ready; None where a model alone is.

    Args:
        bundle: What the command line names.
        model: Where the command line says that the base model is.
        platform: Settings in a SageMaker container, whose model's folder may be a bundle's; None
            elsewhere.

    Raises:
        UnknownName: There is no bundle.
        CorruptArtifact: It is not what it says it is.
    """
    if bundle is None and platform is None:
        return None
    from glassbox.deploy.bundle import BUNDLE_FILE, opened

    if bundle is None:
        folder = Path(load_settings(platform).engine.model).expanduser()
        # A bundle lies where a model would; its base model is wherever it says.
        bundle, model = (folder, None) if (folder / BUNDLE_FILE).is_file() else (None, model)
    return None if bundle is None else opened(bundle, base=model)


def in_force(
    usual: Mapping[str, object], packed: "Opened | None", given: Mapping[str, object]
) -> dict[str, object]:
    """Return the settings of a server: the command line's before the bundle's before the usual."""
    said = {key: value for key, value in given.items() if value is not None}
    if packed is None:
        return {**usual, **said}
    # Its base model is the one that the bundle found, be it by the command line's word.
    return {**usual, **packed.overrides, **said, "engine.model": packed.overrides["engine.model"]}


def together(packed: "Wanted", asked: "Wanted") -> "Wanted":
    """Return what is served: all that a bundle holds, and what the command line adds or replaces.

    Args:
        packed: The bundle's.
        asked: The command line's.
    """
    return replace(
        asked,
        model=packed.model,
        name=asked.name or packed.name,
        adapters=tuple({**dict(packed.adapters), **dict(asked.adapters)}.items()),
        probes=packed.probes + asked.probes,
        classifiers=tuple({**dict(packed.classifiers), **dict(asked.classifiers)}.items()),
        verifier=asked.verifier or packed.verifier,
        base_digest=packed.base_digest,
        bundle_digest=packed.bundle_digest,
    )


def _welcome(serving: "Serving", url: str, *, sagemaker: bool) -> None:
    info = serving.engine.info
    note(
        f"\nReady: {serving.name} ({info.n_parameters / 1e6:,.1f}M parameters, {info.n_layers} "
        f"layers, {info.dtype} on {info.device})"
    )
    if info.remark:
        note(info.remark)
    if serving.bundle_digest:
        note(f"  bundle       {serving.bundle_digest[:12]}")
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
    route, body = "completions", f'{{"model": "{serving.name}", "prompt": "Once upon a time"}}'
    if serving.labellers:
        route, body = "classify", '{"texts": ["A text of yours."]}'
    note(f"  curl {url}/v1/{route} -H 'content-type: application/json' \\")
    note(f"    -d '{body}'")
    note("\nCtrl-C stops it; running requests finish first.")


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue("hidden_prompt", str(path), "a text file in UTF-8") from error
    if not text:
        raise InvalidValue("hidden_prompt", str(path), "a text file that is not empty")
    return text
