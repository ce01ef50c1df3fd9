"""The charts and the report of a trained verifier, in the form of the main job's.

Hands values to ``charts``; computes nothing that it does not hand on.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from glassbox.artifacts import write_bytes
from glassbox.charts.chart import Chart, save
from glassbox.charts.reliability import ReliabilityPanel, SingleName, reliability
from glassbox.charts.report import ChartImage, Report, Section, Table, render_report
from glassbox.charts.selective import RiskCoverageSeries, risk_coverage
from glassbox.charts.style import Role
from glassbox.introspection.training.figures import FUSION, Figures, Judged
from glassbox.introspection.training.verifier import Trained
from glassbox.stats.calibration.bands import binned_band
from glassbox.stats.calibration.binning import reliability_curve
from glassbox.stats.calibration.corp import corp_curve
from glassbox.stats.calibration.error import ece_interval, null_level
from glassbox.stats.intervals import proportion_interval
from glassbox.stats.selective.ranking import risk_coverage_curve
from glassbox.wording import counted, with_interval

PART = "test part"
"""Where everything is measured."""

REPORT_FILE = "report.html"
"""Name of the report in a verifier's folder."""


def write_report(trained: Trained, folder: Path) -> Path:
    """Write the charts and the report below a verifier's folder and return the report's path.

    Raises:
        DependencyMissing: matplotlib or jinja2 is not installed.
        NoDiskSpace: The device is full.
    """
    images = []
    for chart in _charts(trained.judged):
        files = save(chart, folder / "charts")
        images.append(ChartImage(chart.info, files.svg.read_bytes(), chart.summary))
    path = folder / REPORT_FILE
    write_bytes(path, render_report(_report(trained, tuple(images))).encode())
    return path


def _charts(judged: Judged) -> list[Chart]:
    heuristic = judged.readings["heuristic"]
    return [
        _reliability("reliability_raw_model_output", "Fusion, raw", "base", judged, 1 - judged.raw),
        _reliability(
            "reliability_platt_scaling",
            "Fusion, calibrated",
            "tuned",
            judged,
            1 - judged.uncertainty,
        ),
        risk_coverage(
            [
                _series("Heuristic", "base", judged, heuristic),
                _series("Fusion", "tuned", judged, 1 - judged.uncertainty),
            ]
        ),
    ]


def _reliability(
    name: SingleName, title: str, role: Role, judged: Judged, confidence: Float[np.ndarray, " n"]
) -> Chart:
    correct = judged.correct
    return reliability(
        name,
        ReliabilityPanel(
            title=title,
            role=role,
            part=PART,
            curve=reliability_curve(confidence, correct),
            accuracy=proportion_interval(correct),
            mean_confidence=float(confidence.mean()),
            ece=ece_interval(confidence, correct),
            null=null_level(confidence, correct),
            band=binned_band(confidence),
            corp=corp_curve(confidence, correct),
        ),
    )


def _series(
    title: str, role: Role, judged: Judged, confidence: Float[np.ndarray, " n"]
) -> RiskCoverageSeries:
    return RiskCoverageSeries(title, role, PART, risk_coverage_curve(confidence, judged.correct))


def _report(trained: Trained, images: tuple[ChartImage, ...]) -> Report:
    figures, manifest = trained.figures, trained.manifest
    fused = figures.separation[FUSION].auroc
    accepted = figures.n_accepted / figures.n_rows
    safe = any(each.max_uncertainty is not None for each in manifest.fusions)
    return Report(
        title="Can these answers be believed?",
        verdict=(
            f"Of {figures.n_rows:,} test responses, {100 * accepted:.0f} % would be accepted; "
            f"{figures.n_accepted_wrong:,} of those {figures.n_accepted:,} "
            f"{'is' if figures.n_accepted_wrong == 1 else 'are'} wrong."
            if safe
            else "No threshold keeps the promise on these data: every response goes to a person."
        ),
        summary=(
            f"A right response gets less uncertainty than a wrong one with probability "
            f"{with_interval(fused.estimate, fused.low, fused.high)}.",
        ),
        figures=(
            ("AUROC of the fusion", f"{fused.estimate:.3f}"),
            ("Calibration error", f"{figures.ece.estimate:.3f}"),
            ("of a perfect one", f"{figures.null.mean:.3f}"),
            ("Wrong responses", f"{100 * figures.error_rate:.1f} %"),
        ),
        sections=(
            Section("Which check tells right from wrong", tables=(separation_table(figures),)),
            Section("Is the uncertainty honest?", tables=_strata(figures), charts=images),
            Section("The promise", paragraphs=_promises(trained)),
        ),
        provenance=(
            ("Model", f"{manifest.model} ({manifest.model_digest[:12]})"),
            ("Graded rows", manifest.data_digest[:12]),
            *((f"Rows of the {name} part", f"{n:,}") for name, n in trained.n_parts.items()),
            ("Samples per prompt", str(manifest.plan.k)),
            ("Verifier", manifest.digest[:12]),
        ),
        tone="good" if safe else "caution",
    )


def separation_table(figures: Figures) -> Table:
    """Return the AUROC of the fusion, of each check and of the baselines, best first."""
    ordered = sorted(figures.separation.items(), key=lambda pair: -pair[1].auroc.estimate)
    return Table(
        caption="AUROC on the test part; intervals draw groups whole; differences are paired",
        header=("Reading", "AUROC", "95 % interval", "fusion minus it"),
        rows=tuple(
            (
                name,
                f"{each.auroc.estimate:.3f}",
                f"{each.auroc.low:.3f} to {each.auroc.high:.3f}",
                "–"
                if name == FUSION
                else f"{each.behind.estimate:+.3f} ({each.behind.low:+.3f} to "
                f"{each.behind.high:+.3f})",
            )
            for name, each in ordered
        ),
        highlighted=frozenset(at for at, (name, _) in enumerate(ordered) if name == FUSION),
    )


def _strata(figures: Figures) -> tuple[Table, ...]:
    if not figures.strata:
        return ()
    return (
        Table(
            caption="Mean uncertainty against the error rate, by stratum",
            header=("Stratum", "Responses", "Rows", "Wrong", "Mean uncertainty", "Gap"),
            rows=tuple(
                (
                    each.stratum,
                    each.origin,
                    f"{each.n_rows:,}",
                    f"{100 * each.error_rate:.1f} %",
                    f"{100 * each.mean_uncertainty:.1f} %",
                    f"{each.gap:+.3f}",
                )
                for each in figures.strata
            ),
        ),
    )


def _promises(trained: Trained) -> tuple[str, ...]:
    return tuple(
        f"{each.origin.capitalize()} responses, {counted(len(each.checks), 'check')}: "
        f"{each.promise}"
        for each in trained.manifest.fusions
    )
