"""``glassbox rollout experiment``: A/B experiments, planned and analysed."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from glassbox.cli.arguments import options
from glassbox.cli.arguments.text_lines import utf8_lines
from glassbox.cli.terminal.console import (
    Column,
    note,
    print_json,
    print_table,
    print_text,
    progress,
)
from glassbox.csv_rows import csv_rows
from glassbox.errors import InvalidData, InvalidValue, UnknownName
from glassbox.wording import counted, percent

if TYPE_CHECKING:
    from glassbox.stats.sequential.experiments import Comparison
    from glassbox.stats.sequential.means import BoundedMean

app = typer.Typer(
    help="A/B experiments: how many rows they take, and what came of them.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
"""The ``experiment`` group."""

MOST_ARMS: Final = 20
"""More different values than this are no column of arms."""

Level = Annotated[float, typer.Option("--confidence", help="Coverage of the interval, in (0, 1).")]


@app.callback()
def experiment() -> None:
    """A/B experiments: how many rows they take, and what came of them."""


@app.command()
def size(
    change: Annotated[
        float, typer.Option("--change", help="Smallest change worth finding, as -0.02.")
    ],
    rate: Annotated[
        float | None, typer.Option("--rate", help="Rate of the control, in (0, 1).")
    ] = None,
    deviation: Annotated[
        float | None,
        typer.Option(
            "--deviation", help="Instead, for an outcome that is a number: its standard deviation."
        ),
    ] = None,
    power: Annotated[float, typer.Option("--power", help="Probability of finding it.")] = 0.8,
    confidence: Level = 0.95,
    json: options.AsJson = False,
) -> None:
    """Say how many rows each arm needs, looked at once, or at any time."""
    from glassbox.stats.sequential.experiments import (
        rows_for_sequential,
        rows_per_arm_for_means,
        rows_per_arm_for_rates,
    )

    if (rate is None) == (deviation is None):
        given = "nothing" if rate is None else "a rate and a deviation"
        raise InvalidValue("outcome", given, "--rate or --deviation, one of them")
    if deviation is not None:
        fixed = rows_per_arm_for_means(deviation, change, level=confidence, power=power)
        found = f"a mean that differs by {change:g}"
        _show_size({"fixed": fixed}, found, power, json=json)
        return
    assert rate is not None
    fixed = rows_per_arm_for_rates(rate, change, level=confidence, power=power)
    with progress("Simulating", quiet=json):
        median, most = rows_for_sequential(rate, change, level=confidence)
    rows = {"fixed": fixed, "sequential_median": median, "sequential_80": most}
    _show_size(rows, f"a rate of {rate + change:g} instead of {rate:g}", power, json=json)


def _show_size(rows: Mapping[str, int], found: str, power: float, *, json: bool) -> None:
    if json:
        print_json(rows)
        return
    words = {
        "fixed": ("fixed horizon", "once, at exactly that many"),
        "sequential_median": ("sequential: half of all runs end by", "always; ends when clear"),
        "sequential_80": ("sequential: 80 % of all runs end by", "always; ends when clear"),
    }
    print_table(
        ["analysis", Column("rows per arm", "right"), "when it may be looked at"],
        [(words[name][0], f"{each:,}", words[name][1]) for name, each in rows.items()],
    )
    note(f"The fixed horizon finds {found} with probability {power:g}.")
    if len(rows) > 1:
        note("The sequential rows are simulated, for a difference that is exactly so large.")


@app.command()
def analyse(
    file: Annotated[Path, typer.Argument(help="CSV or JSON Lines, one row per request.")],
    arm: Annotated[str, typer.Option("--arm", help="Column of the arms.")] = "arm",
    outcome: Annotated[
        str, typer.Option("--outcome", help="Column of the outcome: 0 or 1, or a number.")
    ] = "outcome",
    control: Annotated[
        str | None, typer.Option("--control", help="Arm to compare with; by default the first.")
    ] = None,
    low: Annotated[float, typer.Option("--low", help="Smallest possible outcome.")] = 0.0,
    high: Annotated[float, typer.Option("--high", help="Largest possible outcome.")] = 1.0,
    planned: Annotated[
        int | None, typer.Option("--planned", help="Rows per arm that were planned.", min=1)
    ] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(
            "--share",
            help="ARM=SHARE of all rows that the arm was to get, for each arm; by default equal.",
        ),
    ] = None,
    confidence: Level = 0.95,
    json: options.AsJson = False,
) -> None:
    """Compare arms, at a fixed horizon and sequentially.

    The fixed horizon holds at one look, at the rows planned beforehand; the sequential analysis
    holds whenever and however often somebody looks. Neither holds where the arms have not the
    shares of the rows that they were to get (a sample ratio mismatch), and that is told.
    """
    from glassbox.stats.sequential.experiments import sample_ratio_p_value

    if not low < high:
        raise InvalidValue("--high", high, f"a number above --low, which is {low:g}")
    arms = _arms(file, arm, outcome, low, high)
    first = control if control is not None else next(iter(arms))
    if first not in arms:
        raise UnknownName("arm", first, arms)
    rows = [
        (name, each)
        for name, tally in arms.items()
        if name != first
        for each in _compared(arms[first], tally, confidence, (low, high))
    ]
    if not rows:
        raise InvalidData(f"there is one arm only, {first!r}", source=str(file))
    asked = _shares(share or [], arms)
    ratio = sample_ratio_p_value([each.n for each in arms.values()], list(asked.values()))
    if json:
        of_all = {"sample_ratio_p_value": ratio}
        print_json(
            [{"control": first, "treatment": name, **vars(each), **of_all} for name, each in rows]
        )
        return
    _show(first, rows, planned)
    _warn_of_mismatch(arms, asked, ratio)


def _compared(
    control: "BoundedMean", treatment: "BoundedMean", level: float, ends: tuple[float, float]
) -> "Iterator[Comparison]":
    from glassbox.stats.sequential.experiments import (
        Sample,
        compare_means,
        compare_rates,
        compare_sequentially,
    )

    is_rate = ends == (0.0, 1.0) and all(
        math.isclose(each.variance, each.mean * (1 - each.mean), abs_tol=1e-12)
        for each in (control, treatment)
    )
    fixed = compare_rates if is_rate else compare_means
    # A tally begins at 0: differences of outcomes are as they were.
    yield fixed(Sample.of(control), Sample.of(treatment), level=level)
    yield compare_sequentially(control, treatment, level=level)


def _show(control: str, rows: "list[tuple[str, Comparison]]", planned: int | None) -> None:
    print_table(
        [
            "treatment",
            Column("analysis", wraps=False),
            Column("rows", "right", wraps=False),
            Column(f"less {control}", "right"),
            Column("interval", "right", wraps=False),
            Column("p", "right"),
            Column("says", wraps=False),
        ],
        [
            (
                name,
                each.method,
                f"{each.n_control:,} + {each.n_treatment:,}",
                f"{each.difference:+.4f}",
                f"{each.low:+.4f} … {each.high:+.4f}",
                _p_value(each.p_value),
                ("higher" if each.low > 0 else "lower") if each.is_clear else "not clear",
            )
            for name, each in rows
        ],
    )
    least = min(min(each.n_control, each.n_treatment) for _, each in rows)
    if planned is not None and least < planned:
        print_text(
            f"Only {least:,} of {planned:,} planned rows: the fixed horizon does not hold yet, "
            "the sequential analysis does."
        )
    elif planned is None:
        note("The fixed horizon holds for one look at a number of rows planned beforehand.")


def _shares(given: list[str], arms: "Mapping[str, BoundedMean]") -> dict[str, float]:
    """Return what each arm was to get, in their order; equal shares where nothing is said."""
    if not given:
        return dict.fromkeys(arms, 1 / len(arms))
    asked = {}
    for each in given:
        name, _, number = each.rpartition("=")
        try:
            asked[name] = float(number)
        except ValueError:
            asked[name] = math.nan
        if not 0 < asked[name] < 1:
            raise InvalidValue("--share", each, "ARM=SHARE with a share in (0, 1)")
        if name not in arms:
            raise UnknownName("arm", name, arms)
    if asked.keys() != arms.keys() or not math.isclose(sum(asked.values()), 1, abs_tol=0.001):
        said = ", ".join(given)
        raise InvalidValue("--share", said, f"a share of each of {', '.join(arms)}, together 1")
    return {name: asked[name] for name in arms}


def _warn_of_mismatch(
    arms: "Mapping[str, BoundedMean]", asked: Mapping[str, float], p_value: float
) -> None:
    from glassbox.stats.sequential.experiments import SAMPLE_RATIO_ALPHA

    if p_value >= SAMPLE_RATIO_ALPHA:
        return
    total = sum(each.n for each in arms.values())
    found = ", ".join(
        f"{name} has {percent(each.n / total, 1)} of the rows and was to get "
        f"{percent(asked[name], 1)}"
        for name, each in arms.items()
    )
    note(
        f"Sample ratio mismatch (p {_p_value(p_value)}): {found}. Rows of one arm were lost or "
        "counted twice, so nothing of the above is to be believed until it is known why. Other "
        "shares were asked for? --share ARM=SHARE"
    )


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _arms(file: Path, arm: str, outcome: str, low: float, high: float) -> "dict[str, BoundedMean]":
    from glassbox.stats.sequential.means import BoundedMean

    arms: dict[str, BoundedMean] = {}
    for line, row in _rows(file):
        for column in (arm, outcome):
            if column not in row:
                raise UnknownName("column", column, [str(each) for each in row])
        name = str(row[arm])
        try:
            value = float(row[outcome])
        except (TypeError, ValueError):
            value = math.nan
        if not low <= value <= high:
            reason = f"{outcome} is {row[outcome]!r}; a number from {low:g} to {high:g} is needed"
            raise InvalidData(reason, source=str(file), line=line)
        arms.setdefault(name, BoundedMean(high - low)).add(value - low)
        if len(arms) > MOST_ARMS:
            raise InvalidData(f"{arm} has more than {MOST_ARMS} values", source=str(file))
    if not arms:
        raise InvalidData("there are no rows", source=str(file))
    return arms


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import orjson

    try:
        lines = utf8_lines(file)
    except OSError as error:
        raise UnknownName("file", str(file)) from error
    if file.suffix.lower() == ".csv":
        yield from _table(lines, str(file))
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InvalidData(f"not valid JSON ({error})", source=str(file), line=number) from error
        if not isinstance(value, dict):
            raise InvalidData("not a JSON object", source=str(file), line=number)
        yield number, value


def _table(lines: list[str], source: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    # Line feeds are put back: inside quotes they belong to the cell.
    table = ((at, row) for at, row in csv_rows((f"{each}\n" for each in lines), ",", source) if row)
    _, header = next(table, (1, []))
    for line, cells in table:
        if len(cells) != len(header):
            reason = f"it has {counted(len(cells), 'cell')} where the header has {len(header)}"
            raise InvalidData(reason, source=source, line=line)
        yield line, dict(zip(header, cells, strict=True))
