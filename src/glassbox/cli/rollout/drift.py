"""``glassbox drift``: what comes now compared with what came before. Computes nothing itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.arguments.moments import Moment, parse_moment, to_minute
from glassbox.cli.rollout.acting import actor
from glassbox.cli.terminal.console import Column, note, print_json, print_table
from glassbox.rollout.version import DEFAULT_MODEL, option_of
from glassbox.runtime import Runtime
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.rollout.drift.drift_store import DriftStore
    from glassbox.rollout.drift.watch import DriftWatch

app = typer.Typer(
    help="What comes now, compared with what came before.", pretty_exceptions_enable=False
)
"""The ``drift`` group."""

reference = typer.Typer(help="Frozen rows that windows are compared with.")
"""The ``drift reference`` group."""

app.add_typer(reference, name="reference")

RegisteredModel = Annotated[
    str, typer.Option("--model", help="Registered model that the answers are of.")
]
ModelVersion = Annotated[
    str | None,
    typer.Option("--version", help="Version whose answers count; by default the latest one's."),
]


@app.callback()
def drift() -> None:
    """What comes now, compared with what came before."""


@reference.callback()
def references() -> None:
    """Frozen rows that windows are compared with."""


@reference.command()
def create(
    last_n: Annotated[
        int | None, typer.Option("--last-n", min=100, help="So many of the latest answers.")
    ] = None,
    since: Moment = None,
    until: Moment = None,
    model: RegisteredModel = "default",
    version: ModelVersion = None,
    json: options.AsJson = False,
) -> None:
    """Freeze recorded answers as what later ones are compared with."""
    made = _watch()[0].freeze(
        model=model,
        model_version=version,
        last_n=last_n,
        since_s=parse_moment("--since", since),
        until_s=parse_moment("--until", until),
        actor=actor(),
    )
    if json:
        print_json(
            {
                "reference_id": made.reference_id,
                "model_version": made.model_version,
                "n_rows": made.n_rows,
                "digest": made.digest,
                "columns": [each.name for each in made.window.columns],
            }
        )
        return
    typer.echo(made.reference_id)
    note(
        f"{counted(made.n_rows, 'answer')} of {made.model_version or 'several versions'} from "
        f"{to_minute(made.since_s)} to {to_minute(made.until_s)}; compared by "
        f"{counted(len(made.window.columns), 'column')}: "
        f"{', '.join(c.name for c in made.window.columns)}."
    )


@reference.command("list")
def list_references(
    model: Annotated[str | None, typer.Option(help="Only those of this registered model.")] = None,
    json: options.AsJson = False,
) -> None:
    """List the references, newest first; windows are compared with the current one."""
    found = _watch()[1].references(model)
    if json:
        print_json(found)
        return
    if not found:
        about = option_of(model or DEFAULT_MODEL)
        note(f"No reference yet. Make one: glassbox drift reference create{about}")
        return
    print_table(
        ["reference", "version", Column("rows", "right"), "from", "to", "made by", "digest", ""],
        [
            (
                each.reference_id,
                each.model_version,
                each.n_rows,
                to_minute(each.since_s),
                to_minute(each.until_s),
                each.actor,
                each.digest[:12],
                "current" if each.is_current else None,
            )
            for each in found
        ],
    )


@app.command()
def run(
    model: RegisteredModel = "default",
    version: ModelVersion = None,
    json: options.AsJson = False,
) -> None:
    """Compare the latest answers with the current reference, now."""
    from glassbox.cli.rollout.drift_showing import show_report

    report = _watch()[0].run(model=model, model_version=version)
    if json:
        print_json(report.to_json())
        return
    show_report(report)


@app.command()
def show(
    feature: Annotated[
        str | None, typer.Argument(help="A column: how it stood over time, and its bins.")
    ] = None,
    report: Annotated[
        str | None, typer.Option("--report", help="A report's id; by default the latest.")
    ] = None,
    model: RegisteredModel = "default",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Comparisons shown.")] = 20,
    json: options.AsJson = False,
) -> None:
    """Show the latest report, or one column over time."""
    from glassbox.cli.rollout.drift_showing import show_feature, show_report

    _, store = _watch()
    found = store.latest(model) if report is None else store.report(report)
    if found is None:
        if json:
            print_json(None)
        note(f"No report yet. Make one: glassbox drift run{option_of(model)}")
        return
    if feature is None:
        if json:
            print_json(found.to_json())
        else:
            show_report(found)
        return
    history = store.history(model, feature=feature, limit=limit)
    if json:
        print_json(history)
        return
    show_feature(found, feature, history)


@app.command()
def compare(
    reference: Annotated[Path, typer.Argument(help="Rows of then: CSV, TSV, Parquet, JSON Lines.")],
    current: Annotated[Path, typer.Argument(help="Rows of now.")],
    prob: Annotated[
        str | None, typer.Option("--prob", help="Column with the probability of one class.")
    ] = None,
    positive: Annotated[str, typer.Option("--positive", help="Name of that class.")] = "1",
    answer: Annotated[
        str | None, typer.Option("--answer", help="Column with the class answered.")
    ] = None,
    truth: Annotated[
        str | None, typer.Option("--truth", help="Column with the true class; may be absent now.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Column with the time of the row.")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option("--segment", help="Column of groups; may be repeated.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="Column left out; may be repeated.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Compare two files of rows, without a server and without a database."""
    from glassbox.cli.rollout.drift_showing import show_report
    from glassbox.rollout.drift.files import Roles, read_window
    from glassbox.rollout.drift.watch import compared

    roles = Roles(
        prob=prob,
        answer=answer,
        truth=truth,
        positive=positive,
        time=time,
        segments=tuple(segment or ()),
        ignored=tuple(ignore or ()),
    )
    report = compared(
        read_window(reference, roles, has_truth=True),
        read_window(current, roles),
        Runtime.load().settings.drift,
        reference_id=reference.name,
    )
    if json:
        print_json(report.to_json())
        return
    show_report(report)


def _watch() -> "tuple[DriftWatch, DriftStore]":
    runtime = Runtime.load()
    from glassbox.audit.store import InferenceStore
    from glassbox.rollout.drift.drift_store import DriftStore
    from glassbox.rollout.drift.watch import DriftWatch
    from glassbox.storage.database import open_database

    database = open_database(runtime.settings.storage.url)
    store = DriftStore(database)
    return DriftWatch(InferenceStore(database), store, runtime.settings.drift), store
