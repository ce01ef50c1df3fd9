"""The ``glassbox`` command: what was typed, carried out, and how errors end the process.

A command's module is imported when the command runs, so that ``glassbox --help`` is instant and
works without torch. Knows nothing of what the commands do.
"""

import errno
import gc
import importlib
import importlib.metadata
import io
import os
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from glassbox.cli.commands import ENTRIES
from glassbox.cli.terminal.command_help import ReadableCommand, ReadableGroup, make_readable
from glassbox.cli.terminal.console import note, print_json_line
from glassbox.cli.terminal.exit_codes import ExitCode, exit_code
from glassbox.errors import DependencyMissing, GlassboxError, InvalidValue, UnknownName

UNOPENED = (errno.ENAMETOOLONG, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EROFS)
"""What the system answers where a path that somebody gave cannot be opened."""

EXTRAS: Final[dict[str, str]] = {
    "torch": "serve",
    "transformers": "serve",
    "peft": "serve",
    "safetensors": "serve",
    "tokenizers": "serve",
    "huggingface_hub": "serve",
    "fastapi": "serve",
    "uvicorn": "serve",
    "starlette": "serve",
    "prometheus_client": "serve",
    "sqlalchemy": "serve",
    "psycopg": "postgres",
    "boto3": "sagemaker",
    "modal": "modal",
    "ray": "ray",
    "mcp": "mcp",
    "fairlearn": "drift",
    "river": "drift",
    "skops": "skops",
    "pandas": "skops",
    "mlflow": "mlflow",
    "opentelemetry": "otel",
    "apprise": "notify",
    "yaml": "pathways",
    "limits": "serve",
    "matplotlib": "charts",
    "jinja2": "charts",
    "datasets": "hub",
    "bitsandbytes": "quant",
}
"""Optional library to the extra that brings it."""


class LazyGroup(ReadableGroup):
    """A command group whose members are imported when they run."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return [entry.name for entry in ENTRIES]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a stand-in that is enough for the overview, or None."""
        del ctx
        for entry in ENTRIES:
            if entry.name == cmd_name:
                return TyperCommand(
                    cmd_name, help=entry.help, short_help=entry.help, rich_help_panel=entry.panel
                )
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and remaining arguments; here the module is imported."""
        if ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            return None, None, args
        return args[0], load_command(args[0]), args[1:]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a reader that went away ends it without a word."""
        from glassbox.settings import keep_torch_from_spinning

        keep_torch_from_spinning()
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise typer.Exit(ExitCode.PIPE_CLOSED) from error


app = typer.Typer(
    name="glassbox",
    cls=LazyGroup,
    help="Run an open-weights language model with its internals open.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
"""The Typer application; its commands come from ``ENTRIES``."""


def _show_version(value: bool) -> bool:
    if value:
        typer.echo(f"glassbox {importlib.metadata.version('glassbox-llm')}")
        raise typer.Exit
    return value


@app.callback()
def glassbox(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Run an open-weights language model with its internals open.

    Calibrated confidence, thresholds that keep their promise, and the numbers behind them.
    """
    del version


def load_command(name: str) -> Any:
    """Return the real command of one entry, its module imported.

    Raises:
        UnknownName: There is no such command.
    """
    entry = next((entry for entry in ENTRIES if entry.name == name), None)
    if entry is None:
        raise UnknownName("command", name, [entry.name for entry in ENTRIES])
    module, _, attribute = entry.target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        make_readable(target)
        command: Any = typer.main.get_group(target)
        command.name = name
        return command
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name, cls=ReadableCommand, short_help=entry.help)(target)
    return typer.main.get_command(single)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        args: Words after ``glassbox``; those of the process by default.
    """
    words = list(sys.argv[1:] if args is None else args) or ["--help"]
    as_json = "--json" in takewhile(lambda word: word != "--", words)
    try:
        code = _dispatch(words, as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.PIPE_CLOSED
    if code == ExitCode.PIPE_CLOSED:
        # The interpreter flushes standard output once more as it ends; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return code


def run() -> None:
    """Run the command line of this process and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Where the locale knows no UTF-8, a letter is shown by its number, and nothing ends.
            stream.reconfigure(errors="backslashreplace")
    code = main()
    # The interpreter would look for garbage among all that was imported, and then let go of it all.
    # Triton, which comes with torch for CUDA, calls what is left a leak, in thirty lines.
    (gc.unfreeze if "triton" in sys.modules else gc.freeze)()
    sys.exit(code)


def _dispatch(words: list[str], *, as_json: bool) -> int:
    command: Any = typer.main.get_command(app)
    try:
        result = command.main(words, prog_name="glassbox", standalone_mode=False)
    except GlassboxError as error:
        return _report(error.code, str(error), exit_code(type(error)), as_json=as_json)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRAS:
            raise
        missing = DependencyMissing(library, EXTRAS[library])
        return _report(missing.code, str(missing), ExitCode.DEPENDENCY, as_json=as_json)
    except OSError as error:
        if error.errno not in UNOPENED or not error.filename:
            raise
        unopened = InvalidValue(
            "path", error.filename, f"one that can be opened ({error.strerror})"
        )
        return _report(unopened.code, str(unopened), exit_code(InvalidValue), as_json=as_json)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "glassbox"
        said = error.format_message().rstrip(".")
        message = f"{said}{'' if said.endswith('?') else '.'} Try: {where} --help"
        return _report("usage", message, ExitCode.USAGE, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        result = ExitCode.INTERRUPTED
    if result == ExitCode.INTERRUPTED:
        rests = (entry.when_interrupted for entry in ENTRIES if entry.name in words[:1])
        note(f"Interrupted. {next(rests, '')}".rstrip())
    return result if isinstance(result, int) else ExitCode.OK


def _report(code: str, message: str, number: ExitCode, *, as_json: bool) -> int:
    if as_json:
        print_json_line({"error": {"code": code, "message": message}})
    note(f"error[{code}]: {message}")
    return number
