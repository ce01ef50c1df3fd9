"""The ``glassbox`` command: which commands there are, and how errors end the process.

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
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from glassbox.cli.command_help import ReadableCommand, ReadableGroup, make_readable
from glassbox.cli.console import note, print_json_line
from glassbox.cli.exit_codes import ExitCode, exit_code
from glassbox.errors import DependencyMissing, GlassboxError, InvalidValue, UnknownName

UNOPENED = (errno.ENAMETOOLONG, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EROFS)
"""What the system answers where a path that somebody gave cannot be opened."""

MAIN_JOB = "From labelled texts to a confidence that can be acted on"
"""Panel of the confidence room's commands."""

INTERNALS = "A model with its internals open, and what it says about answers"
"""Panel of the commands that write, verify and serve."""

TECHNIQUES = "Your own functions beside the model"
"""Panel of the commands that run functions."""

ROLLOUT = "The next version in place, without hurting anyone"
"""Panel of the commands about versions and what becomes of them."""

PATHWAYS = "Which latents drive which, and what text sets them off"
"""Panel of the commands about SAE latents."""

DEPLOY = "Where many can reach it"
"""Panel of the commands about bundles, targets and how much of them is needed."""

MACHINE = "This machine"
"""Panel of the commands about the installation."""


@dataclass(frozen=True)
class Entry:
    """Where a command lives and how the overview shows it."""

    name: str
    """As typed after ``glassbox``."""
    target: str
    """``module:attribute`` of the function, or of a Typer app for a group."""
    help: str
    """One line for the overview."""
    panel: str
    """Heading under which the overview lists it."""
    when_interrupted: str = ""
    """What becomes of its work when it is stopped from the keyboard."""


RESUMES: Final = "Finished parts are kept: resume by running the same command."
"""What becomes of work that is kept as it goes."""

ENTRIES: Final[tuple[Entry, ...]] = (
    Entry(
        "demo",
        "glassbox.cli.demo:app",
        "See it all work on the embedded model.",
        MAIN_JOB,
        RESUMES,
    ),
    Entry(
        "evaluate",
        "glassbox.cli.evaluate:evaluate",
        "Find out how far a model's labels can be trusted, and which to automate.",
        MAIN_JOB,
        RESUMES,
    ),
    Entry(
        "tune",
        "glassbox.cli.evaluate:tune",
        "Fit LoRA weights to labelled texts.",
        MAIN_JOB,
        RESUMES,
    ),
    Entry(
        "calibrate", "glassbox.cli.results:calibrate", "Fit a run's calibrators again.", MAIN_JOB
    ),
    Entry(
        "classify",
        "glassbox.cli.ask:classify",
        "Label texts with a calibrated confidence, one or a million lines.",
        MAIN_JOB,
    ),
    Entry("logprobs", "glassbox.cli.ask:logprobs", "See how one confidence comes about.", MAIN_JOB),
    Entry("charts", "glassbox.cli.results:charts", "Draw a run's charts and report.", MAIN_JOB),
    Entry("compare", "glassbox.cli.results:compare", "Compare two runs.", MAIN_JOB),
    Entry(
        "threshold",
        "glassbox.cli.results:threshold",
        "Choose a confidence to automate from, with a guarantee.",
        MAIN_JOB,
    ),
    Entry(
        "generate",
        "glassbox.cli.generate:generate",
        "Write a text and see how sure the model was of every token.",
        INTERNALS,
    ),
    Entry(
        "verify",
        "glassbox.cli.verify:app",
        "Find out whether an answer can be believed.",
        INTERNALS,
    ),
    Entry(
        "probes",
        "glassbox.cli.probes:app",
        "Train linear probes on hidden states, and look at them.",
        INTERNALS,
    ),
    Entry("serve", "glassbox.cli.serve:serve", "Serve the model over HTTP.", INTERNALS),
    Entry(
        "technique",
        "glassbox.cli.technique:app",
        "Run a function of yours, or a built-in one, on the resident model.",
        TECHNIQUES,
        "A run under way was cancelled; the model stays resident.",
    ),
    Entry(
        "mcp",
        "glassbox.cli.mcp:mcp",
        "Give an agent the model, over the Model Context Protocol.",
        TECHNIQUES,
    ),
    Entry(
        "versions",
        "glassbox.cli.versions:app",
        "Register versions of a model, and say which one answers.",
        ROLLOUT,
    ),
    Entry(
        "rollout",
        "glassbox.cli.rollout:app",
        "Let a challenger become champion step by step, or find out why it did not.",
        ROLLOUT,
    ),
    Entry(
        "audit",
        "glassbox.cli.audit:app",
        "The kept predictions: look at them, check them, remove them.",
        ROLLOUT,
    ),
    Entry(
        "drift",
        "glassbox.cli.drift:app",
        "What comes now, compared with what came before.",
        ROLLOUT,
    ),
    Entry(
        "alerts",
        "glassbox.cli.alerts:app",
        "Who is told when something is wrong, and whether it arrived.",
        ROLLOUT,
    ),
    Entry(
        "pathways",
        "glassbox.cli.pathways:app",
        "From a patching study to verified pathways between SAE latents.",
        PATHWAYS,
        RESUMES,
    ),
    Entry("sae", "glassbox.cli.sae:app", "Look at sparse autoencoders, and train some.", PATHWAYS),
    Entry(
        "bundle",
        "glassbox.cli.bundle:app",
        "Pack all that is served into one hashed folder or archive, and check it.",
        DEPLOY,
    ),
    Entry(
        "deploy",
        "glassbox.cli.deploy:app",
        "Put the server on SageMaker, Modal or Ray, and take it down again.",
        DEPLOY,
    ),
    Entry(
        "plan",
        "glassbox.cli.plan:plan",
        "How many instances some traffic needs, what requests will feel, what they cost.",
        DEPLOY,
    ),
    Entry("fleet", "glassbox.cli.fleet:fleet", "The servers that share one database.", DEPLOY),
    Entry("keys", "glassbox.cli.keys:app", "API keys of the server.", MACHINE),
    Entry("config", "glassbox.cli.config:app", "Settings and where they come from.", MACHINE),
    Entry(
        "doctor",
        "glassbox.cli.doctor:doctor",
        "What this machine can do, and what to do about what is missing.",
        MACHINE,
    ),
)
"""Every command, in the order in which help lists them."""

EXTRAS: Final[dict[str, str]] = {
    "torch": "serve",
    "transformers": "serve",
    "peft": "serve",
    "safetensors": "serve",
    "tokenizers": "serve",
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
    gc.freeze()
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
