"""``glassbox pathways``: from a patching study to verified pathways, each step a command.

Parses, makes one call, prints. Knows nothing of how steps work.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbox.cli.arguments import options
from glassbox.cli.terminal.console import note, print_json, print_table, print_text, progress
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.progress import Progress
from glassbox.runtime import Runtime

if TYPE_CHECKING:
    from glassbox.pathways.layout import StudyFolder
    from glassbox.pathways.orchestration.running import Finished
    from glassbox.pathways.orchestration.workplace import Workplace

app = typer.Typer(
    help="Which SAE latents drive which, verified by replay, and which tokens fire them.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
"""The ``pathways`` group."""

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The study's configuration: YAML or TOML.")
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", help="Have it made anew: removes its results, of whatever configuration."
    ),
]
Backend = Annotated[
    str | None,
    typer.Option("--backend", help="'local', or 'ray' for a Ray cluster; changes no result."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Ray tasks at a time, each with a model.", min=1)
]


@app.callback()
def pathways() -> None:
    """Which SAE latents drive which, verified by replay, and which tokens fire them."""


@app.command()
def run(
    config: Config,
    fresh: Fresh = False,
    backend: Backend = None,
    workers: Workers = None,
    json: options.AsJson = False,
) -> None:
    """Do all steps; killed anywhere, the same command goes on."""
    from glassbox.pathways.orchestration.steps import run_study

    place = open_place(config, backend, workers, quiet=json)
    try:
        finished = run_study(place, fresh=fresh)
    finally:
        place.close()
    if json:
        print_json([each.to_json() for each in finished])
        return
    _show_steps(finished)
    print_text(f"Report: {place.folder.report}")


@app.command()
def experiment(config: Config, fresh: Fresh = False, json: options.AsJson = False) -> None:
    """Make the patching study that the rest begins with, where there is none."""
    _one("experiment", config, fresh=fresh, json=json)


@app.command()
def audit(config: Config, fresh: Fresh = False, json: options.AsJson = False) -> None:
    """Step 0: check all checkpoints and all response logs; lists every fault."""
    from glassbox.cli.pathways.study_showing import show_audit

    finished = _one("audit", config, fresh=fresh, json=json, show=show_audit)
    if not finished.figures.get("validated", False):
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def select(config: Config, fresh: Fresh = False, json: options.AsJson = False) -> None:
    """Step 1: choose the latents that go on, and say how many chance would have given."""
    from glassbox.cli.pathways.study_showing import show_selection

    _one("select", config, fresh=fresh, json=json, show=show_selection)


@app.command()
def prototype(config: Config, fresh: Fresh = False, json: options.AsJson = False) -> None:
    """Step 2: one latent end to end, its memory, and a forecast of the rest."""
    from glassbox.cli.pathways.study_showing import show_prototype

    _one("prototype", config, fresh=fresh, json=json, show=show_prototype)


@app.command()
def discover(
    config: Config,
    fresh: Fresh = False,
    backend: Backend = None,
    workers: Workers = None,
    json: options.AsJson = False,
) -> None:
    """Step 3: the upstream gradients of every latent, and the pathways worth a replay."""
    _one("discover", config, backend, workers, fresh=fresh, json=json)


@app.command()
def validate(
    config: Config,
    fresh: Fresh = False,
    backend: Backend = None,
    workers: Workers = None,
    json: options.AsJson = False,
) -> None:
    """Step 3, second half: change every source and measure its targets."""
    _one("validate", config, backend, workers, fresh=fresh, json=json)


@app.command()
def tokens(
    config: Config,
    fresh: Fresh = False,
    backend: Backend = None,
    workers: Workers = None,
    json: options.AsJson = False,
) -> None:
    """Step 4: which tokens fire which latents, by one pass over the corpus."""
    _one("tokens", config, backend, workers, fresh=fresh, json=json)


@app.command()
def integrate(config: Config, fresh: Fresh = False, json: options.AsJson = False) -> None:
    """Step 5: one table, one graph, one report."""
    _one("integrate", config, fresh=fresh, json=json)


@app.command()
def forecast(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="A study; without one, the source's own plan."),
    ] = None,
    contexts: Annotated[int, typer.Option("--contexts", help="Texts per target.", min=1)] = 8,
    doses: Annotated[int, typer.Option("--doses", help="Doses per source.", min=1)] = 3,
    null: Annotated[
        int, typer.Option("--null", help="Random directions per source and close text.", min=0)
    ] = 20,
    close: Annotated[
        int | None,
        typer.Option("--close", help="Texts per pathway looked at closely; all by default.", min=1),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", help="Tokens of a text.", min=2)] = 128,
    responses: Annotated[
        int | None, typer.Option("--responses", help="Responses that are read.", min=1)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Matrix product, operations a second, measured by you.", min=1),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure that rate on this machine's device.")
    ] = False,
    json: options.AsJson = False,
) -> None:
    """What a study takes: Llama-3.1-8B with 1,550 latents on a 48 GB GPU, beside its plan."""
    from glassbox.cli.pathways.forecast_showing import show_forecast, show_study_forecast

    if config is not None:
        from glassbox.pathways.orchestration.steps import require_settings

        place = open_place(config, quiet=json)
        require_settings(place, "prototype", "The forecast is among")
        show_study_forecast(place.folder, json=json)
        return
    show_forecast(
        contexts, doses, null, close, tokens, responses, rate=rate, measure=measure, json=json
    )


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a finished study.")],
    source: Annotated[str | None, typer.Option("--source", help="Only from this latent.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Only to this latent.")] = None,
    latent: Annotated[str | None, typer.Option("--latent", help="All about one latent.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Rows shown.", min=1)] = 20,
    json: options.AsJson = False,
) -> None:
    """Look at a finished study: its strongest pathways, or one latent."""
    from glassbox.cli.pathways.study_showing import show_latent, show_pathways

    if latent is not None:
        show_latent(folder, latent, limit=limit, json=json)
        return
    show_pathways(folder, source=source, target=target, limit=limit, json=json)


def open_place(
    config: Path,
    backend: str | None = None,
    workers: int | None = None,
    *,
    quiet: bool = False,
) -> "Workplace":
    """Return the workplace of a configuration's study, its progress shown on the console."""
    from glassbox.pathways.config_file import load_config

    loaded = load_config(config)
    changes = {
        name: value
        for name, value in (("backend", backend), ("workers", workers))
        if value is not None
    }
    if changes:
        content = loaded.to_json()
        content["parallel"].update(changes)
        loaded = type(loaded).from_json(content, source="option")

    def stages(description: str) -> AbstractContextManager[Progress]:
        return progress(description, quiet=quiet)

    return Runtime.load().study(loaded, stages, note)


def _one(
    step: str,
    config: Path,
    backend: str | None = None,
    workers: int | None = None,
    *,
    fresh: bool,
    json: bool,
    show: "Callable[[StudyFolder], None] | None" = None,
) -> "Finished":
    """Do one step, and print its record, what it found, or one line of it."""
    from glassbox.pathways.orchestration.steps import do_step

    place = open_place(config, backend, workers, quiet=json)
    try:
        finished = do_step(place, step, fresh=fresh)
    finally:
        place.close()
    if json:
        print_json(finished.to_json())
    elif show is not None:
        show(place.folder)
    else:
        _show_steps([finished])
    return finished


def _show_steps(finished: "list[Finished]") -> None:
    rows: list[tuple[Any, ...]] = [
        (each.step, f"{each.seconds:.1f} s{' (before)' * each.was_there}", each.words)
        for each in finished
    ]
    print_table(["step", "took", "came to"], rows)
