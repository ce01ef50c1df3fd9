"""``glassbox technique``: functions run beside a resident model, built-in ones and your own.

Parses, makes one call, prints. Knows nothing of how functions travel.
"""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from glassbox.cli.arguments import options
from glassbox.cli.techniques.finding import (
    Adapter,
    App,
    Backend,
    Gpu,
    Key,
    What,
    entry_of,
    environment_of,
    functions_of,
    open_client,
    plain_entry,
)
from glassbox.cli.terminal.console import note, print_json, print_json_line, print_text
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import ConflictError, InvalidValue, TechniqueFailed
from glassbox.runtime import Runtime

if TYPE_CHECKING:
    from glassbox.techniques.calls import Limits
    from glassbox.techniques.measures.views import View
    from glassbox.techniques.shipping.rehearsal import Rehearsal

app = typer.Typer(
    help="Run a function of a model and its tokenizer beside a resident model.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
"""The ``technique`` group."""

MOST_VIEWS = 12
"""Results of one run whose views are shown together."""


@app.callback()
def technique() -> None:
    """Run a function of a model and its tokenizer beside a resident model."""


@app.command("list")
def list_techniques(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder of your own techniques; without it the built-in ones."),
    ] = None,
    json: options.AsJson = False,
) -> None:
    """List the built-in techniques, or those of a folder."""
    from glassbox.cli.techniques.showing import show_list
    from glassbox.techniques.catalogue.entries import built_in, entries_of
    from glassbox.techniques.client.folders import load_techniques_from_dir

    if folder is None:
        entries, broken = built_in(), {}
    else:
        loaded = load_techniques_from_dir(folder)
        entries, broken = entries_of(loaded), loaded.broken
    if json:
        print_json([plain_entry(each) for each in entries.values()])
    elif entries:
        show_list(entries)
        print_text("More about one: glassbox technique show NAME.")
    else:
        print_text(f"No techniques in {folder}: functions whose first parameters are model and "
                   "tokenizer.")  # fmt: skip
    for file, why in broken.items():
        note(f"{file} could not be read: {why}")
    if broken:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def show(what: What, json: options.AsJson = False) -> None:
    """Show what a technique does, takes and returns; needs no model."""
    from glassbox.cli.techniques.showing import show_entry

    entry = entry_of(what)
    if json:
        print_json(plain_entry(entry))
        return
    show_entry(entry, what)


@app.command()
def run(
    what: What,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg",
            "-a",
            help="NAME=VALUE; repeat it for more, or for the items of a list. VALUE may be JSON, "
            "or @FILE to read one.",
        ),
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", help="Write the result's view as a picture.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the result's view as a page.")
    ] = None,
    tensors: Annotated[
        Path | None,
        typer.Option("--tensors", help="Write the result's tensors as a .safetensors file."),
    ] = None,
    backend: Backend = "local",
    model: options.Model = None,
    adapter: Adapter = None,
    key: Key = None,
    gpu: Gpu = None,
    app_name: App = "default",
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds that it may take.", min=0.0)
    ] = None,
    pickle: Annotated[
        bool,
        typer.Option(
            "--pickle", help="Trust the other side with what only pickle can carry, both ways."
        ),
    ] = False,
    json: options.AsJson = False,
) -> None:
    """Run a technique and show what it returns.

    The first run makes the model resident, which is shown; later ones find it there. What the
    technique prints goes to standard error while it runs.
    """
    from glassbox.cli.techniques.showing import show_end, show_value
    from glassbox.engine.model.attempt import attempt
    from glassbox.techniques.catalogue.arguments import parse_arguments

    entry = entry_of(what)
    arguments = parse_arguments(entry.about, arg or [])
    with open_client(backend, model, adapter, key, gpu, app_name) as client:
        chosen = client.options(limits=_limits(timeout), allow_pickle=pickle, on_line=note)
        outcome = attempt(lambda: (chosen.run(entry.target, **arguments),))
        finished = chosen.last
    if isinstance(outcome, Exception):
        show_end(finished)
        _fail(outcome)
    (value,) = outcome
    written = _write(value, png, html, tensors)
    if json:
        from glassbox.techniques.packed.parts import plain_json

        print_json_line({"technique": entry.name, "run": finished, "files": written}
                   | {"result": plain_json(value)})  # fmt: skip
        return
    if not _show_view(value):
        show_value(value)
    for each in written:
        note(f"Written: {each}")
    show_end(finished)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="Python file with techniques written as methods.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write here and not to standard output.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Rewrite methods that use self.model and self.tokenizer as functions of both.

    Comments stay. What cannot be rewritten is left as it is and named.
    """
    from glassbox.techniques.conversion.standalone import convert as converted
    from glassbox.techniques.conversion.standalone import read_source

    found = converted(read_source(file))
    if out is not None:
        out.write_text(found.source, encoding="utf-8")
    if json:
        print_json({"source": found.source, "notes": [str(each) for each in found.notes]})
    elif out is None:
        typer.echo(found.source, nl=not found.source.endswith("\n"))
    else:
        print_text(f"Written: {out}")
    for each in found.notes:
        note(f"{file}: {each}")
    if found.notes:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def check(
    what: Annotated[
        str, typer.Argument(help="FILE.py, whose techniques are all checked, or FILE.py:FUNCTION.")
    ],
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            "-b",
            help="Compare with what is installed there: 'local', http://…, 'ray' or 'modal'; "
            "by default with this machine, which needs no model.",
        ),
    ] = None,
    model: options.Model = None,
    key: Key = None,
    json: options.AsJson = False,
) -> None:
    """Rehearse the journey of a function: what travels, what must be there, what will surprise.

    It is shipped and opened by a fresh interpreter, and not run.
    """
    from glassbox.cli.techniques.showing import show_rehearsal
    from glassbox.engine.model.attempt import attempt
    from glassbox.techniques.shipping.rehearsal import rehearse

    functions = functions_of(what)
    there = None if backend is None else environment_of(backend, model, key)
    found: list[Rehearsal | Exception] = []
    for number, (name, function) in enumerate(functions.items()):
        outcome = attempt(lambda function=function: rehearse(function, there))  # type: ignore[misc]
        found.append(outcome)
        if json:
            continue
        if number:
            typer.echo()
        if isinstance(outcome, Exception):
            if len(functions) == 1:
                raise outcome
            note(f"{name}: {outcome}")
        else:
            show_rehearsal(outcome)
    if json:
        print_json(
            [
                {"error": {"code": getattr(each, "code", "unexpected"), "message": str(each)}}
                if isinstance(each, Exception)
                else each
                for each in found
            ]
        )
    if any(isinstance(each, Exception) or not each.is_ready for each in found):
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def workers(
    stop: Annotated[
        str | None,
        typer.Option(
            "--stop",
            metavar="ID|all",
            help="End the worker with this id (its beginning will do) or process number, or all. "
            "What runs there is lost.",
        ),
    ] = None,
    json: options.AsJson = False,
) -> None:
    """List the processes of this machine that keep a model resident for techniques, or end them.

    One that is ended is started again by the next program that calls it.
    """
    from glassbox.cli.techniques.workers import chosen, end, show_ended, show_workers, workers_in

    settings = Runtime.load().settings
    found = workers_in((settings.paths.workers, settings.techniques.folder))
    known = [worker for worker, _ in found.values()]
    if stop is None:
        if json:
            print_json(known)
        else:
            show_workers(known)
        return
    ended = end(found[each.id] for each in chosen(known, stop))
    if json:
        print_json(ended)
    else:
        show_ended(ended)
    if ended.still_there:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _limits(timeout: float | None) -> "Limits":
    from glassbox.techniques.calls import Limits

    return Limits(wall_s=timeout)


def _fail(error: Exception) -> NoReturn:
    """Raise what the command ends with; a technique's own error is shown with its traceback."""
    cause = error if isinstance(error, TechniqueFailed) else error.__cause__
    if not isinstance(cause, TechniqueFailed):
        raise error
    message, _, trace = str(cause).partition("\n\n")
    # An error of Glassbox says by itself what to do; its trace matters where it is in your code.
    if trace and (not hasattr(error, "code") or "<technique " in trace or error is cause):
        note(trace)
    where = [each for each in getattr(error, "__notes__", ()) if each.startswith("line ")]
    message = message.removeprefix("builtins.").rstrip(": ")
    told = f"{message} ({where[0]})" if where else message
    if isinstance(error, ConflictError) or not hasattr(error, "code"):
        raise TechniqueFailed(told) from error
    raise error


def _show_view(value: object) -> bool:
    """Print a result's view where it has one, and say whether it has."""
    from glassbox.cli.techniques.panels import print_view

    view = _view(value)
    if view is None:
        return False
    print_view(view.title, view.panels, view.note)
    return True


def _view(value: object) -> "View | None":
    """Return a result's view, of a few results theirs together; None where there is none."""
    if isinstance(value, list) and 1 <= len(value) <= MOST_VIEWS:
        from glassbox.techniques.measures.views import View, together

        found = [view for view in map(_view, value) if isinstance(view, View)]
        return together(found) if len(found) == len(value) else None
    made = getattr(value, "view", None)
    # Tensors and arrays have a method of that name that is another thing.
    if not callable(made) or hasattr(value, "dtype"):
        return None
    try:
        inspect.signature(made).bind()
    except (TypeError, ValueError):
        return None
    view: Any = made()
    return view if hasattr(view, "panels") else None


def _write(value: object, png: Path | None, html: Path | None, tensors: Path | None) -> list[Path]:
    """Write what was asked for and return the files."""
    written: list[Path] = []
    if png is not None or html is not None:
        view = _view(value)
        if view is None:
            raise InvalidValue(
                "--html" if png is None else "--png",
                str(html if png is None else png),
                f"a result that has a view(); this is a {type(value).__name__}",
            )
        written += [] if png is None else [view.png(png)]
        written += [] if html is None else [view.html(html)]
    if tensors is not None:
        from glassbox.techniques.packed.tensor_files import write_tensors

        written.append(write_tensors(value, tensors))
    return written
