"""What a verifier reached on rows that fitted nothing: figures for the report, as values.

Knows nothing of charts and files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import NotEnoughData
from glassbox.introspection.evidence.checks import check_info
from glassbox.introspection.training.fusions import Values
from glassbox.introspection.training.graded import GradedRow
from glassbox.introspection.verifier.fusion import Fusion, choose
from glassbox.stats.calibration.error import NullLevel, ece_interval, null_level
from glassbox.stats.classification.grouped_auroc import Separation, grouped_separation
from glassbox.stats.intervals import Interval, clopper_pearson
from glassbox.stats.uncertainty.heuristic import estimate_uncertainty

FUSION: Final = "fusion"
"""Name of the fused confidence among the readings."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows with what the verifier said of them."""

    rows: tuple[GradedRow, ...]
    """The rows."""
    uncertainty: Float[np.ndarray, " n"]
    """Calibrated."""
    raw: Float[np.ndarray, " n"]
    """Before the calibrator."""
    accepted: Bool[np.ndarray, " n"]
    """Whether they would be accepted."""
    readings: Mapping[str, Float[np.ndarray, " n"]]
    """The fusion, every check, the heuristic and trivial baselines; higher means right."""

    @property
    def correct(self) -> Bool[np.ndarray, " n"]:
        """Whether each was right."""
        return np.array([row.correct for row in self.rows], dtype=bool)

    @property
    def groups(self) -> Int[np.ndarray, " n"]:
        """Number of each row's group."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(row.unit, len(known)) for row in self.rows])

    def where(self, keep: Bool[np.ndarray, " n"]) -> "Judged":
        """Return some of the rows."""
        return Judged(
            tuple(row for row, kept in zip(self.rows, keep, strict=True) if kept),
            self.uncertainty[keep],
            self.raw[keep],
            self.accepted[keep],
            {name: each[keep] for name, each in self.readings.items()},
        )


@dataclass(frozen=True)
class StratumFigures:
    """One kind of row: does the mean uncertainty match the error rate?"""

    stratum: str
    """Its name."""
    origin: str
    """Whose responses."""
    n_rows: int
    """How many."""
    error_rate: float
    """Share of wrong ones."""
    error_low: float
    """Lower end of its 95 % interval (exact, rows taken as independent)."""
    error_high: float
    """Upper end."""
    mean_uncertainty: float
    """Mean calibrated uncertainty."""

    @property
    def gap(self) -> float:
        """Mean uncertainty minus error rate."""
        return self.mean_uncertainty - self.error_rate


@dataclass(frozen=True)
class Figures:
    """What a verifier reached."""

    n_rows: int
    """Rows measured on."""
    n_groups: int
    """Groups they come in."""
    error_rate: float
    """Share of wrong responses."""
    separation: Mapping[str, Separation]
    """By reading; differences are fusion minus reading, paired over groups."""
    ece: Interval
    """Expected calibration error of the calibrated confidence; rows taken as independent."""
    ece_raw: Interval
    """The same before the calibrator."""
    null: NullLevel
    """What a perfectly calibrated confidence would show if rows were independent: rows of one group
    are not, and a perfect one then shows more."""
    strata: tuple[StratumFigures, ...]
    """By stratum and origin."""
    n_accepted: int
    """Rows that would be accepted."""
    n_accepted_wrong: int
    """Wrong ones among them."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def judge_rows(
    rows: Sequence[GradedRow], values: Sequence[Values], fusions: Sequence[Fusion]
) -> Judged:
    """Return what fusions say of rows, with the single checks and trivial readings beside it.

    Args:
        rows: The rows.
        values: Values of their checks.
        fusions: What judges.

    Raises:
        NotEnoughData: A row whose checks no fusion can use.
    """
    chosen = [choose(fusions, row.origin, own) for row, own in zip(rows, values, strict=True)]
    if any(each is None for each in chosen):
        raise NotEnoughData("A fusion (checks of a row)", 0, 1)
    pairs = [(each, own) for each, own in zip(chosen, values, strict=True) if each is not None]
    uncertainty = np.array([float(each.uncertainties([own])[0]) for each, own in pairs])
    raw = np.array([float(each.uncertainties([own], calibrated=False)[0]) for each, own in pairs])
    common = [name for name in values[0] if all(name in own for own in values)]
    readings = {FUSION: 1 - uncertainty}
    for name in common:
        sign = check_info(name).sign
        readings[name] = sign * np.array([own[name] for own in values], dtype=np.float64)
    readings["heuristic"] = 1 - np.array([_heuristic(own) for own in values])
    readings["response length"] = np.array([-float(len(row.response)) for row in rows])
    accepted = [each.accepts(u) for (each, _), u in zip(pairs, uncertainty.tolist(), strict=True)]
    return Judged(tuple(rows), uncertainty, raw, np.array(accepted), readings)


def measure(judged: Judged, *, seed: int = 0, n_draws: int = 500) -> Figures:
    """Return the figures of judged rows.

    Raises:
        NotEnoughData: No rows, or all of them right or all wrong.
    """
    correct = judged.correct
    confidence = 1 - judged.uncertainty
    return Figures(
        n_rows=len(correct),
        n_groups=len(set(judged.groups.tolist())),
        error_rate=float((~correct).mean()) if len(correct) else 0.0,
        separation=grouped_separation(
            judged.readings, correct, judged.groups, reference=FUSION, seed=seed, n_draws=n_draws
        ),
        ece=ece_interval(confidence, correct, seed=seed),
        ece_raw=ece_interval(1 - judged.raw, correct, seed=seed),
        null=null_level(confidence, correct, seed=seed),
        strata=stratum_figures(judged),
        n_accepted=int(judged.accepted.sum()),
        n_accepted_wrong=int((judged.accepted & ~correct).sum()),
    )


def stratum_figures(judged: Judged) -> tuple[StratumFigures, ...]:
    """Return error rate and mean uncertainty by stratum and origin, where strata are named."""
    correct = judged.correct
    names = dict.fromkeys((row.stratum, row.origin) for row in judged.rows if row.stratum)
    found = []
    for stratum, origin in names:
        keep = np.array([(row.stratum, row.origin) == (stratum, origin) for row in judged.rows])
        n, wrong = int(keep.sum()), int((keep & ~correct).sum())
        low, high = clopper_pearson(wrong, n)
        found.append(
            StratumFigures(
                stratum=stratum,
                origin=origin,
                n_rows=n,
                error_rate=wrong / n,
                error_low=float(low),
                error_high=float(high),
                mean_uncertainty=float(judged.uncertainty[keep].mean()),
            )
        )
    return tuple(found)


def _heuristic(values: Values) -> float:
    return estimate_uncertainty(values["mean-entropy"], [values["mean-prob"]])
