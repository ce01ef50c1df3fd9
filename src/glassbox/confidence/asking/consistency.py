"""Does the model say the same thing when asked k times? Measured, priced, and never a probability.

Samples are drawn from the model's own distribution over what follows the prompt (temperature 1):
one prefill gives the exact probability of every label, and "none of the labels" takes the rest, so
k samples cost k random numbers. With paraphrases, the samples are spread over reworded and
reordered prompts, each of which costs one more forward pass. Agreement, entropy and margin are
features that a calibrator may use; what they add over one pass is measured here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.confidence.asking.verbalisers import label_mass, label_probs
from glassbox.confidence.labels import LabelSet, default_instruction
from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.stats.calibration.proper_scoring import row_nll
from glassbox.stats.calibrators.feature import FeatureCalibrator, confidence_log_odds
from glassbox.stats.calibrators.label_bias import LabelBias
from glassbox.stats.intervals import Interval, paired_difference
from glassbox.stats.selective.ranking import auroc
from glassbox.stats.uncertainty.consistency import ConsistencyFeatures, consistency_features

MOST_SAMPLES = 1000
"""More samples than this say nothing that the probabilities do not."""

Array = np.ndarray


@dataclass(frozen=True)
class ConsistencyValue:
    """What consistency cost and what it added over one pass, on the test part."""

    n_samples: int
    """Samples a text."""
    n_prompts: int
    """Different prompts they were spread over; each is one forward pass."""
    mean_agreement: float
    """Mean share of samples that agree with the most frequent answer."""
    share_unanimous: float
    """Share of texts on which all samples agree."""
    accuracy: float
    """Accuracy of the most frequent answer; ties and off-task answers count as wrong."""
    auroc_confidence: float | None
    """Ranking of right above wrong by the confidence of one pass."""
    auroc_agreement: float | None
    """The same by agreement."""
    added: "AddedValue | None"
    """What the features add; None where too few answers are wrong, or too few right, to tell."""


@dataclass(frozen=True)
class AddedValue:
    """How well "the answer is right" is foretold, without and with the consistency features."""

    nll_without: float
    """NLL from the confidence alone, nats."""
    nll_with: float
    """NLL with agreement, entropy and margin beside it, nats."""
    gain: Interval
    """What they add (without - with, paired bootstrap); at or below zero they add nothing."""


def check_samples(k: int) -> int:
    """Return k if it is a usable number of samples.

    Raises:
        InvalidValue: Below 2 or above the limit.
    """
    if not 2 <= k <= MOST_SAMPLES:
        raise InvalidValue("the number of samples", k, f"2 to {MOST_SAMPLES}; usual are 5 to 10")
    return k


def sample_answers(
    class_logprobs: Sequence[Float[Array, "n n_classes"]], k: int, *, seed: int
) -> tuple[Int[Array, "n n_classes"], Int[Array, " n"]]:
    """Return how often each class, and no class, was sampled for each text.

    Args:
        class_logprobs: One array for each prompt; the k samples are spread over them evenly,
            the first prompts taking one more where k does not divide.
        k: Samples a text.
        seed: Of the draws; the same seed gives the same samples whatever the batch.
    """
    check_samples(k)
    n, n_classes = class_logprobs[0].shape
    counts = np.zeros((n, n_classes + 1), dtype=np.int64)
    generator = np.random.default_rng(seed)
    for prompt, logprobs in enumerate(class_logprobs):
        share = k // len(class_logprobs) + (prompt < k % len(class_logprobs))
        probs = np.exp(np.minimum(logprobs, 0.0))
        rest = np.clip(1.0 - label_mass(logprobs), 0.0, 1.0)
        outcomes = np.column_stack([probs, rest])
        outcomes /= outcomes.sum(axis=1, keepdims=True)
        counts += generator.multinomial(share, outcomes)
    return counts[:, :-1], counts[:, -1]


def paraphrased(labels: LabelSet) -> tuple[LabelSet, ...]:
    """Return the label set as it is, with its classes listed backwards, and reworded by rule.

    A changed instruction is the only difference: classes, verbalisers and their order stay, so
    that the same columns mean the same classes.
    """
    names = labels.classes
    backwards = list(reversed(sorted(names)))
    listed = f"{', '.join(backwards[:-1])} or {backwards[-1]}"
    if labels.instruction == default_instruction(names):
        variants = [
            f"Label the text as {listed}.",
            f"Is this text {', '.join(sorted(names)[:-1])} or {sorted(names)[-1]}?",
        ]
    else:
        variants = [
            f"{labels.instruction} Answer with {listed}.",
            f"Read the text, then do this: {labels.instruction}",
        ]
    return (labels, *(replace(labels, instruction=each) for each in variants))


def features(
    class_logprobs: Sequence[Float[Array, "n n_classes"]], k: int, *, seed: int
) -> ConsistencyFeatures:
    """Return agreement, entropy and margin of k samples a text."""
    counts, off_task = sample_answers(class_logprobs, k, seed=seed)
    return consistency_features(counts, off_task)


def consistency_value(
    calibrator_part: Sequence[Float[Array, "n n_classes"]],
    calibrator_labels: Int[Array, " n"],
    test_part: Sequence[Float[Array, "m n_classes"]],
    test_labels: Int[Array, " m"],
    k: int,
    *,
    bias: LabelBias | None = None,
    seed: int,
) -> ConsistencyValue:
    """Return what k samples cost and add, fitted on calibrator rows and measured on test rows.

    Samples are what the model itself would say, class offsets and all; the one pass that they are
    held against is the run's answer, without the offsets where the run takes them off.

    Two logistic regressions predict whether the one-pass answer is right: from the log-odds of its
    confidence, and from those plus agreement, entropy and margin.

    Args:
        calibrator_part: Class log-probabilities, one array a prompt; the first is the plain one.
        calibrator_labels: True class of each.
        test_part: The same for the rows to measure on.
        test_labels: True class of each.
        k: Samples a text.
        bias: Class offsets that the run takes off; None takes off nothing.
        seed: Of the draws and the bootstrap.
    """
    one_pass = label_probs if bias is None else bias.apply
    fit_probs, test_probs = one_pass(calibrator_part[0]), one_pass(test_part[0])
    right = test_probs.argmax(axis=1) == test_labels
    found = features(test_part, k, seed=seed + 1)
    settled = ~found.is_tied & (found.predicted >= 0)
    fit = _Signals(fit_probs, features(calibrator_part, k, seed=seed), calibrator_labels)
    return ConsistencyValue(
        n_samples=k,
        n_prompts=len(test_part),
        mean_agreement=float(found.agreement.mean()),
        share_unanimous=float((found.agreement == 1.0).mean()),
        accuracy=float((settled & (found.predicted == test_labels)).mean()),
        auroc_confidence=auroc(test_probs.max(axis=1), right),
        auroc_agreement=auroc(found.agreement, right),
        added=_added(fit, _Signals(test_probs, found, test_labels), seed),
    )


@dataclass(frozen=True)
class _Signals:
    """What is known of some answers, as columns for a calibrator."""

    probs: Float[Array, "n n_classes"]
    found: ConsistencyFeatures
    labels: Int[Array, " n"]

    @property
    def right(self) -> Bool[Array, " n"]:
        return np.asarray(self.probs.argmax(axis=1) == self.labels)

    @property
    def confidence(self) -> Float[Array, "n 1"]:
        return np.asarray(confidence_log_odds(self.probs.max(axis=1))[:, None])

    @property
    def everything(self) -> Float[Array, "n n_features"]:
        columns = [self.found.agreement, self.found.entropy]
        if self.probs.shape[1] > 2:
            # With two classes the margin is a straight line of the agreement.
            columns.append(self.found.margin)
        return np.column_stack([self.confidence, *columns])


def _added(fit: _Signals, test: _Signals, seed: int) -> AddedValue | None:
    try:
        without = FeatureCalibrator.fit(fit.confidence, fit.right).apply(test.confidence)
        with_all = FeatureCalibrator.fit(fit.everything, fit.right).apply(test.everything)
    except NotEnoughData:
        return None
    costs = [
        row_nll(np.column_stack([1.0 - prob, prob]), test.right.astype(np.int64))
        for prob in (without, with_all)
    ]
    return AddedValue(
        nll_without=float(costs[0].mean()),
        nll_with=float(costs[1].mean()),
        gain=paired_difference(costs[1], costs[0], seed=seed),
    )
