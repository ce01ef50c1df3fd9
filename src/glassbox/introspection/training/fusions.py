"""Fitting a verifier's fusions: weights, calibrator and threshold, each on rows of its own.

Values of checks in, fusions out; the same functions serve the command, the shipped verifier and
the proof on the embedded facts. Knows nothing of engines and files.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.introspection.evidence.checks import CHECKS, PROBE_PREFIX, READING, features
from glassbox.introspection.training.graded import GradedRow
from glassbox.introspection.verdict import Origin
from glassbox.introspection.verifier.fusion import Fusion
from glassbox.stats.classification.balanced_logistic import (
    LEAST_OF_EACH,
    Balance,
    LogisticFit,
    fit_balanced_logistic,
)
from glassbox.stats.classification.detection import one_of_each
from glassbox.stats.selective.threshold import choose_threshold

Part = Literal["fusion", "calibrator", "threshold", "test"]
"""What the rows of a part are for; no two parts share a group."""

PARTS: Final[tuple[Part, ...]] = ("fusion", "calibrator", "threshold", "test")
"""The parts, in the order in which groups are dealt."""

L2_GRID: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Strengths of the penalty that cross-validation chooses from, on standardised features.
Source: the range in which probes on standardised features do best (1e-4 to 1 per row)."""
N_FOLDS: Final = 5
"""Folds of that cross-validation, cut between groups."""
FEWEST_PER_ORIGIN: Final = 40
"""Rows that a part of one origin needs for a fusion of its own."""
FEWEST_REMEDY: Final = (
    "The rows are cut into four parts, between groups; about 250 graded responses in groups of "
    "their own are a start."
)
"""What to do about too few rows. The smallest of these parts takes a fifth: 40 of 200, and some
more, because groups differ in size."""
KINDS_REMEDY: Final = "Right from wrong is learned from both: bring more of the rarer kind."
"""What to do about responses of which nearly all are right, or wrong."""

Values = Mapping[str, float]
"""Value of each check that could be read."""


@dataclass(frozen=True)
class Recipe:
    """How fusions are fitted."""

    max_error: float = 0.05
    """Error rate promised among accepted responses, a fraction in (0, 1)."""
    confidence_level: float = 0.9
    """Probability with which the promise must hold."""
    seed: int = 0
    """Decides the split."""
    shares: tuple[float, float, float, float] = (0.45, 0.2, 0.2, 0.15)
    """Share of the groups in each part; groups marked ``test`` are test rows beside it."""
    balance: Balance | None = field(default_factory=Balance)
    """How the calibrator balances strata of the model's own responses, where rows name them; None
    does not. Strata of given responses never are: how many are right was the grader's choice."""

    def __post_init__(self) -> None:
        if len(self.shares) != len(PARTS) or abs(sum(self.shares) - 1) > 1e-9:
            raise InvalidValue("shares", self.shares, "four fractions that sum to 1")


def split(rows: Sequence[GradedRow], recipe: Recipe) -> list[Part]:
    """Return the part of each row: groups in the order of a seeded hash, cut by shares.

    The same row falls into the same part whatever the order of the file. A group with a row marked
    ``test`` is in the test part whole.
    """
    kept = {row.unit for row in rows if row.part == "test"}
    units = sorted(
        {row.unit for row in rows} - kept,
        key=lambda unit: hashlib.sha256(f"{recipe.seed}/{unit}".encode()).digest(),
    )
    ends = np.round(np.cumsum(recipe.shares) * len(units)).astype(int)
    part_of: dict[str, Part] = dict.fromkeys(kept, "test")
    for number, unit in enumerate(units):
        part_of[unit] = PARTS[int(np.searchsorted(ends, number, side="right"))]
    return [part_of[row.unit] for row in rows]


def fitting_origins(rows: Sequence[GradedRow], parts: Sequence[Part]) -> list[Origin]:
    """Return whose responses are enough for fusions of their own; needs no model.

    Of the threshold part one row of each group counts.

    Raises:
        NotEnoughData: Nobody's are: too few rows, or too few right or wrong ones.
    """
    origins: tuple[Origin, ...] = ("given", "written")
    found: list[Origin] = []
    trouble: NotEnoughData | None = None
    for origin in origins:
        own = [(row, part) for row, part in zip(rows, parts, strict=True) if row.origin == origin]
        lack = _lack(origin, own)
        if lack is None:
            found.append(origin)
        elif own:
            trouble = trouble or lack
    if not found:
        raise trouble or NotEnoughData("Training a verifier", 0, 4 * FEWEST_PER_ORIGIN)
    return found


def _lack(origin: Origin, rows: Sequence[tuple[GradedRow, Part]]) -> NotEnoughData | None:
    """Return what the responses of one origin lack for fusions of their own; None is nothing."""
    sizes = {name: sum(part == name for _, part in rows) for name in PARTS[:3]}
    sizes["threshold"] = len({row.unit for row, part in rows if part == "threshold"})
    for name, n_rows in sizes.items():
        if n_rows < FEWEST_PER_ORIGIN:
            what = f"The {name} part of {origin} responses"
            return NotEnoughData(what, n_rows, FEWEST_PER_ORIGIN, remedy=FEWEST_REMEDY)
    number = {unit: at for at, unit in enumerate(dict.fromkeys(row.unit for row, _ in rows))}
    fusion = [(row, number[row.unit] % N_FOLDS) for row, part in rows if part == "fusion"]
    left = [[row for row, out in fusion if out != fold] for fold in range(N_FOLDS)]
    calibrator = [row for row, part in rows if part == "calibrator"]
    kinds = [*(("fusion", each) for each in left), ("calibrator", calibrator)]
    for where, fitted in kinds:
        n_right = sum(row.correct for row in fitted)
        n_rarer = min(n_right, len(fitted) - n_right)
        if n_rarer < LEAST_OF_EACH:
            what = f"The {where} part of {origin} responses (the rarer kind of right and wrong"
            what += f", outside of each of {N_FOLDS} folds)" if where == "fusion" else ")"
            return NotEnoughData(what, n_rarer, LEAST_OF_EACH, remedy=KINDS_REMEDY)
    return None


def fit_fusions(
    rows: Sequence[GradedRow], values: Sequence[Values], parts: Sequence[Part], recipe: Recipe
) -> tuple[Fusion, ...]:
    """Return the fusions that the rows allow: a full and a lean one for each origin.

    An origin without enough rows gets none of its own. The lean one needs a single pass over the
    response (and probes); the full one every check that all rows have.

    Raises:
        NotEnoughData: Not one fusion could be fitted: too few right or wrong rows in a part.
    """
    everywhere = [name for name in _names(values) if all(name in each for each in values)]
    lean = tuple(name for name in everywhere if name in READING or name.startswith(PROBE_PREFIX))
    sets = list(dict.fromkeys([tuple(everywhere), lean]))
    found: list[Fusion] = []
    trouble: NotEnoughData | None = None
    for origin in fitting_origins(rows, parts):
        chosen = [at for at, row in enumerate(rows) if row.origin == origin]
        own = _Table.of([rows[i] for i in chosen], [values[i] for i in chosen],
                        [parts[i] for i in chosen])  # fmt: skip
        try:
            found += [_fit(origin, checks, own, recipe) for checks in sets]
        except NotEnoughData as error:
            trouble = error
    if trouble is not None and not found:
        raise trouble
    return tuple(found)


def _names(values: Sequence[Values]) -> list[str]:
    seen = dict.fromkeys(name for each in values for name in each)
    return [name for name in CHECKS if name in seen] + [
        name for name in seen if name.startswith(PROBE_PREFIX)
    ]


@dataclass(frozen=True, eq=False)
class _Table:
    values: tuple[Values, ...]
    correct: Bool[np.ndarray, " n"]
    strata: Int[np.ndarray, " n"]
    units: Int[np.ndarray, " n"]
    parts: np.ndarray

    @classmethod
    def of(
        cls, rows: Sequence[GradedRow], values: Sequence[Values], parts: Sequence[Part]
    ) -> "_Table":
        names = sorted({row.stratum for row in rows} - {""})
        known = {unit: number for number, unit in enumerate(dict.fromkeys(r.unit for r in rows))}
        return cls(
            tuple(values),
            np.array([row.correct for row in rows], dtype=bool),
            np.array([names.index(r.stratum) if r.stratum else -1 for r in rows], dtype=np.int64),
            np.array([known[row.unit] for row in rows], dtype=np.int64),
            np.array(parts),
        )

    def part(self, name: Part) -> "_Table":
        return self.where(self.parts == name)

    def where(self, keep: Bool[np.ndarray, " n"]) -> "_Table":
        return _Table(
            tuple(each for each, kept in zip(self.values, keep, strict=True) if kept),
            self.correct[keep],
            self.strata[keep],
            self.units[keep],
            self.parts[keep],
        )


def _independent(table: _Table, seed: int) -> _Table:
    """Return one row of each group, drawn by lot: the promise counts independent rows."""
    keep = np.zeros(len(table.units), dtype=bool)
    keep[one_of_each(table.units, seed=seed)] = True
    return table.where(keep)


def _fit(origin: Origin, checks: tuple[str, ...], table: _Table, recipe: Recipe) -> Fusion:
    weighed, calibrated, kept = (table.part(name) for name in PARTS[:3])
    kept = _independent(kept, recipe.seed)
    balance = recipe.balance if origin == "written" else None
    design = features(weighed.values, checks)
    # Balancing the calibrator alone moves the numbers and leaves the order of responses as it is.
    fit = fit_balanced_logistic(design, weighed.correct, l2=_strength(design, weighed))
    slope, offset = _calibrator(fit, features(calibrated.values, checks), calibrated, balance)
    draft = Fusion(origin, checks, fit, slope, offset, None, "", len(weighed.correct))
    threshold = choose_threshold(
        1 - draft.uncertainties(kept.values),
        kept.correct,
        max_error=recipe.max_error,
        confidence_level=recipe.confidence_level,
    )
    limit = None if threshold.value is None else 1 - threshold.value
    return replace(draft, max_uncertainty=limit, promise=_promise(threshold.sentence))


def _promise(sentence: str) -> str:
    return (
        sentence.replace("Automate where", "Accept where")
        .replace("automated", "accepted")
        .replace("new texts", "new prompts and responses")
    )


def _strength(design: Float[np.ndarray, "n d"], table: _Table) -> float:
    """Return the penalty of least mean log loss on held-out folds of groups."""
    fold = table.units % N_FOLDS
    losses = []
    for l2 in L2_GRID:
        total = 0.0
        for number in range(N_FOLDS):
            out = fold == number
            logits = fit_balanced_logistic(design[~out], table.correct[~out], l2=l2).logits(
                design[out]
            )
            total += float(np.logaddexp(0, np.where(table.correct[out], -logits, logits)).sum())
        losses.append(total)
    return L2_GRID[int(np.argmin(losses))]


def _calibrator(
    fit: LogisticFit, design: Float[np.ndarray, "n d"], table: _Table, balance: Balance | None
) -> tuple[float, float]:
    """Return slope and offset of Platt scaling on the log-odds, never turning the order round.

    Source: Platt 1999; the slope is bounded below, because a small part may suggest nonsense.
    """
    logits = fit.logits(design)[:, None]
    found = fit_balanced_logistic(
        logits, table.correct, l2=1e-6, strata=table.strata, balance=balance
    )
    slope = max(float(found.weight[0] / found.scale[0]), 0.05)
    return slope, found.bias - slope * float(found.mean[0])
