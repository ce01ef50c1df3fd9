"""What the commands about techniques share: which function was meant, and where the model is.

Knows options; prints nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbox.errors import InvalidValue, UnknownName
from glassbox.runtime import Runtime

if TYPE_CHECKING:
    from glassbox.techniques.calls import Environment
    from glassbox.techniques.catalogue.entries import Entry
    from glassbox.techniques.client.blocking import InterpClient

What = Annotated[
    str,
    typer.Argument(
        help="Name of a built-in technique, FILE.py:FUNCTION, or FILE.py with one technique in it."
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        "-b",
        help="Where the model is: 'local' (a worker process of this machine), http://… (a server), "
        "'ray' or 'modal'.",
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option("--adapter", help="Folder or hub name of a LoRA adapter that is put on it."),
]
Key = Annotated[
    str | None,
    typer.Option("--key", help="API key of the server, with the scope techniques."),
]
Gpu = Annotated[
    str | None,
    typer.Option("--gpu", help="A10G, A100, H100, L4 or any; where a machine is chosen for you."),
]
App = Annotated[
    str, typer.Option("--app", help="Groups workers: two names never share a resident model.")
]


def entry_of(what: str) -> "Entry":
    """Return the technique that was meant: a built-in one, or a function of a file.

    Raises:
        UnknownName: No such technique, file or function.
        InvalidValue: A file with none, or several, and none was named.
    """
    from glassbox.techniques.catalogue.built_in import built_in as known_as
    from glassbox.techniques.catalogue.entries import built_in, entries_of

    if ".py" not in what:
        return built_in()[known_as(what).name]
    functions = functions_of(what)
    if len(functions) != 1:
        raise InvalidValue(
            "technique", what, " or ".join(f"{what}:{name}" for name in functions) or
            "a file with a function whose first parameters are model and tokenizer",
        )  # fmt: skip
    (entry,) = entries_of(functions).values()
    return entry


def functions_of(what: str) -> dict[str, Any]:
    """Return the function that FILE.py:FUNCTION names, or all techniques of a file."""
    from glassbox.techniques.client.folders import function_of, techniques_of

    file, colon, name = what.rpartition(":")
    if colon and file.endswith(".py"):
        return {name: function_of(Path(file), name)}
    if not what.endswith(".py"):
        raise UnknownName("file of techniques", what, remedy="Give FILE.py or FILE.py:FUNCTION.")
    return techniques_of(Path(what))


def open_client(
    backend: str,
    model: str | None,
    adapter: str | None = None,
    key: str | None = None,
    gpu: str | None = None,
    app_name: str = "default",
    *,
    quiet: bool = False,
) -> "InterpClient":
    """Return a client of what the options name, everything else from the settings."""
    from glassbox.techniques.client.blocking import InterpClient
    from glassbox.techniques.client.options import is_address

    engine = Runtime.load().settings.engine
    # A server is held to a model only where one was named: it has its own settings.
    name = model or (None if is_address(backend) else engine.model)
    return InterpClient(
        app_name,
        name if adapter is None else adapter,
        backend=backend,
        base_model=None if adapter is None else name or engine.model,
        is_peft=adapter is not None,
        api_key=key,
        gpu=gpu,
        device=engine.device,
        dtype=engine.dtype,
        quiet=quiet,
    )


def environment_of(backend: str, model: str | None, key: str | None) -> "Environment":
    """Return what shipped code meets at a backend."""
    with open_client(backend, model, key=key) as client:
        return client.environment()


def plain_entry(entry: "Entry") -> dict[str, Any]:
    """Return what a technique says about itself as JSON holds it."""
    about = entry.about
    return {
        "name": entry.name,
        "title": about.title,
        "summary": entry.summary,
        "text": entry.more,
        "paper": about.paper,
        "batch": about.batch,
        "arguments": [
            {
                "name": each.name,
                "type": each.type,
                "required": each.is_required,
                "default": None if each.is_required else each.default,
                "meaning": each.doc,
            }
            for each in about.parameters
        ],
        "result": [
            {"name": each.name, "type": each.type, "meaning": each.doc} for each in about.fields
        ],
    }
