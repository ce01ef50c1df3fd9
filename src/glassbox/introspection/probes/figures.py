"""What is measured about a probe: figures with intervals, beside what a trivial reading achieves.

Pure functions of readings and targets. Every figure says on which rows it was measured; those of
the choice itself come from folds and are corrected for the number of candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from glassbox.introspection.probes.capture_cache import Place
from glassbox.introspection.probes.probe import ProbeKind
from glassbox.stats.calibration.error import NullLevel, ece_interval, null_level
from glassbox.stats.classification.detection import auroc_gain, detection_auroc, tpr_at_fpr
from glassbox.stats.intervals import Interval, clopper_pearson

FEWEST_OF_EACH = 5
"""Rows of both kinds that a domain needs for a figure of its own."""


@dataclass(frozen=True)
class Candidate:
    """One way of making the probe, at its best penalty."""

    place: Place
    """Layer and pooling."""
    kind: ProbeKind
    """How the direction is found."""
    penalty: float | None
    """Strength of the L2 penalty; None for the difference in means."""
    auroc: float
    """Mean over the folds of the training part."""


@dataclass(frozen=True)
class Choice:
    """Which candidate was taken, and what choosing is worth correcting for."""

    chosen: Candidate
    """The one of largest mean AUROC over the folds."""
    candidates: tuple[Candidate, ...]
    """Every place and kind, at its best penalty."""
    n_tried: int
    """Combinations of place, kind and penalty that were compared."""
    n_folds: int
    """Folds of the training part."""
    n_rows: int
    """Rows of the training part."""
    selection_bias: float
    """How much the best of so many flatters itself, in AUROC."""

    @property
    def corrected_auroc(self) -> float:
        """AUROC of the chosen one over the folds, less what choosing adds by chance."""
        return self.chosen.auroc - self.selection_bias


@dataclass(frozen=True)
class Operating:
    """What the threshold does on some rows."""

    threshold: float
    """Probability from which the probe flags."""
    true_positive_rate: Interval
    """Share of positive rows flagged, with its exact interval (rows taken as independent)."""
    false_positive_rate: Interval
    """Share of negative rows flagged, likewise."""


@dataclass(frozen=True)
class Detection:
    """How well readings find the target on some rows."""

    n_rows: int
    """Rows measured on."""
    n_positive: int
    """Positive ones among them."""
    n_groups: int
    """Groups that the intervals of ``auroc`` and ``tpr_at_1_percent_fpr`` resample."""
    auroc: Interval
    """Probability that a positive row reads higher."""
    tpr_at_1_percent_fpr: Interval
    """Positive rows found with at most 1 % of the negative ones flagged, threshold found here."""
    ece: Interval
    """Expected calibration error of ``probe_prob``, 15 equal-width bins."""
    null: NullLevel
    """ECE that perfectly calibrated probabilities would show with as many rows."""
    operating: Operating | None
    """The probe's own threshold; None without one."""


@dataclass(frozen=True)
class BaselineFigures:
    """What a trivial reading achieves on the same rows."""

    name: str
    """What is read."""
    auroc: Interval
    """Its direction was found on the training part, so it may be below one half."""
    probe_gain: Interval
    """AUROC of the probe minus this one, paired."""


@dataclass(frozen=True)
class DomainFigures:
    """One domain's rows of the test part."""

    name: str
    """The domain."""
    n_rows: int
    """Rows measured on."""
    inside: Interval
    """AUROC of the probe, which was trained on other rows of this domain among others."""
    outside: Interval | None
    """AUROC of a probe chosen and fitted without any row of this domain; None where it could not
    be fitted."""


def detection(
    logits: Float[np.ndarray, " n"],
    probs: Float[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    groups: Sequence[str],
    *,
    thresholds: tuple[float, float] | None = None,
    seed: int = 0,
) -> Detection:
    """Return how well readings find the target.

    Args:
        logits: Of the probe.
        probs: The same, calibrated.
        is_positive: The target.
        groups: Group of each row.
        thresholds: Of flagging, as (logit, probability); None where the probe has none.
        seed: Of the resamples.

    Raises:
        NotEnoughData: No positive or no negative row.
    """
    names = np.asarray(groups, dtype=str)
    operating = None
    if thresholds is not None:
        flagged = logits >= thresholds[0]
        operating = Operating(
            thresholds[1], _share(flagged[is_positive]), _share(flagged[~is_positive])
        )
    return Detection(
        n_rows=len(logits),
        n_positive=int(is_positive.sum()),
        n_groups=len(set(groups)),
        auroc=detection_auroc(logits, is_positive, names, seed=seed),
        tpr_at_1_percent_fpr=tpr_at_fpr(logits, is_positive, names, seed=seed),
        ece=ece_interval(probs, is_positive, seed=seed),
        null=null_level(probs, is_positive, seed=seed),
        operating=operating,
    )


def against_baselines(
    logits: Float[np.ndarray, " n"],
    baselines: Mapping[str, Float[np.ndarray, " n"]],
    is_positive: Bool[np.ndarray, " n"],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> tuple[BaselineFigures, ...]:
    """Return what each trivial reading achieves, best first, and what the probe adds."""
    names = np.asarray(groups, dtype=str)
    found = [
        BaselineFigures(
            name=name,
            auroc=detection_auroc(values, is_positive, names, seed=seed),
            probe_gain=auroc_gain(values, logits, is_positive, names, seed=seed),
        )
        for name, values in baselines.items()
    ]
    return tuple(sorted(found, key=lambda each: -each.auroc.estimate))


def by_domain(
    logits: Float[np.ndarray, " n"],
    outside: Mapping[str, Float[np.ndarray, " n"]],
    is_positive: Bool[np.ndarray, " n"],
    groups: Sequence[str],
    domains: Sequence[str],
    *,
    seed: int = 0,
) -> tuple[DomainFigures, ...]:
    """Return the figures of each domain that has a few rows of both kinds, if there are several.

    Args:
        logits: Of the probe.
        outside: By domain, log-odds of all rows by a probe that never saw that domain.
        is_positive: The target.
        groups: Group of each row.
        domains: Domain of each row.
        seed: Of the resamples.
    """
    if len(set(domains)) < 2:
        return ()
    names, where = np.asarray(groups, dtype=str), np.asarray(domains, dtype=str)
    figures = []
    for domain in sorted(set(domains)):
        mine = where == domain
        if not has_both(is_positive[mine]):
            continue
        rows = (is_positive[mine], names[mine])
        others = outside.get(domain)
        figures.append(
            DomainFigures(
                name=domain,
                n_rows=int(mine.sum()),
                inside=detection_auroc(logits[mine], *rows, seed=seed),
                outside=None if others is None else detection_auroc(others[mine], *rows, seed=seed),
            )
        )
    return tuple(figures)


def has_both(is_positive: Bool[np.ndarray, " n"], need: int = FEWEST_OF_EACH) -> bool:
    """Return whether there are enough rows of both kinds for a figure."""
    n_positive = int(is_positive.sum())
    return min(n_positive, len(is_positive) - n_positive) >= need


def _share(events: Bool[np.ndarray, " n"]) -> Interval:
    low, high = clopper_pearson(int(events.sum()), len(events))
    return Interval(float(events.mean()), float(low), float(high), 0.95)
