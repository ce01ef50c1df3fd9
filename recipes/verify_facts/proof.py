"""Does verifying work where the truth is known? Cross-fitted figures on the embedded facts.

Every entity is judged by fusions that never saw it. Beside each figure stands what the best
possible reader would reach: one that knows every fact that was told, and one that is told how
often each was. Knows nothing of engines: evidence comes in as values.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.introspection.training.figures import (
    FUSION,
    Judged,
    StratumFigures,
    judge_rows,
    stratum_figures,
)
from glassbox.introspection.training.fusions import Recipe, Values, fit_fusions, split
from glassbox.introspection.training.graded import GradedRow
from glassbox.stats.calibration.error import NullLevel, ece, null_level
from glassbox.stats.classification.grouped_auroc import Separation, grouped_separation, value_auroc

N_FOLDS: Final = 10
"""Folds of entities."""

CAN_KNOW: Final = 4
"""Times a fact must have been told for the model to be able to know it."""

SHARES: Final = (0.65, 0.2, 0.15, 0.0)
"""Fusion, calibrator and threshold part of the entities that are fitted on."""


@dataclass(frozen=True)
class Slice:
    """Figures of some exposures."""

    name: str
    """Which."""
    n_rows: int
    """Responses."""
    separation: Mapping[str, Separation]
    """By reading, against the fusion."""
    best_single: str
    """The check that separates best on these very rows."""
    knower: float
    """AUROC of a reader that knows every fact that was told at least once."""
    told: float
    """AUROC of boosted trees over all checks that are told the exposure, cross-fitted."""


@dataclass(frozen=True)
class Proof:
    """All figures of the proof."""

    slices: tuple[Slice, ...]
    """All exposures, those that can be known, and each alone."""
    strata: tuple[StratumFigures, ...]
    """Mean uncertainty against error rate."""
    ece: float
    """Calibration error over all rows."""
    null: NullLevel
    """That of a perfectly calibrated confidence."""


def exposure(row: GradedRow) -> int:
    """Return how often the row's fact was told: its stratum is ``told N times``."""
    return int(row.stratum.split()[1])


def cross_fit(rows: Sequence[GradedRow], values: Sequence[Values], recipe: Recipe) -> Judged:
    """Return all rows, each judged by fusions fitted on other entities."""
    recipe = replace(recipe, shares=SHARES)
    fold = folds(rows, recipe.seed)
    judged: list[Judged] = []
    order: list[int] = []
    for number in range(N_FOLDS):
        inside = np.flatnonzero(fold != number).tolist()
        outside = np.flatnonzero(fold == number).tolist()
        fitted = [replace(rows[i], part="") for i in inside]
        fusions = fit_fusions(fitted, [values[i] for i in inside], split(fitted, recipe), recipe)
        judged.append(judge_rows([rows[i] for i in outside], [values[i] for i in outside], fusions))
        order += outside
    back = np.argsort(order)
    uncertainty, raw, accepted = (
        np.concatenate([getattr(each, name) for each in judged])[back]
        for name in ("uncertainty", "raw", "accepted")
    )
    readings = {
        name: np.concatenate([each.readings[name] for each in judged])[back]
        for name in judged[0].readings
    }
    return Judged(tuple(rows), uncertainty, raw, accepted, readings)


def folds(rows: Sequence[GradedRow], seed: int) -> Int[np.ndarray, " n"]:
    """Return each row's fold: groups in the order of a seeded hash, dealt evenly per stratum."""
    by_stratum: dict[str, set[str]] = {}
    for row in rows:
        by_stratum.setdefault(row.stratum, set()).add(row.unit)
    fold: dict[str, int] = {}
    for units in by_stratum.values():
        ordered = sorted(
            units, key=lambda unit: hashlib.sha256(f"fold/{seed}/{unit}".encode()).digest()
        )
        fold |= {unit: number % N_FOLDS for number, unit in enumerate(ordered)}
    return np.array([fold[row.unit] for row in rows])


def prove(judged: Judged, *, seed: int = 0, n_draws: int = 300) -> Proof:
    """Return the figures of cross-fitted rows."""
    told = np.array([exposure(row) for row in judged.rows])
    knower, told_reader = _knower(judged, told), _told(judged, told, seed)
    every = np.ones(len(told), dtype=bool)
    wanted = [("all", every), (f"{CAN_KNOW} or more", told >= CAN_KNOW)]
    wanted += [(str(each), told == each) for each in sorted(set(told.tolist()))]
    slices = [
        _slice(name, keep, judged, (knower, told_reader), seed, n_draws)
        for name, keep in wanted
        if 0 < int(judged.correct[keep].sum()) < int(keep.sum())
    ]
    confidence = 1 - judged.uncertainty
    return Proof(
        tuple(slices),
        tuple(
            sorted(stratum_figures(judged), key=lambda each: (each.origin, _times(each.stratum)))
        ),
        ece(confidence, judged.correct),
        null_level(confidence, judged.correct, seed=seed),
    )


def _times(stratum: str) -> int:
    return int(stratum.split()[1])


def _slice(
    name: str,
    keep: Bool[np.ndarray, " n"],
    judged: Judged,
    ideal: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    seed: int,
    n_draws: int,
) -> Slice:
    part = judged.where(keep)
    separation = grouped_separation(
        part.readings, part.correct, part.groups, reference=FUSION, seed=seed, n_draws=n_draws
    )
    trivial = (FUSION, "response length")
    single = [each for each in separation if each not in trivial]
    return Slice(
        name=name,
        n_rows=int(keep.sum()),
        separation=separation,
        best_single=max(single, key=lambda each: separation[each].auroc.estimate),
        knower=value_auroc(ideal[0][keep], part.correct),
        told=value_auroc(ideal[1][keep], part.correct),
    )


def _knower(judged: Judged, told: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Knows whether a told fact's response is right; of the others, only the base rate."""
    correct = judged.correct.astype(np.float64)
    written = np.array([row.origin == "written" for row in judged.rows])
    belief = correct.copy()
    for origin in (True, False):
        unknown = (told == 0) & (written == origin)
        if unknown.any():
            belief[unknown] = correct[unknown].mean()
    return belief


def _told(judged: Judged, told: Int[np.ndarray, " n"], seed: int) -> Float[np.ndarray, " n"]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    written = np.array([row.origin == "written" for row in judged.rows], dtype=np.float64)
    columns = [each for name, each in judged.readings.items() if name != FUSION]
    design = np.column_stack([*columns, written, told])
    fold = folds(judged.rows, seed)
    found = np.zeros(len(told))
    for number in range(N_FOLDS):
        out = fold == number
        trees = HistGradientBoostingClassifier(
            max_iter=80, max_depth=3, learning_rate=0.07, min_samples_leaf=30, random_state=seed
        )
        trees.fit(design[~out], judged.correct[~out])
        found[out] = trees.predict_proba(design[out])[:, 1]
    return found
