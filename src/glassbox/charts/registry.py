"""Every chart by name: its folder, its title, and how to say it in words.

The report, the documentation and the command line read this one table, so a chart's file name,
alternative text and reading help stand in a single place. Knows nothing of drawing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from glassbox.errors import UnknownName

Folder = Literal["calibration", "fine_tuning", "probes", "capacity"]
"""The folders of charts: a run writes the first two, a probe the third, a plan the last."""


@dataclass(frozen=True)
class ChartInfo:
    """What a chart is called, where it goes and how to read it."""

    name: str
    """File name without suffix."""
    folder: Folder
    """Folder below the run's chart folder."""
    title: str
    """Heading on the picture."""
    alt: str
    """What the picture shows, for those who cannot see it; no figures of a particular run."""
    reading: str
    """One sentence that tells a newcomer how to read it."""


_DIAGONAL = "A dot on the diagonal keeps its word; below it the model was more sure than right."

_ALL = (
    ChartInfo(
        "raw_confidence_histogram",
        "calibration",
        "How sure the model says it is",
        "Histogram of the raw confidence, right and wrong answers stacked, with vertical lines at "
        "the mean confidence and at the accuracy.",
        "Where the two lines stand apart, the model is more (or less) sure than it is right.",
    ),
    ChartInfo(
        "reliability_raw_model_output",
        "calibration",
        "Reliability of the raw model output",
        "Reliability diagram: accuracy against raw confidence in bins, with interval whiskers, a "
        "consistency band around the diagonal and the number of rows per bin underneath.",
        _DIAGONAL,
    ),
    ChartInfo(
        "reliability_platt_scaling",
        "calibration",
        "Reliability after Platt scaling",
        "Reliability diagram of the confidence after Platt scaling, on the same axes as the raw "
        "one.",
        _DIAGONAL,
    ),
    ChartInfo(
        "reliability_isotonic_regression",
        "calibration",
        "Reliability after isotonic regression",
        "Reliability diagram of the confidence after isotonic regression, on the same axes as the "
        "raw one.",
        _DIAGONAL,
    ),
    ChartInfo(
        "reliability_temperature_scaling",
        "calibration",
        "Reliability after temperature scaling",
        "Reliability diagram of the confidence after temperature scaling, on the same axes as the "
        "raw one.",
        _DIAGONAL,
    ),
    ChartInfo(
        "business_reliability",
        "calibration",
        "What a threshold buys, and what it costs",
        "Two panels over the confidence threshold: the share of rows automated, and the share of "
        "errors among them with its bounds, the promised limit and the chosen threshold.",
        "Move right to make fewer errors and automate less; the error is known only within the "
        "shaded bounds.",
    ),
    ChartInfo(
        "business_reliability_progression",
        "calibration",
        "From raw confidence to a promise",
        "One column per stage, from the raw output to the model that is used: the share of rows "
        "automated and the error among them over the confidence threshold, with each stage's "
        "chosen threshold.",
        "Where the measured error rises above the dotted line, the confidence admits fewer errors "
        "than the model makes.",
    ),
    ChartInfo(
        "risk_coverage",
        "calibration",
        "Errors against the share of rows kept",
        "Risk-coverage curves: the error rate among the most confident rows against the share of "
        "rows kept, one curve per model.",
        "The lower curve ranks its own mistakes better: at the same share automated it makes fewer "
        "errors.",
    ),
    ChartInfo(
        "sample_size_thresholds",
        "calibration",
        "How many examples are enough",
        "Two panels of curves over the allowed error: automated rows needed for the promise given "
        "the errors seen, and rows needed to succeed in most attempts given the true error.",
        "Find the error you may allow, go up to your curve: that many automated rows must be "
        "checked.",
    ),
    ChartInfo(
        "truth_versus_confidence",
        "calibration",
        "Confidence against the known truth",
        "Scatter of the known probability that the predicted label is right against the "
        "confidence, before and after calibration, with binned means.",
        "Only made data knows this truth; an ideal confidence puts the means on the diagonal.",
    ),
    ChartInfo(
        "label_confusion",
        "calibration",
        "Which labels are taken for which",
        "Matrix of true labels in rows and predicted labels in columns; each cell holds the number "
        "of rows and is shaded by its share of the true label.",
        "Each row of the matrix is one true label; whatever stands off the diagonal was answered "
        "wrongly.",
    ),
    ChartInfo(
        "accuracy_comparison",
        "fine_tuning",
        "Accuracy of every model, raw and calibrated",
        "Bars of accuracy with intervals for every model, raw and calibrated, beside the share of "
        "the commonest label.",
        "Values whose intervals overlap widely have not been shown to differ.",
    ),
    ChartInfo(
        "calibration_error_comparison",
        "fine_tuning",
        "Calibration error of every model, raw and calibrated",
        "Bars of the expected calibration error with intervals for every model, raw and "
        "calibrated; a mark shows what a perfectly calibrated model would show.",
        "A value within its grey band cannot be told from perfect calibration with this many rows.",
    ),
    ChartInfo(
        "confidence_distribution_changes",
        "fine_tuning",
        "How the confidence moves from step to step",
        "Histograms of the confidence of every model, raw and calibrated, on shared axes, wrong "
        "answers set apart.",
        "Look for wrong answers moving left, to confidences at which a person will look.",
    ),
    ChartInfo(
        "finetuning_raw_reliability_comparison",
        "fine_tuning",
        "Reliability before and after tuning: raw output",
        "Two reliability diagrams side by side on the same axes: the raw confidence of the base "
        "and of the tuned model.",
        _DIAGONAL,
    ),
    ChartInfo(
        "finetuning_platt_reliability_comparison",
        "fine_tuning",
        "Reliability before and after tuning: Platt scaling",
        "Two reliability diagrams side by side on the same axes: the base and the tuned model, "
        "each after Platt scaling.",
        _DIAGONAL,
    ),
    ChartInfo(
        "finetuning_isotonic_reliability_comparison",
        "fine_tuning",
        "Reliability before and after tuning: isotonic regression",
        "Two reliability diagrams side by side on the same axes: the base and the tuned model, "
        "each after isotonic regression.",
        _DIAGONAL,
    ),
    ChartInfo(
        "training_curve",
        "fine_tuning",
        "Loss during tuning",
        "Training and validation loss over the steps of the optimiser, with the step whose "
        "weights were kept.",
        "When the validation line turns up while the other falls, the model learns the rows by "
        "heart.",
    ),
    ChartInfo(
        "probe_layers",
        "probes",
        "Where the probe finds its target",
        "Heat map of the area under the ROC curve over folds of the training part: one column per "
        "layer, one row per pooling and kind of probe, the chosen cell framed.",
        "Darker cells tell the two kinds apart better; the best of many cells flatters itself, so "
        "believe the test figure.",
    ),
    ChartInfo(
        "probe_roc",
        "probes",
        "What the probe finds, against false alarms",
        "ROC curves on the test part: the share of positive rows found against the share of "
        "negative rows flagged, for the probe and for trivial readings.",
        "A useful probe runs above every trivial reading; on the diagonal nothing is told apart.",
    ),
    ChartInfo(
        "probe_reliability",
        "probes",
        "Are the probe's probabilities to be believed",
        "Reliability diagram on the test part: the share of positive rows against the calibrated "
        "probability in bins, with interval whiskers, a consistency band around the diagonal and "
        "the number of rows in each bin.",
        "A dot on the diagonal keeps its word; dots inside the band cannot be told from it.",
    ),
    ChartInfo(
        "fleet_day",
        "capacity",
        "A day of the planned fleet",
        "Two panels over the hours of a day: the fleet's utilisation with the target, and the "
        "median and 99th percentile of the time requests take, with what is allowed.",
        "Times rise long before the utilisation reaches 100 %: the gap to the dashed line is what "
        "is left for chance.",
    ),
    ChartInfo(
        "fleet_spike",
        "capacity",
        "A day of a fleet that scales itself, with a spike",
        "Two panels over the hours of a day: instances needed, decided on and answering, and the "
        "time a request took, with what is allowed.",
        "Where the filled area stands above the black line, requests wait until new instances "
        "answer.",
    ),
    ChartInfo(
        "simulation_check",
        "capacity",
        "Simulated times beside measured ones",
        "Pairs of dots on a logarithmic axis of seconds, one row for each load: median and 99th "
        "percentile as measured and as simulated.",
        "The shorter the line between a full and an open dot, the more the simulation is to be "
        "believed there.",
    ),
)

CHARTS: Mapping[str, ChartInfo] = MappingProxyType({each.name: each for each in _ALL})
"""Every chart that a run, a probe or a plan can draw, in the order of their reports."""


def chart_info(name: str) -> ChartInfo:
    """Return what is known of a chart.

    Raises:
        UnknownName: No chart has this name.
    """
    if name not in CHARTS:
        raise UnknownName("chart", name, CHARTS)
    return CHARTS[name]
