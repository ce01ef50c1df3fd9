import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from glassbox.confidence.asking.consistency import (
    consistency_value,
    paraphrased,
    sample_answers,
)
from glassbox.confidence.labels import default_labels
from glassbox.confidence.reporting.sentences import consistency_sentences
from glassbox.errors import InvalidValue
from glassbox.stats.calibrators.label_bias import LabelBias
from glassbox.stats.selective.ranking import auroc
from tests.confidence.rows_world import drawn_rows


@given(
    st.integers(2, 40),
    st.lists(st.floats(0.001, 1.0), min_size=2, max_size=4),
    st.integers(1, 3),
)
def test_every_sample_is_a_class_or_off_task(k, weights, n_prompts):
    probs = np.array(weights) / sum(weights) * 0.9
    logprobs = [np.log(np.tile(probs, (5, 1)))] * n_prompts
    counts, off_task = sample_answers(logprobs, k, seed=0)
    assert (counts.sum(axis=1) + off_task == k).all()
    assert counts.min() >= 0


def test_samples_follow_the_models_own_distribution():
    probs = np.array([0.5, 0.3, 0.15])
    counts, off_task = sample_answers([np.log(np.tile(probs, (4000, 1)))], 10, seed=1)
    seen = [*counts.sum(axis=0), off_task.sum()]
    expected = np.array([*probs, 0.05]) * 40_000
    assert chisquare(seen, expected).pvalue > 0.001


def test_the_same_seed_gives_the_same_samples():
    logprobs = np.log(np.full((6, 2), 0.5))
    one, two = (sample_answers([logprobs], 5, seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("k", [0, 1, 1001])
def test_unusable_numbers_of_samples_are_refused(k):
    with pytest.raises(InvalidValue, match="number of samples"):
        sample_answers([np.log(np.full((1, 2), 0.5))], k, seed=0)


def test_paraphrases_change_the_instruction_and_nothing_else():
    labels = default_labels(["sport", "work", "weather"])
    first, *others = paraphrased(labels)
    assert first == labels
    assert len({each.instruction for each in (first, *others)}) == 1 + len(others)
    assert "work, weather or sport" in others[0].instruction
    for other in others:
        assert (other.classes, other.verbalisers) == (labels.classes, labels.verbalisers)


def test_samples_of_one_prompt_add_nothing_that_the_probability_does_not_hold():
    rows = drawn_rows(4000)
    fit, test = rows.part("calibrator"), rows.part("test")
    value = consistency_value(
        [fit.class_logprobs], fit.held_out.labels, [test.class_logprobs], test.held_out.labels,
        10, seed=0,
    )  # fmt: skip
    assert value.added.gain.low <= 0.0 <= value.added.gain.high + 0.01
    assert value.auroc_agreement < value.auroc_confidence
    assert 0.0 < value.mean_agreement < 1.0


def test_a_prompt_with_news_of_its_own_adds_information():
    rows = drawn_rows(4000, noise=2.0)
    better = drawn_rows(4000)
    fit, test = rows.part("calibrator"), rows.part("test")
    value = consistency_value(
        [fit.class_logprobs, better.part("calibrator").class_logprobs],
        fit.held_out.labels,
        [test.class_logprobs, better.part("test").class_logprobs],
        test.held_out.labels,
        10,
        seed=0,
    )
    assert value.added.gain.low > 0.0


@pytest.mark.parametrize("k", [2, 3])
def test_few_samples_are_measured_although_entropy_is_a_line_of_agreement(k):
    rows = drawn_rows(2000)
    fit, test = rows.part("calibrator"), rows.part("test")
    value = consistency_value(
        [fit.class_logprobs], fit.held_out.labels, [test.class_logprobs], test.held_out.labels,
        k, seed=0,
    )  # fmt: skip
    assert value.added.gain.low < value.added.gain.high


@pytest.mark.parametrize("label", [0, 1])
def test_where_nothing_is_wrong_or_right_nothing_is_claimed(label):
    logprobs = np.log(np.tile([0.99, 0.01], (50, 1)))
    labels = np.full(50, label)
    value = consistency_value([logprobs], labels, [logprobs], labels, 5, seed=0)
    assert value.added is None
    assert "too few right" in consistency_sentences(value)[1]


def test_the_one_pass_is_the_answer_of_the_run_offsets_taken_off():
    rows = drawn_rows(2000)
    fit, test = rows.part("calibrator"), rows.part("test")
    # A model that says the first class far too readily: without correction it is always its answer.
    leaning = np.array([6.0, 0.0])
    bias = LabelBias((3.0, -3.0))
    given = [fit.class_logprobs + leaning], fit.held_out.labels, [test.class_logprobs + leaning]
    plain, corrected = (
        consistency_value(*given, test.held_out.labels, 5, bias=each, seed=0)
        for each in (None, bias)
    )
    right = bias.apply(test.class_logprobs + leaning).argmax(axis=1) == test.held_out.labels
    confidence = bias.apply(test.class_logprobs + leaning).max(axis=1)
    assert corrected.auroc_confidence == auroc(confidence, right)
    assert corrected.auroc_confidence != plain.auroc_confidence
    assert corrected.mean_agreement == plain.mean_agreement
