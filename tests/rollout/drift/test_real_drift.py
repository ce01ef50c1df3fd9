"""Real shifts: found where they are, in the right direction, and not found where they are not."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from glassbox.rollout.drift.comparison import compare_windows
from glassbox.rollout.drift.files import Roles, read_window
from glassbox.rollout.drift.quality import estimated, realised
from glassbox.rollout.drift.watch import compared
from glassbox.rollout.drift.windows import Window
from glassbox.settings import DriftSettings
from tests.rollout.drift.worlds import california, option_logits

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def houses(data_dir: Path) -> Path:
    return data_dir / "drift" / "california-housing-nannyml"


@pytest.fixture(scope="module")
def logits(data_dir: Path) -> Path:
    return data_dir / "calibration" / "llm-option-logits"


def test_the_fall_of_the_auc_in_california_is_flagged_with_and_without_labels(
    houses: Path,
) -> None:
    reference = california(houses, "reference")
    blind = compared(reference, california(houses, "analysis"), DriftSettings())
    assert blind.verdict == "drift"
    assert blind.realised is None
    assert blind.estimate is not None
    assert blind.estimate.metric == "auroc"
    assert blind.estimate.fell
    seeing = compared(reference, california(houses, "analysis", "analysis_gt"), DriftSettings())
    assert seeing.realised is not None
    assert seeing.realised.fell
    assert seeing.realised.value == pytest.approx(0.8402, abs=1e-4)
    assert seeing.realised.reference == pytest.approx(0.9079, abs=1e-4)
    assert {"Latitude", "Longitude", "prediction"} <= {each.name for each in seeing.drifted}
    assert seeing.importance is not None
    assert seeing.importance.changed


def test_the_estimate_follows_the_truth_through_the_months(houses: Path) -> None:
    reference = california(houses, "reference")
    analysis = california(houses, "analysis", "analysis_gt")
    guessed, true = [], []
    for start in range(0, analysis.n_rows, 1029):
        rows = analysis.rows(np.arange(start, min(start + 1029, analysis.n_rows)))
        guessed.append(estimated(reference, rows)[0].value)
        true.append(realised(reference, rows)[0].value)
    assert stats.spearmanr(guessed, true).statistic > 0.7
    assert np.abs(np.array(guessed) - np.array(true)).mean() < 0.04


def test_shuffled_houses_have_not_drifted(houses: Path) -> None:
    """Real columns with real tails; only the order of the rows is drawn."""
    everything = california(houses, "reference")
    n_streams, n_alarms = 200, 0
    for seed in range(n_streams):
        order = np.random.default_rng(seed).permutation(everything.n_rows)
        reference, current = everything.rows(order[:2500]), everything.rows(order[2500:3250])
        found, _ = compare_windows(reference, current)
        n_alarms += any(each.drifted for each in found)
    assert n_alarms <= stats.binom.isf(0.01, n_streams, 0.05)


@pytest.mark.parametrize("model", ["Llama-2-7b-hf", "Mistral-7B-v0.1", "Yi-34B"])
def test_a_change_of_the_task_is_found_in_the_answers_of_a_language_model(
    logits: Path, model: str
) -> None:
    found, _ = compare_windows(
        option_logits(logits, model, "mmlu_10k"), option_logits(logits, model, "halu_dialogue")
    )
    drifted = {each.name for each in found if each.drifted}
    assert drifted & {"prediction", "confidence"}


def test_another_model_behind_the_same_name_is_found(logits: Path) -> None:
    found, _ = compare_windows(
        option_logits(logits, "Mistral-7B-v0.1", "mmlu_10k"),
        option_logits(logits, "Llama-2-7b-hf", "mmlu_10k"),
    )
    assert {"confidence", "prediction"} <= {each.name for each in found if each.drifted}


@pytest.mark.parametrize("prompt", ["shared", "task"])
@pytest.mark.parametrize("model", ["Mistral-7B-v0.1", "Yi-34B"])
def test_another_prompt_for_the_same_questions_is_found(
    logits: Path, model: str, prompt: str
) -> None:
    found, _ = compare_windows(
        option_logits(logits, model, "mmlu_10k", "base"),
        option_logits(logits, model, "mmlu_10k", prompt),
    )
    assert "confidence" in {each.name for each in found if each.drifted}


@pytest.mark.parametrize("prompt", ["shared", "task"])
def test_a_prompt_that_changes_little_is_certain_and_still_no_drift(
    logits: Path, prompt: str
) -> None:
    found, _ = compare_windows(
        option_logits(logits, "Llama-2-7b-hf", "mmlu_10k", "base"),
        option_logits(logits, "Llama-2-7b-hf", "mmlu_10k", prompt),
    )
    assert min(each.p_adjusted for each in found) < 1e-6
    assert max(each.effect for each in found) < 0.06
    assert not any(each.drifted for each in found)


@pytest.mark.parametrize("model", ["Llama-2-7b-hf", "Mistral-7B-v0.1", "Yi-34B"])
def test_more_questions_of_the_same_kind_are_no_drift(logits: Path, model: str) -> None:
    everything = option_logits(logits, model, "cosmosqa_10k")
    order = np.random.default_rng(0).permutation(everything.n_rows)
    found, _ = compare_windows(everything.rows(order[:5000]), everything.rows(order[5000:]))
    assert not any(each.drifted for each in found)


def test_the_estimated_accuracy_falls_where_the_published_one_does(logits: Path) -> None:
    """Yi-34B is right on 94 % of cosmosqa and on 71 % of mmlu, as its authors' table has it."""
    (quality,) = estimated(
        option_logits(logits, "Yi-34B", "cosmosqa_10k"), option_logits(logits, "Yi-34B", "mmlu_10k")
    )
    assert quality.metric == "accuracy"
    assert quality.fell
    assert quality.reference is not None
    assert quality.reference - quality.value > 0.1


def test_adult_split_by_chance_is_no_drift_and_by_age_it_is(data_dir: Path) -> None:
    path = data_dir / "drift" / "adult" / "adult.data"
    copy = Roles(truth="label", positive=">50K", ignored=("fnlwgt",))
    everything = _adult(path, copy)
    assert everything.n_rows == 32_561
    assert {each.name: each.kind for each in everything.columns}["workclass"] == "categorical"
    order = np.random.default_rng(0).permutation(everything.n_rows)
    first, second = order[:10_000], order[10_000:15_000]
    same, _ = compare_windows(everything.rows(first), everything.rows(second))
    assert not any(each.drifted for each in same)
    age = everything.column("age")
    assert age is not None
    split, _ = compare_windows(everything.rows(age.values < 40), everything.rows(age.values >= 40))
    drifted = {each.name for each in split if each.drifted}
    assert {"age", "marital-status", "relationship"} <= drifted
    assert "sex" not in drifted


def _adult(path: Path, roles: Roles) -> Window:
    # The file's ending says nothing; its content is CSV.
    from glassbox.rollout.drift import files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "FORMATS", (*files.FORMATS, ".data"))
        arrow = files._arrow
        patch.setattr(files, "_arrow", lambda found, _ending: arrow(found, ".csv"))
        return read_window(path, roles)
