"""``charts``, ``compare``, ``threshold`` and ``calibrate``: what a finished run says."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.terminal.console import (
    Column,
    note,
    print_json,
    print_table,
    print_text,
    progress,
)
from glassbox.errors import InvalidValue, UnknownName
from glassbox.runtime import SHIPPED, SHIPPED_RUN, Runtime

if TYPE_CHECKING:
    from glassbox.charts.report import Table
    from glassbox.confidence.analysis.whole_run import RunAnalysis
    from glassbox.confidence.run import RunFolder

MOST_SIGNS = 20
"""Characters without a font that a sentence shows."""

RunName = Annotated[
    str, typer.Argument(help="Run folder, a run's name, or 'shipped'.", metavar="RUN")
]


def charts(
    run: RunName,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write here and not into the run folder.")
    ] = None,
) -> None:
    """Draw a run's charts and report again, from its files alone: no model is loaded."""
    from glassbox.confidence.analysis.whole_run import reopen

    folder = _folder(run)
    if out is None and folder.root == SHIPPED_RUN:
        out = Runtime.load().settings.paths.runs / SHIPPED
    with progress("Reading the run"):
        analysis = reopen(folder)
    draw_charts(analysis, folder, out)
    print_text(f"Charts and report written to {out or folder.root}.")


def compare(run_a: RunName, run_b: RunName, json: options.AsJson = False) -> None:
    """Compare two runs on the test rows that they share."""
    from glassbox.confidence.analysis.whole_run import reopen
    from glassbox.confidence.reporting.comparing import compare_runs, comparison_table

    found = compare_runs(reopen(_folder(run_a)), reopen(_folder(run_b)), (run_a, run_b))
    if json:
        print_json(found)
        return
    show(comparison_table(found))
    print_text(found.sentence)


def threshold(
    run: RunName,
    max_error: options.MaxError = None,
    confidence: options.ConfidenceLevel = None,
    costs: options.CostsFile = None,
    save: Annotated[
        bool, typer.Option("--save", help="Make this the run's threshold for 'classify'.")
    ] = False,
    json: options.AsJson = False,
) -> None:
    """Choose the lowest confidence from which answers can be automated, with a guarantee.

    Of all automated answers at most --max-error are wrong, with probability --confidence over
    the draw of the threshold rows; assumes that new texts come from where these came from.
    """
    from glassbox.confidence.analysis.costs import load_costs
    from glassbox.confidence.analysis.whole_run import reopen, summary, with_promise
    from glassbox.confidence.job import Promise
    from glassbox.confidence.reporting.sentences import verdict
    from glassbox.confidence.reporting.tables import MOST_LINES, automation, class_checks

    chosen = Runtime.load(
        {"confidence.max_error": max_error, "confidence.confidence_level": confidence}
    ).settings.confidence
    folder = _folder(run)
    priced = None if costs is None else load_costs(costs)
    promise = Promise(chosen.max_error, chosen.confidence_level)
    with _alone_in(folder) if save else nullcontext():
        analysis = with_promise(reopen(folder, changing=save), promise, priced)
        if save:
            _keep(analysis, folder)
    if json:
        final = summary(analysis)["models"][analysis.final.name]
        print_json({name: final[name] for name in ("threshold", "classes", "outcome")})
        return
    for sentence in verdict(analysis)[:-1]:
        print_text(sentence)
    show(automation(analysis))
    show(class_checks(analysis, MOST_LINES))
    print_text(
        "Assumption: the texts to come are drawn like the threshold rows. Where they drift, the "
        "promise ends; label some of them and run this again."
    )


def calibrate(
    run: RunName,
    label_bias: Annotated[
        bool | None,
        typer.Option(
            "--label-bias/--no-label-bias",
            help="Take off class offsets first; by default as the run was evaluated.",
        ),
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Fit a run's calibrators again and choose among them; no model is loaded."""
    from glassbox.confidence.analysis.whole_run import recalibrate, summary
    from glassbox.confidence.reporting.tables import all_methods, candidates, proper_scores

    folder = _folder(run)
    with _alone_in(folder):
        with progress("Calibrating"):
            analysis = recalibrate(folder, label_bias=label_bias)
        _keep(analysis, folder)
    if json:
        print_json(summary(analysis)["models"][analysis.final.name]["calibrator"])
        return
    show(candidates(analysis.final))
    show(all_methods(analysis))
    show(proper_scores(analysis))


def draw_charts(analysis: "RunAnalysis", folder: "RunFolder", out: Path | None = None) -> None:
    """Draw every chart and the report of a run, here or in another folder."""
    from glassbox.confidence.reporting.drawing import write_charts
    from glassbox.confidence.reporting.report import write_report

    with progress("Drawing the charts") as report:
        drawn = write_charts(analysis, folder, out, report)
    tell_of_fonts(analysis, folder)
    with progress("Writing the report"):
        write_report(analysis, folder, drawn, out)


def tell_of_fonts(analysis: "RunAnalysis", folder: "RunFolder") -> None:
    """Say so where labels hold characters that no font of this machine can draw."""
    from glassbox.charts.style import without_font

    if signs := without_font(analysis.final.rows.classes):
        note(
            f"No font here can write '{signs[:MOST_SIGNS]}', so the charts show boxes instead. "
            "Install one, such as Noto Sans CJK for Chinese, Japanese and Korean; then "
            f"'glassbox charts {folder.root}' draws them anew."
        )


def print_results_table(analysis: "RunAnalysis") -> None:
    """Print the tables of a finished evaluation."""
    from glassbox.confidence.reporting.tables import terminal_tables

    for table in terminal_tables(analysis):
        show(table)


def print_outcome(analysis: "RunAnalysis", folder: "RunFolder", *, is_drawn: bool) -> None:
    """Print what to do, and where everything is; a report that was not drawn now is an old one."""
    from glassbox.confidence.reporting.sentences import off_task, verdict

    for sentence in (*verdict(analysis), *off_task(analysis)):
        print_text(sentence)
    print_text(f"Run folder: {folder.root}")
    if is_drawn:
        print_text(f"Report: {folder.report}")
    elif folder.report.exists():
        print_text(
            f"The report in it is an earlier one: 'glassbox charts {folder.root}' draws it anew."
        )


def show(table: "Table | None") -> None:
    """Print a table with its caption and notes; None prints nothing."""
    if table is None:
        return
    columns = [
        Column(name, "left" if any(_is_word(row[i]) for row in table.rows) else "right")
        for i, name in enumerate(table.header)
    ]
    print_table(columns, table.rows, title=table.caption)
    for sentence in table.notes:
        print_text(sentence + "\n")


def _is_word(cell: str) -> bool:
    return cell[:1].isalpha() and cell != "none"


def _refuse_shipped(folder: "RunFolder") -> None:
    """Refuse to change the run that is part of the package."""
    if folder.root.resolve() == SHIPPED_RUN.resolve():
        raise InvalidValue(
            "run",
            SHIPPED,
            "a run of your own, because this one is part of the package and stays as it is",
            remedy=f"Copy it: cp -r {folder.root} runs/mine.",
        )


@contextmanager
def _alone_in(folder: "RunFolder") -> Iterator[None]:
    """Have a finished run alone from before it is read until its choice is kept."""
    _refuse_shipped(folder)
    folder.read_run(changing=True)
    with folder.alone():
        yield


def _keep(analysis: "RunAnalysis", folder: "RunFolder") -> None:
    from glassbox.confidence.analysis.whole_run import save_choice

    save_choice(analysis, folder)
    note(f"Kept in {folder.root}. 'glassbox charts' draws its report anew.")


def _folder(run: str) -> "RunFolder":
    from glassbox.confidence.run import RunFolder

    runtime = Runtime.load()
    path = runtime.run_folder(run)
    if not path.is_dir():
        raise UnknownName(
            "run",
            run,
            runtime.runs(),
            remedy="Make one with 'glassbox evaluate' or 'glassbox demo'.",
        )
    return RunFolder(path)
