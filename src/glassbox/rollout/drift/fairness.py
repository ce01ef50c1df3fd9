"""How differently groups fare: the share that gets an answer, and how often it is wrong.

fairlearn computes it (extra ``drift``). A gap is a fact about these rows; whether it is unfair is
not a question of statistics.
"""

from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int, Shaped

from glassbox.errors import DependencyMissing
from glassbox.rollout.drift.report import SegmentGap
from glassbox.rollout.drift.windows import Window

LEAST_GROUP: Final = 30
"""Rows below which a group is left out: its figures are luck."""

MOST_GROUPS: Final = 20
"""Groups of one segment; the largest are kept."""


def segment_gaps(window: Window) -> tuple[SegmentGap, ...]:
    """Return how far groups lie apart, for every segment with two or more groups of 30 rows.

    Without labels it is the selection rate alone: the share that is answered with the first class.
    With labels also accuracy, and false positive and false negative rate of the first class.

    Raises:
        DependencyMissing: fairlearn is not installed.
    """
    chosen = window.chose_first
    if not window.segments or chosen is None:
        return ()
    found: list[SegmentGap] = []
    for segment, names in sorted(window.segments.items()):
        groups = np.array(names)
        found += _gaps(segment, groups, chosen, np.zeros(chosen.size), ("selection_rate",))
        if window.is_first is not None:
            measures = ("accuracy", "false_positive_rate", "false_negative_rate")
            found += _gaps(segment, groups, chosen, window.is_first, measures)
    return tuple(found)


def _gaps(
    segment: str,
    groups: Shaped[np.ndarray, " n"],
    chosen: Float[np.ndarray, " n"],
    truth: Float[np.ndarray, " n"],
    measures: tuple[str, ...],
) -> list[SegmentGap]:
    is_usable = ~np.isnan(chosen) & ~np.isnan(truth) & (groups != "")
    names, counts = np.unique(groups[is_usable], return_counts=True)
    large = sorted(
        ((int(n), str(name)) for name, n in zip(names, counts, strict=True) if n >= LEAST_GROUP),
        reverse=True,
    )[:MOST_GROUPS]
    if len(large) < 2:
        return []
    is_usable &= np.isin(groups, [name for _, name in large])
    frame = _metric_frame(
        measures, truth[is_usable].astype(int), chosen[is_usable].astype(int), groups[is_usable]
    )
    n_rows = {name: n for n, name in large}
    return [
        SegmentGap(
            segment=segment,
            measure=measure,
            groups={str(name): float(value) for name, value in frame.by_group[measure].items()},
            n_rows=n_rows,
            gap=float(frame.difference()[measure]),
        )
        for measure in measures
        if np.isfinite(frame.by_group[measure]).all()
    ]


def _metric_frame(
    measures: tuple[str, ...],
    truth: Int[np.ndarray, " n"],
    chosen: Int[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"],
) -> Any:
    try:
        from fairlearn import metrics
        from sklearn.metrics import accuracy_score
    except ModuleNotFoundError as error:
        raise DependencyMissing("fairlearn", "drift") from error
    functions = {
        "accuracy": accuracy_score,
        "selection_rate": metrics.selection_rate,
        "false_positive_rate": metrics.false_positive_rate,
        "false_negative_rate": metrics.false_negative_rate,
    }
    return metrics.MetricFrame(
        metrics={name: functions[name] for name in measures},
        y_true=truth,
        y_pred=chosen,
        sensitive_features=groups,
    )
