"""What the figures of a run come to, in sentences for the terminal and the report alike.

Words figures that are there.
"""

from collections.abc import Mapping

from glassbox.confidence.analysis.whole_run import RunAnalysis
from glassbox.confidence.asking.consistency import ConsistencyValue
from glassbox.confidence.data.split import HELD_OUT_FRACTION, THRESHOLD_FRACTION
from glassbox.confidence.evaluation.rows import EvaluatedRows
from glassbox.confidence.reporting.tables import MODEL_NAMES, number, percent
from glassbox.stats.calibration.error import NullLevel
from glassbox.stats.selective.threshold import Threshold
from glassbox.wording import estimated

FEW_REPEATS = 0.9
"""Share of the threshold rows that their different texts must be worth to go without a warning."""

THRESHOLD_SHARE = HELD_OUT_FRACTION * THRESHOLD_FRACTION
"""Share of all labelled texts that the threshold is chosen on."""

LOW_LABEL_MASS = 0.5
"""Mean label mass below which the figures rest on what the model hardly wanted to say."""


def verdict(run: RunAnalysis) -> tuple[str, ...]:
    """Return what to do, in sentences: the threshold first, then what it rests on."""
    final = run.final
    sentences = [
        final.threshold.sentence,
        *(() if final.threshold.value is None else _repeats(final.rows.part("threshold"))),
        *_labelling(final.threshold),
    ]
    if final.outcome is not None and final.outcome.error_rate is not None:
        outcome = final.outcome
        sentences.append(
            f"On the {final.best.n_rows:,} test rows, which played no part in choosing it: "
            f"{percent(outcome.share_automated)} automated, {percent(outcome.error_rate)} of those "
            f"wrong (95 % interval {100 * (outcome.error_rate_low or 0.0):.1f} to "
            f"{percent(outcome.error_rate_high)}), which is {outcome.errors_per_1000:.0f} wrong "
            "automated answers per 1,000 texts."
        )
    sentences += _bag_of_words(run)
    found, null = final.best.ece.estimate, final.best.null
    # One digit more where three would show the two as equal.
    digits = 3 if f"{found:.3f}" != f"{null.quantile_99:.3f}" else 4
    sentences.append(
        f"Calibrated ECE {found:.{digits}f}; a perfectly calibrated model would show "
        f"{null.mean:.{digits}f} on average and up to {null.quantile_99:.{digits}f} in 99 of 100 "
        f"cases: {_remains(found, null)}."
    )
    return tuple(sentences)


def _bag_of_words(run: RunAnalysis) -> tuple[str, ...]:
    """Return a warning where a bag of words is shown to be right more often."""
    for each in run.differences:
        if each.first == "tfidf" and each.accuracy.high < 0:
            rival, own = (run.models[name].best.accuracy for name in (each.first, each.second))
            return (
                f"A bag of words (TF-IDF) is right more often than the {MODEL_NAMES[each.second]} "
                f"model: on {percent(rival.estimate)} of the test rows against "
                f"{percent(own.estimate)}. Use it, or a better model.",
            )
    return ()


def _repeats(rows: EvaluatedRows) -> tuple[str, ...]:
    """Return a warning where many threshold rows have the same texts."""
    n_rows, n_different = len(rows.held_out), rows.n_different()
    if n_different > FEW_REPEATS * n_rows:
        return ()
    return (
        f"But the {n_rows:,} threshold rows repeat texts, which are right or wrong together: they "
        f"tell as much as about {n_different:,.0f} different ones, so the promise is broken more "
        "often than it says. Leave repeats out of the data and evaluate again.",
    )


def _labelling(threshold: Threshold) -> tuple[str, ...]:
    """Return how many texts have to be labelled for so many more threshold rows."""
    if threshold.n_more is None:
        return ()
    in_all = threshold.n_more * threshold.n_rows / threshold.n_start / THRESHOLD_SHARE
    return (
        f"A run of all its texts chooses its threshold on {percent(THRESHOLD_SHARE, 0)} of them, "
        f"so that takes about {estimated(in_all)} more labelled texts as they come.",
    )


def _remains(found: float, null: NullLevel) -> str:
    if found <= null.quantile_95:
        return "no sign of miscalibration is left"
    if found <= null.quantile_99:
        return (
            "that is more than 95 of 100 such models show, so a little miscalibration may be left"
        )
    return "miscalibration remains"


def off_task(run: RunAnalysis) -> tuple[str, ...]:
    """Return a warning where the final model mostly wanted to say something that is no label."""
    mass = run.final.mean_label_mass
    if mass >= LOW_LABEL_MASS:
        return ()
    return (
        f"Mean label mass {percent(mass)}: the model mostly wanted to say something that is no "
        "label. Look at the prompt and the verbalisers before anything else.",
    )


def label_mass(run: RunAnalysis) -> tuple[str, ...]:
    """Return how far the final model answers in the labels' words; a warning where it does not."""
    return off_task(run) or (
        f"Mean label mass {percent(run.final.mean_label_mass)}: so much of its probability the "
        f"{MODEL_NAMES[run.final.name]} model gives to the labels, whatever else it could say.",
    )


def overlong(counts: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """Return how many texts did not fit the model's context, and what became of them.

    Args:
        counts: ``n_truncated`` and ``n_skipped`` by who read them: a model, or the tuning.
    """
    found = [
        f"{each[key]:,} {what} ({MODEL_NAMES.get(name, name)})"
        for name, each in counts.items()
        for key, what in (("n_truncated", "cut at their end"), ("n_skipped", "left out"))
        if each[key]
    ]
    return (f"Texts that did not fit the model's context: {', '.join(found)}.",) if found else ()


def consistency_sentences(value: ConsistencyValue) -> tuple[str, ...]:
    """Return what consistency cost and what it added over one pass."""
    passes = "one forward pass" if value.n_prompts == 1 else f"{value.n_prompts} forward passes"
    return (
        f"{value.n_samples} samples a text, drawn from {passes}: mean agreement "
        f"{percent(value.mean_agreement)}, unanimous on {percent(value.share_unanimous)} of the "
        f"texts. Agreement is a coarse count, not a probability, and is not shown as one.",
        _added_sentence(value),
        f"Ranking right above wrong: AUROC {number(value.auroc_confidence)} by the confidence of "
        f"one pass, {number(value.auroc_agreement)} by agreement.",
    )


def _added_sentence(value: ConsistencyValue) -> str:
    if value.added is None:
        return (
            "Too few answers are wrong, or too few right, to tell whether agreement adds anything "
            "to one pass."
        )
    gain = value.added.gain
    if gain.low > 0:
        found = "They add information"
    elif gain.high < 0:
        found = "They make it worse"
    else:
        found = "They add nothing that can be shown"
    return (
        "As features of a calibrator, agreement and its companions change the NLL of 'is it "
        f"right' from {value.added.nll_without:.4f} to {value.added.nll_with:.4f} (gain "
        f"{gain.estimate:.4f} [{gain.low:.4f}, {gain.high:.4f}]). {found} over one pass."
    )
