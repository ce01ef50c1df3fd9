"""Gaps between groups, against fairlearn asked directly and by hand."""

import builtins
from pathlib import Path

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from sklearn.linear_model import LogisticRegression

from glassbox.errors import DependencyMissing
from glassbox.rollout.drift.fairness import segment_gaps
from glassbox.rollout.drift.watch import compared
from glassbox.rollout.drift.windows import Window
from glassbox.settings import DriftSettings
from tests.rollout.drift.worlds import window


def with_groups(found: Window, groups: tuple[str, ...]) -> Window:
    return found.__class__(**{**vars(found), "segments": {"sex": groups}})


def test_gaps_are_what_counting_gives() -> None:
    rows = window(0, 400)
    found = with_groups(rows, ("f", "m") * 200)
    gaps = {each.measure: each for each in segment_gaps(found)}
    assert set(gaps) == {
        "selection_rate",
        "accuracy",
        "false_positive_rate",
        "false_negative_rate",
    }
    assert rows.chose_first is not None
    assert rows.is_right is not None
    for place, name in enumerate("fm"):
        assert gaps["selection_rate"].groups[name] == rows.chose_first[place::2].mean()
        assert gaps["accuracy"].groups[name] == rows.is_right[place::2].mean()
    assert gaps["accuracy"].n_rows == {"f": 200, "m": 200}
    values = gaps["accuracy"].groups.values()
    assert gaps["accuracy"].gap == pytest.approx(max(values) - min(values))


def test_small_groups_and_single_ones_are_left_out() -> None:
    rows = window(0, 400)
    assert segment_gaps(with_groups(rows, ("f",) * 400)) == ()
    assert segment_gaps(with_groups(rows, ("f",) * 380 + ("m",) * 20)) == ()
    assert segment_gaps(rows) == ()


def test_without_fairlearn_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: object, **named: object) -> object:
        if name.startswith("fairlearn"):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    found = with_groups(window(1, 600), ("f", "m") * 300)
    with pytest.raises(DependencyMissing, match="fairlearn"):
        segment_gaps(found)
    report = compared(window(0), found, DriftSettings())
    assert report.gaps == ()
    assert any("fairlearn" in note for note in report.notes)


@pytest.mark.data
def test_the_gaps_of_a_classifier_on_adult_are_fairlearns(data_dir: Path) -> None:
    rows = [
        line.split(", ")
        for line in (data_dir / "drift" / "adult" / "adult.data").read_text().splitlines()[1:]
        if line
    ]
    numbers = np.array([[float(row[place]) for place in (0, 4, 10, 12)] for row in rows])
    truth = np.array([row[14].startswith(">50K") for row in rows])
    sex = tuple(row[9] for row in rows)
    scaled = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    prob = LogisticRegression().fit(scaled, truth).predict_proba(scaled)[:, 1]
    chose = prob >= 0.5
    found = Window(
        np.arange(len(rows), dtype=np.float64),
        (),
        prob=prob,
        chose_first=chose.astype(np.float64),
        is_first=truth.astype(np.float64),
        segments={"sex": sex},
    )
    gaps = {each.measure: each.gap for each in segment_gaps(found)}
    assert gaps["selection_rate"] == pytest.approx(
        demographic_parity_difference(truth, chose, sensitive_features=list(sex))
    )
    assert max(gaps["false_positive_rate"], gaps["false_negative_rate"]) == pytest.approx(
        equalized_odds_difference(truth, chose, sensitive_features=list(sex))
    )
    assert gaps["selection_rate"] > 0.05
