"""Charts of many rows and many labels: what is drawn of them, and that it is said."""

import dataclasses

import numpy as np
import pytest

from glassbox.charts.chart import picture
from glassbox.charts.confusion import MOST_LABELS, LabelConfusion, label_confusion
from glassbox.charts.truth import truth_versus_confidence
from tests.charts import worlds


def heading(chart) -> str:
    return "\n".join(each.get_text() for each in chart.figure.texts)


def confusion(n_labels: int) -> LabelConfusion:
    """Return a matrix in which the later labels are mistaken more often, for the next one."""
    counts = np.diag(np.full(n_labels, 20))
    counts[np.arange(n_labels), (np.arange(n_labels) + 1) % n_labels] = np.arange(n_labels)
    labels = tuple(f"a card that has problem {n}" for n in range(n_labels))
    return LabelConfusion("Base", "base", "test part", labels, counts)


@pytest.mark.parametrize("n_labels", [77, 150])
def test_of_many_labels_those_in_most_wrong_answers_are_drawn(n_labels):
    value = confusion(n_labels)
    chart = label_confusion(value)
    (axes,) = chart.figure.axes
    shown = [each.get_text() for each in axes.get_yticklabels()]
    # A row's number counts all of its answers, also those that stand in no column here.
    assert shown == [
        f"{each.get_text()}  ({20 + n})"
        for each, n in zip(
            axes.get_xticklabels(), range(n_labels - MOST_LABELS, n_labels), strict=True
        )
    ]
    wrong = value.counts - np.diag(value.counts.diagonal())
    n_between = int(wrong[-MOST_LABELS:, -MOST_LABELS:].sum())
    cut = (
        f"{MOST_LABELS} of {n_labels} labels: those in the most wrong answers "
        f"({n_between:,} of all {wrong.sum():,} are between two of them)"
    )
    assert cut in heading(chart)
    assert cut in chart.summary
    assert chart.values["counts"] == value.counts.tolist()
    assert chart.values["labels"] == list(value.labels)
    assert max(chart.figure.get_size_inches()) < 20
    assert picture(chart, "svg")


def test_no_label_is_left_out_where_all_can_be_read():
    chart = label_confusion(confusion(MOST_LABELS))
    assert len(chart.figure.axes[0].get_xticklabels()) == MOST_LABELS
    assert "most wrong answers" not in heading(chart) + chart.summary


def test_texts_that_are_no_dots_count_and_are_told():
    whole = worlds.truth()
    some = dataclasses.replace(whole, confidence=whole.confidence[::4], truth=whole.truth[::4])
    chart = truth_versus_confidence([some])
    told = f"{worlds.N // 4} of them as dots, all of them in every figure"
    assert f"n = {worlds.N} · {told}" in heading(chart)
    assert f"{worlds.N} texts, {told}." in chart.summary
    assert len(chart.values["panels"][0]["confidence"]) == worlds.N // 4
    dots, means = chart.figure.axes[0].collections
    assert len(dots.get_offsets()) == worlds.N // 4
    all_dots, all_means = truth_versus_confidence([whole]).figure.axes[0].collections
    assert len(all_dots.get_offsets()) == worlds.N
    np.testing.assert_array_equal(means.get_sizes(), all_means.get_sizes())
    assert "as dots" not in heading(truth_versus_confidence([whole]))
