"""Quality realised and estimated: what fell is called fallen, what did not is not."""

import numpy as np
import pytest

from glassbox.rollout.drift.quality import LEAST_LABELS, area_interval, estimated, realised
from glassbox.stats.intervals import bootstrap_interval
from glassbox.stats.selective.ranking import auroc
from tests.rollout.drift.worlds import window


def test_harder_rows_are_seen_without_labels() -> None:
    reference, current = window(0, 3000), window(1, 3000)
    prob = current.prob
    assert prob is not None
    hard = current.rows(np.abs(prob - 0.5) < 0.2)
    area, accuracy = estimated(reference, hard)
    assert (area.metric, accuracy.metric) == ("auroc", "accuracy")
    assert area.fell
    assert accuracy.fell
    true_area, true_accuracy = realised(reference, hard)
    assert area.low <= true_area.value <= area.high
    assert true_accuracy.fell


def test_the_same_rows_again_have_not_fallen() -> None:
    n_fallen = sum(
        bool(each.fell)
        for seed in range(25)
        for each in (
            *estimated(window(seed, 1000), window(seed + 900, 600)),
            *realised(window(seed, 1000), window(seed + 900, 600)),
        )
    )
    assert n_fallen <= 1


def test_an_overconfident_version_is_corrected_by_the_references_labels() -> None:
    def sharpened(seed: int):
        found = window(seed, 4000)
        assert found.prob is not None
        odds = (found.prob / (1 - found.prob)) ** 3
        prob = odds / (1 + odds)
        return found.__class__(
            **{**vars(found), "prob": prob, "confidence": np.maximum(prob, 1 - prob)}
        )

    reference, current = sharpened(3), sharpened(5)
    _, accuracy = estimated(reference, current)
    _, truth = realised(reference, current)
    assert current.confidence is not None
    assert abs(accuracy.value - truth.value) < 0.02
    assert current.confidence.mean() - truth.value > 0.08


def test_what_the_estimate_cannot_see_is_seen_by_labels() -> None:
    """The same rows come to mean the opposite: no confidence tells, labels do."""
    reference, current = window(0, 2000), window(1, 2000)
    assert current.is_right is not None
    turned = current.__class__(**{**vars(current), "is_right": 1 - current.is_right})
    assert not any(each.fell for each in estimated(reference, turned))
    accuracy = next(each for each in realised(reference, turned) if each.metric == "accuracy")
    assert accuracy.fell


def test_few_labels_are_no_measure_and_another_version_no_reference() -> None:
    reference, current = window(0), window(1, version="default_model_v2")
    assert estimated(reference, current) == ()
    alone = realised(reference, current)
    assert all(each.fell is None and each.reference is None for each in alone)
    assert realised(reference, window(1, LEAST_LABELS - 1)) == ()


@pytest.mark.parametrize(("n_rare", "metrics"), [(9, ["accuracy"]), (10, ["auroc", "accuracy"])])
def test_a_handful_of_the_rarer_class_gives_no_area(n_rare: int, metrics: list[str]) -> None:
    found = window(0, 400)
    rare = (np.arange(400) < n_rare).astype(np.float64)
    few = found.__class__(**{**vars(found), "is_first": rare})
    assert [each.metric for each in realised(found, few)] == metrics


def test_the_interval_of_an_area_is_the_bootstraps() -> None:
    found = window(3, 600)
    assert found.prob is not None
    assert found.is_first is not None
    prob, first = found.prob, found.is_first == 1
    fast = area_interval(prob, first, level=0.9)
    slow = bootstrap_interval(
        lambda draws: np.array([auroc(prob[rows], first[rows]) or 0.5 for rows in draws]),
        prob.size,
        level=0.9,
    )
    assert fast is not None
    assert fast.estimate == auroc(prob, first)
    assert fast.low == pytest.approx(slow.low, abs=0.01)
    assert fast.high == pytest.approx(slow.high, abs=0.01)
    assert area_interval(prob, np.ones(600, dtype=bool)) is None
