"""What ``glassbox pathways`` prints of a study's files. Knows nothing of how they were made."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassbox.cli.pathways.forecast_showing import duration
from glassbox.cli.terminal.console import Column, print_json, print_table, print_text
from glassbox.wording import counted, size_of

if TYPE_CHECKING:
    from glassbox.pathways.integration.values import PathwayRow
    from glassbox.pathways.layout import StudyFolder
    from glassbox.pathways.study.faults import Fault

MOST_FAULTS = 20
"""Faults that are printed; all of them are in the file."""


def show_audit(folder: "StudyFolder") -> None:
    """Print what an audit found, faults first."""
    from glassbox.pathways.study.report_file import read_report

    report = read_report(folder.audit)
    for kind, faults, counts in (
        ("error", report.errors, report.error_counts),
        ("warning", report.warnings, report.warning_counts),
    ):
        if counts:
            print_table(
                [kind, Column("times", "right")],
                [(code, f"{count:,}") for code, count in counts.items()],
            )
            _list_faults(faults)
    print_table(
        ["condition", Column("responses", "right")],
        [(name, f"{count:,}") for name, count in report.condition_counts.items()],
    )
    statistics = report.statistics
    if statistics.n_tested:
        words = (
            f"{statistics.n_significant:,} of {counted(statistics.n_tested, 'effect')} hold after "
            "correction"
        )
        if statistics.max_d_threshold is not None:
            words += (
                f"; |d| above {statistics.max_d_threshold:.2f} is more than the largest of all "
                "nulls in 19 of 20 permutations, and "
                f"{counted(statistics.n_above_threshold, 'is', 'are')}"
            )
        print_text(f"{words}.")
    verdict = "fit to go on with" if report.validated else "NOT fit to go on with as it is"
    print_text(
        f"{counted(len(report.latents), 'latent')}, {report.n_causal:,} called causal, "
        f"{report.n_joinable:,} of these in the logs. {counted(report.n_errors, 'error')}, "
        f"{counted(report.n_warnings, 'warning')}: {verdict}."
    )
    print_text(f"All of it: {folder.data_validation}")


def show_selection(folder: "StudyFolder") -> None:
    """Print how many latents each layer gives, beside what chance gives."""
    from glassbox.pathways.study.selection_file import read_selection

    found = read_selection(folder.causal_features)
    print_table(
        [
            Column("layer", "right"),
            Column("tested", "right"),
            Column("selected", "right"),
            Column("smallest |d|", "right"),
            Column("null's |d| there", "right"),
            Column("expected by chance", "right"),
        ],
        [
            (
                each.layer,
                f"{each.n_tested:,}",
                f"{each.n_selected:,}",
                _number(each.smallest_d),
                _number(each.null_d),
                f"{each.expected_by_chance:,.1f}",
            )
            for each in found.layers
        ],
    )
    print_text(
        f"{counted(len(found.latents), 'latent')} by rule '{found.rule}'; without any effect at "
        f"all, chance would give {found.expected_by_chance:,.1f} that look as strong."
    )


def show_prototype(folder: "StudyFolder") -> None:
    """Print the rehearsal: candidates of one latent, memory by stage, and the forecast."""
    from glassbox.cli.pathways.forecast_showing import show_study_forecast
    from glassbox.pathways.orchestration.prototype_file import read_prototype

    found = read_prototype(folder.single_feature_test)
    print_text(
        f"{found['feature']} at position {found['position']} of {found['n_tokens']} tokens, "
        f"activation {found['activation']:.3f}."
    )
    print_table(
        ["source", Column("activation", "right"), Column("gradient", "right"),
         Column("attribution", "right")],
        [
            (each["source"], _number(each["activation"]), _number(each["gradient"]),
             _number(each["attribution"]))
            for each in found["upstream_candidates"][:MOST_FAULTS]
        ],
    )  # fmt: skip
    print_table(
        ["stage", Column("took", "right"), Column("added", "right"), Column("peak", "right")],
        [
            (
                each["name"],
                duration(each["seconds"]),
                size_of(each["added_bytes"]),
                size_of(each["peak_bytes"]),
            )
            for each in found["stages"]
        ],
    )
    show_study_forecast(folder, json=False)


def show_pathways(
    folder: Path, *, source: str | None, target: str | None, limit: int, json: bool
) -> None:
    """Print a study's strongest pathways."""
    from glassbox.pathways.integration.results import read_study

    study = read_study(folder)
    page = study.pathways(source=source, target=target, order="mediated", limit=limit)
    if json:
        print_json({"n_rows": page.n_rows, "rows": [_plain(row) for row in page.rows]})
        return
    _print_pathways(page.rows)
    print_text(f"{len(page.rows):,} of {counted(page.n_rows, 'pathway')}, by mediated effect.")
    if study.decision_paths:
        # Not the strongest of all: ways on which a latent drives another stand before single ones.
        first, n_paths = study.decision_paths[0], len(study.decision_paths)
        print_text(
            f"First of {counted(n_paths, 'path')} to the decision: {' → '.join(first.nodes)}."
        )
    print_text(f"Report: {study.report}")


def show_latent(folder: Path, name: str, *, limit: int, json: bool) -> None:
    """Print all that a study knows of one latent."""
    from glassbox.pathways.integration.results import read_study

    card = read_study(folder).card(name, limit=limit)
    if json:
        print_json(_plain(card))
        return
    row = card.latent
    print_text(
        f"{row.name}: d {_number(row.cohen_d)}, g {_number(row.hedges_g)} "
        f"[{_number(row.effect_low)}, {_number(row.effect_high)}], active on "
        f"{_number(row.active_share)} of the tokens, mean {_number(row.activation_mean)}."
    )
    if card.tokens:
        print_table(
            ["token", "condition", Column("offset", "right"), Column("z", "right"),
             Column("q", "right")],
            [
                (repr(each.token), each.condition, each.offset, _number(each.z),
                 _number(each.q_shift))
                for each in card.tokens
            ],
        )  # fmt: skip
    _print_pathways([*card.upstream, *card.downstream])


def _print_pathways(rows: "Sequence[PathwayRow]") -> None:
    print_table(
        [
            "source",
            "target",
            Column("share", "right"),
            Column("direct", "right"),
            Column("mediated", "right"),
            Column("ablated: predicted", "right"),
            Column("measured", "right"),
            Column("q", "right"),
            "verified",
        ],
        [
            (
                row.source,
                row.target,
                _number(row.attribution_share),
                _number(row.direct),
                _number(row.mediated),
                *_ablation(row),
                _number(row.q),
                {True: "yes", False: "no", None: "not replayed"}[row.verified],
            )
            for row in rows
        ],
    )


def _ablation(row: "PathwayRow") -> tuple[str, str]:
    for each in row.doses:
        if each.dose == "ablate":
            return _number(each.predicted_pre), _number(each.measured_pre)
    return "", ""


def _list_faults(faults: "Sequence[Fault]") -> None:
    for each in faults[:MOST_FAULTS]:
        print_text(f"  {each}")
    if len(faults) > MOST_FAULTS:
        print_text(f"  … and {len(faults) - MOST_FAULTS:,} more")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _plain(value: Any) -> Any:
    from dataclasses import asdict

    return asdict(value)
