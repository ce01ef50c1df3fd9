"""``glassbox demo``: each part of the system at work on the embedded model, without a network.

Parses, makes one call. Knows nothing of what the demos show.
"""

from pathlib import Path
from typing import Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.confidence.evaluate import DEMO_MAX_ERROR, show_main_job
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.runtime import Runtime

app = typer.Typer(
    help="See it all work on the embedded model.",
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)
"""The ``demo`` group; without a name it shows the main job."""

Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Run folder; by default 'demo' in the folder of runs."),
]

PORT = 8790
"""Where the dashboard of the rollout demo is, beside a server of one's own."""


@app.callback()
def demo(
    context: typer.Context,
    max_error: options.DemoMaxError = DEMO_MAX_ERROR,
    out: Out = None,
) -> None:
    """See it all work on the embedded model: a few minutes, no network."""
    if context.invoked_subcommand is None:
        show_main_job(max_error, out)


@app.command()
def confidence(max_error: options.DemoMaxError = DEMO_MAX_ERROR, out: Out = None) -> None:
    """From labelled texts to a threshold that keeps its promise."""
    show_main_job(max_error, out)


@app.command()
def rollout(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Its folder, emptied first; by default 'demo-rollout' in the folder of runs.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", help="Where the dashboard is.", min=1, max=65535)
    ] = PORT,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the dashboard in a browser.")
    ] = True,
    stay: Annotated[
        bool, typer.Option("--stay/--no-stay", help="Go on until Ctrl-C when all has been shown.")
    ] = True,
) -> None:
    """A better version is promoted, a broken one taken back, drift found: as it happens."""
    from glassbox.cli.demo.rollout import FOLDER, play

    folder = out or Runtime.load().settings.paths.runs / FOLDER
    play(folder.resolve(), port, opens=browser, stays=stay)


@app.command()
def pathways(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Its folder, emptied first; by default 'demo-pathways' in the folder of runs.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is there, after a kill.")
    ] = False,
) -> None:
    """Latents that drive each other, verified: the planted chain is found, its twins do nothing."""
    from glassbox.cli.demo.pathways import FOLDER, play

    folder = out or Runtime.load().settings.paths.runs / FOLDER
    if not play(folder.resolve(), fresh=not resume):
        raise typer.Exit(ExitCode.INCOMPLETE)
