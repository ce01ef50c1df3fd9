"""The report of a run: what it found, in the order in which a reader asks.

Puts sentences, tables and charts into the report's shell; computes nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glassbox.artifacts import write_bytes
from glassbox.charts.report import ChartImage, Report, Section, Table, Tone, render_report
from glassbox.confidence.analysis.whole_run import RunAnalysis
from glassbox.confidence.reporting import sentences, tables
from glassbox.confidence.reporting.tables import percent
from glassbox.confidence.run import RunFolder
from glassbox.wording import exact_percent

BELOW_HALF = (
    "A calibrated confidence can lie below 50 %. With more than two classes the most probable one "
    "may have 40 %. With two, calibration may find that where the model leans weakly to one label "
    "the other was right more often; the calibrated answer is then that other label, so that the "
    "confidence shown with it stays at 50 % or above. A value near or below one half is no error; "
    "it says: do not automate this one.",
)

INTERVALS = (
    "Two-sided, 95 %, of the test rows unless another part is named. Accuracy and share wrong: "
    "exact binomial (Clopper-Pearson). Difference of two accuracies: Bonett and Price, rows "
    "paired. Difference of two NLLs: percentile bootstrap, 1,000 draws of the rows. ECE: bootstrap "
    "of its directional derivative (Fang and Santos), so that it may reach 0. 'Error at most' is "
    "one-sided and exact binomial, at the promise's confidence."
)


def write_report(
    run: RunAnalysis, folder: RunFolder, charts: Sequence[ChartImage], out: Path | None = None
) -> Path:
    """Write the self-contained HTML report and return its path.

    Args:
        run: What was measured.
        folder: The run, for what it was made from.
        charts: What ``write_charts`` returned.
        out: Folder to write to; None is the run's own.

    Raises:
        DependencyMissing: jinja2 is not installed.
        NoDiskSpace: The device is full.
    """
    path = folder.report if out is None else out / folder.report.name
    write_bytes(path, render_report(report_of(run, folder.read_run(), charts)).encode())
    return path


def report_of(run: RunAnalysis, record: Mapping[str, Any], charts: Sequence[ChartImage]) -> Report:
    """Return the report as a value.

    Args:
        run: What was measured.
        record: Content of ``run.json``.
        charts: The run's charts, in any order.
    """
    by_name = {chart.info.name: chart for chart in charts}

    def shown(*names: str) -> tuple[ChartImage, ...]:
        return tuple(by_name[name] for name in names if name in by_name)

    verdict, *summary = sentences.verdict(run)
    sections = (
        _automation(run, shown("business_reliability", "business_reliability_progression")),
        _models(
            run,
            sentences.overlong(record.get("overlong", {})),
            shown("accuracy_comparison", "risk_coverage", "label_confusion"),
        ),
        _calibration(
            run,
            shown(
                "raw_confidence_histogram",
                "reliability_raw_model_output",
                "reliability_temperature_scaling",
                "reliability_platt_scaling",
                "reliability_isotonic_regression",
                "calibration_error_comparison",
            ),
        ),
        _tuning(
            run,
            shown(
                "training_curve",
                "confidence_distribution_changes",
                "finetuning_raw_reliability_comparison",
                "finetuning_platt_reliability_comparison",
                "finetuning_isotonic_reliability_comparison",
            ),
        ),
        _truth(run, shown("truth_versus_confidence")),
        _consistency(run),
        _sizes(run, shown("sample_size_thresholds")),
    )
    data = record["data"]
    return Report(
        title=f"How far can it be trusted? {Path(record['job']['model']['model']).name} on "
        f"{Path(data['source']).name}",
        verdict=verdict,
        summary=(*sentences.off_task(run), *summary),
        figures=_figures(run),
        sections=tuple(section for section in sections if section is not None),
        provenance=_provenance(record),
        tone=_tone(run),
    )


def _tone(run: RunAnalysis) -> Tone:
    return "caution" if run.final.threshold.value is None else "good"


def _figures(run: RunAnalysis) -> tuple[tuple[str, str], ...]:
    final = run.final
    outcome = final.outcome
    return (
        ("Accuracy", percent(final.best.accuracy.estimate)),
        ("Automated", percent(outcome.share_automated if outcome else 0.0)),
        ("Wrong among automated", percent(outcome.error_rate if outcome else None)),
        ("Calibrated ECE", f"{final.best.ece.estimate:.3f}"),
        ("Perfect would show", f"{final.best.null.mean:.3f}"),
    )


def _some(*found: Table | None) -> tuple[Table, ...]:
    return tuple(table for table in found if table is not None)


def _automation(run: RunAnalysis, charts: tuple[ChartImage, ...]) -> Section:
    promise = run.question.promise
    return Section(
        "What can be automated",
        paragraphs=(
            "The threshold is the lowest confidence from which at most "
            f"{exact_percent(promise.max_error)} of the automated answers are wrong, with "
            f"{exact_percent(promise.confidence_level)} confidence: of 100 draws of threshold "
            f"rows, at most {100 * (1 - promise.confidence_level):.10g} give, on average, a "
            "threshold that lets more errors through. Draws that give none are among the 100: "
            "where that is usual, as with few rows, one that is found is less sure. It is found by "
            "testing confidences from the top down with an exact binomial test and stopping at the "
            "first that fails.",
            "It assumes that the texts to come are drawn like the threshold rows. Where they "
            "drift, the promise ends.",
        ),
        tables=_some(
            tables.automation(run), tables.class_checks(run), tables.categories(run.final)
        ),
        charts=charts,
    )


def _models(run: RunAnalysis, overlong: tuple[str, ...], charts: tuple[ChartImage, ...]) -> Section:
    paragraphs = ["Every model answered the same test rows, which shaped none of them."]
    if "tfidf" in run.models:
        paragraphs.append(
            "TF-IDF is a bag of words with logistic regression, trained on the same training "
            "rows. Where it does as well, a language model is not needed for this job."
        )
    paragraphs += (*sentences.label_mass(run), *overlong)
    return Section(
        "How good the models are",
        paragraphs=tuple(paragraphs),
        tables=_some(tables.overview(run), tables.differences(run), tables.coverage(run)),
        charts=charts,
    )


def _calibration(run: RunAnalysis, charts: tuple[ChartImage, ...]) -> Section:
    return Section(
        "Is the confidence to be believed",
        paragraphs=(
            "Among answers given with 80 % confidence, 80 % should be right. The dots of a "
            "reliability diagram show how often they are; the band shows where the dots of a "
            "perfectly calibrated model would fall with as many rows.",
            *BELOW_HALF,
        ),
        tables=(tables.all_methods(run), tables.proper_scores(run), tables.candidates(run.final)),
        charts=charts,
    )


def _tuning(run: RunAnalysis, charts: tuple[ChartImage, ...]) -> Section | None:
    if "tuned" not in run.models:
        return None
    base, tuned = run.models["base"], run.models["tuned"]
    raw, mended = base.metrics["identity"].ece.estimate, tuned.metrics["identity"].ece.estimate
    change = "lower" if mended < raw else "not lower"
    return Section(
        "What tuning changed",
        paragraphs=(
            f"Tuning is done to be right more often. Whether the raw confidence becomes more "
            f"honest is another matter: here the raw ECE is {change} after it ({raw:.3f} before, "
            f"{mended:.3f} after). Longer tuning often makes it worse, so both are calibrated.",
        ),
        charts=charts,
    )


def _truth(run: RunAnalysis, charts: tuple[ChartImage, ...]) -> Section | None:
    table = tables.truth(run)
    if table is None:
        return None
    return Section(
        "Confidence against the truth",
        paragraphs=(
            "These texts were generated with a known probability for each label, so here, and "
            "nowhere in real life, confidence can be held against the truth text by text.",
        ),
        tables=(table,),
        charts=charts,
    )


def _consistency(run: RunAnalysis) -> Section | None:
    if run.consistency is None:
        return None
    offsets = (
        "The samples are what the model itself would say; class offsets were taken off the one "
        "pass alone.",
    )
    return Section(
        "Does asking again help",
        paragraphs=(
            *sentences.consistency_sentences(run.consistency),
            *(offsets if run.final.bias is not None else ()),
        ),
    )


def _sizes(run: RunAnalysis, charts: tuple[ChartImage, ...]) -> Section:
    return Section(
        "How many examples are enough",
        paragraphs=(
            f"This run chose its threshold on {run.final.threshold.n_rows} rows. The chart shows "
            "how many automated rows a promise takes: on the left by the errors seen among them, "
            "on the right to succeed in 80 of 100 cases. Divide by the share automated to get "
            "rows in all.",
        ),
        charts=charts,
    )


def _provenance(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    job, data, model = record["job"], record["data"], record["model"]
    machine = record["machine"]
    parts = ", ".join(f"{name} {n:,}" for name, n in data["parts"].items())
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in record["seconds"].items())
    return (
        (
            "Model",
            f"{model['name']} ({model['architecture']}, {model['n_parameters']:,} parameters)",
        ),
        ("Model digest", model["digest"]),
        (
            "Number format",
            f"{model['dtype']} on {model['device']}, {model['scoring_path']} scoring. "
            f"{model.get('remark', '')}".rstrip(". "),
        ),
        ("Data", data["description"]),
        ("Data digest", data["digest"]),
        ("Parts", f"{parts}; seed {job['seed']}"),
        ("Intervals", INTERVALS),
        ("Classifier digest", record["classifier"]),
        ("Versions", ", ".join(f"{name} {v}" for name, v in record["versions"].items() if v)),
        (
            "Machine",
            f"{machine['system']}, {machine['architecture']}, CPU cores: {machine['cores']}",
        ),
        ("Time", seconds),
    )
