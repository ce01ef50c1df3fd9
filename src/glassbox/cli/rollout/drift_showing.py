"""How a drift report looks on a terminal. Knows no database."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from glassbox.cli.arguments.moments import to_minute
from glassbox.cli.terminal.console import Column, note, print_table, print_text
from glassbox.errors import UnknownName
from glassbox.rollout.drift.drift_store import Point
from glassbox.rollout.drift.report import DriftReport, FeatureDrift, Quality, Verdict
from glassbox.wording import counted, percent

BARS: Final = "▁▂▃▄▅▆▇█"
"""Heights of a share beside the largest of its row."""

MOST_BARS: Final = 12
"""Bins drawn in the overview; categories beyond are left out there."""

VERDICTS: Final[dict[Verdict, str]] = {
    "drift": "Drift",
    "no_drift": "No drift",
    "not_enough_data": "Not judged",
}


def show_report(report: DriftReport) -> None:
    """Print a report: the verdict, the columns, the quality, and what else was found."""
    print_text(_headline(report))
    if report.features:
        print_table(
            [
                "column",
                Column("PSI", "right"),
                Column("limit", "right"),
                Column("adjusted p", "right"),
                Column("then", wraps=False),
                Column("now", wraps=False),
                "what changed",
                "",
            ],
            [
                (
                    each.name,
                    f"{each.effect:.3f}",
                    f"{each.limit:.3f}",
                    _p_value(each.p_adjusted),
                    _bars(each, each.reference),
                    _bars(each, each.current),
                    _change(each),
                    "drift" if each.drifted else None,
                )
                for each in report.features
            ],
        )
    _show_quality(report)
    _show_importance(report)
    for gap in report.gaps:
        groups = ", ".join(f"{name} {value:.3f}" for name, value in gap.groups.items())
        print_text(f"{gap.measure} by {gap.segment}: gap {gap.gap:.3f} ({groups})")
    season = report.seasonality
    if season is not None:
        used = "the same hours" if season.applied else "all of the reference"
        print_text(
            f"{season.column} follows the {season.period} ({percent(season.effect)} of its "
            f"variance over {season.n_cycles} of them): compared with {used}."
        )
    for each in report.notes:
        note(each)


def show_feature(report: DriftReport, name: str, history: Sequence[Point]) -> None:
    """Print one column of a report bin by bin, and how it stood before.

    Raises:
        UnknownName: The report has no such column.
    """
    found = next((each for each in report.features if each.name == name), None)
    if found is None:
        raise UnknownName("column", name, [each.name for each in report.features])
    print_table(
        ["bin", Column("then", "right"), Column("now", "right"), ""],
        [
            (bin_name, f"{before:.3f}", f"{now:.3f}", _signed(now - before))
            for bin_name, before, now in zip(
                _bins(found), found.reference, found.current, strict=True
            )
        ],
        title=f"{name}: {_change(found)}",
    )
    print_table(
        ["report", "time", Column("PSI", "right"), Column("limit", "right"), "adjusted p", ""],
        [
            (
                each.report_id,
                to_minute(each.time_s),
                f"{each.effect:.3f}",
                f"{each.limit:.3f}",
                _p_value(each.p_adjusted),
                "drift" if each.drifted else None,
            )
            for each in history
        ],
    )


def _headline(report: DriftReport) -> str:
    who = f" of {report.model_version}" if report.model_version else ""
    beside = f" ({report.reference_id})" if report.reference_id else ""
    n = len(report.drifted)
    found = f": {n} of {counted(len(report.features), 'column')}" if report.features else ""
    return (
        f"{VERDICTS[report.verdict]}{found}. {counted(report.n_current, 'row')}{who} against "
        f"{report.n_reference:,} of the reference{beside}."
    )


def _show_quality(report: DriftReport) -> None:
    found = [each for each in (report.estimate, report.realised, *report.further) if each]
    if not found:
        return
    print_table(
        ["quality", "from", Column("then", "right"), Column("now", "right"), "interval", ""],
        [
            (
                each.metric,
                "confidence alone" if each.method == "estimated" else counted(each.n, "label"),
                None if each.reference is None else f"{each.reference:.3f}",
                f"{each.value:.3f}",
                f"{each.low:.3f} to {each.high:.3f}",
                _fell(each),
            )
            for each in found
        ],
    )


def _show_importance(report: DriftReport) -> None:
    found = report.importance
    if found is None:
        return
    change = max(
        zip(found.features, found.reference, found.current, strict=True),
        key=lambda each: abs(each[2] - each[1]),
    )
    verdict = "have changed" if found.changed else "are as they were"
    print_text(
        f"What the answers depend on: importances {verdict} (p {_p_value(found.p_value)}); the "
        f"largest move is {change[0]}, {change[1]:.2f} to {change[2]:.2f} of the variance."
    )


def _fell(quality: Quality) -> str | None:
    return None if quality.fell is None else ("fell" if quality.fell else "holds")


def _change(feature: FeatureDrift) -> str:
    numbers = feature.statistics
    if abs(numbers["missing_current"] - numbers["missing_reference"]) > 0.01:
        shares = [percent(numbers[f"missing_{window}"], 1) for window in ("reference", "current")]
        return f"missing {' → '.join(shares)}"
    if feature.kind == "numeric" and "current_mean" in numbers:
        mean = f"mean {numbers['reference_mean']:.4g} → {numbers['current_mean']:.4g}"
        outside = numbers["outside"]
        return f"{mean}; {percent(outside, 1)} out of range" if outside >= 0.01 else mean
    moves = [now - before for before, now in zip(feature.reference, feature.current, strict=True)]
    place = max(range(len(moves)), key=lambda index: abs(moves[index]))
    before, now = feature.reference[place], feature.current[place]
    return f"share of {feature.edges[place]}: {percent(before, 1)} → {percent(now, 1)}"


def _bars(feature: FeatureDrift, shares: Sequence[float]) -> str:
    """Return shares as bars, on one scale for then and now."""
    highest = max((*feature.reference, *feature.current), default=0.0) or 1.0
    return "".join(
        BARS[min(len(BARS) - 1, int(len(BARS) * share / highest))] for share in shares[:MOST_BARS]
    )


def _bins(feature: FeatureDrift) -> list[str]:
    if feature.kind == "categorical":
        return [str(each) for each in feature.edges]
    edges = [f"{each:.4g}" for each in feature.edges]
    if len(feature.reference) == 1:
        return [f"{edges[0]} to {edges[-1]}"]
    inner = edges[1:-1]
    return [
        f"below {inner[0]}",
        *(f"{low} to {high}" for low, high in pairwise(inner)),
        f"{inner[-1]} and above",
    ]


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"
