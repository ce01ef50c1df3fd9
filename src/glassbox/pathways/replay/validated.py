"""What replay says of pathways: rows for each dose, a summary, and a bound on what the cut missed.

Values and their files. Knows nothing of how they were measured or judged.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from glassbox.artifacts import atomic_file, write_json

SCHEMA: Final = 1
"""Version of the files."""


@dataclass(frozen=True)
class ValidatedRow:
    """One pathway at one dose."""

    target: str
    source: str
    target_layer: int
    target_index: int
    source_layer: int
    source_index: int
    dose: str
    predicted_pre: float | None
    """Attribution times the relative change, mean over texts; none without a sweep."""
    measured_pre: float
    """Change of the target's pre-activation, mean over texts."""
    measured_sd: float | None
    """Its standard deviation over texts; none of one text."""
    measured_post: float
    """Change of the target's activation, mean over texts."""
    flips: int
    """Texts in which the target's gate opened or closed."""
    n_measured: int
    """Texts in which the source was active and the target downstream of it."""
    sign_agreement: float | None
    """Share of texts in which prediction and measurement have the same sign; none without one."""
    slope: float | None
    """Change of the target for one unit of the source, over texts and doses, through the origin:
    what the gradient would be if the model were linear."""
    z: float | None
    """Distance of the effect from those of random directions in the source's place, in their
    spread, mean over the texts that were looked at closely; at the first dose. None where no
    random direction tells."""
    n_tested: int
    """Texts that it was looked at closely in."""
    p: float
    """The pathway's p-value, at the first dose."""
    q: float
    """P-value adjusted over all pairs that were looked at."""
    verified: bool
    """Unlike random directions in the source's place, at the first dose, and with the predicted
    sign."""


@dataclass(frozen=True)
class Agreement:
    """How predictions and measurements agree over pathways."""

    dose: str
    layer_gap: int | None
    """Layers between source and target; none stands for all."""
    n: int
    """Pathways."""
    spearman: float | None
    """Rank correlation of predicted and measured."""
    slope: float | None
    """Measured per predicted, through the origin; 1 in a linear model."""
    slope_low: float | None
    """Lower end of its 95 % bootstrap interval over pathways."""
    slope_high: float | None
    sign_agreement: float | None
    """Share with the same sign."""
    sign_low: float | None
    """Lower end of its 95 % Wilson interval."""
    sign_high: float | None
    within_factor_2: float | None
    """Share measured between half and twice the prediction."""


@dataclass(frozen=True)
class Missed:
    """How much of what the cut left out would have been verified, at most."""

    n_below: int
    """(target, source) pairs of single texts below the cut."""
    n_sampled: int
    """Of these, replayed and held against random directions."""
    n_found: int
    """Of these, with an effect as far from random as that of the weakest verified pathway."""
    share: float | None
    """Their share; none without a sample, or if nothing was verified."""
    share_high: float | None
    """Upper 95 % bound of that share."""
    n_high: float | None
    """That bound times the pairs below the cut."""
    z_cut: float | None
    """The weakest verified pathway's distance from random."""


@dataclass(frozen=True)
class Validated:
    """The verdicts of a study."""

    rows: tuple[ValidatedRow, ...]
    """By target, source and dose."""
    agreement: tuple[Agreement, ...]
    """For each dose over all pathways, then by layers between."""
    missed: Missed
    q_level: float
    """False discovery rate, a fraction."""
    n_considered: int
    """Pairs that the false discovery rate is held over, whether they were replayed or not."""
    n_kept: int
    """Pathways to be replayed."""
    n_unmeasured: int
    """Of these, not measured: their source was active in none of the target's texts."""
    n_verified: int
    n_random: int
    """Effects of random directions that the null is made of."""
    n_unmatched: int
    """Random directions that could not be had."""
    path: str
    """``past`` later SAEs, or ``through`` them."""

    @property
    def summary(self) -> dict[str, Any]:
        """Return the figures without the rows, JSON values."""
        first = self.agreement[0] if self.agreement else None
        figures = {
            "spearman": first and first.spearman,
            "slope": first and first.slope,
            "sign_agreement": first and first.sign_agreement,
            "within_factor_2": first and first.within_factor_2,
            "n_verified": self.n_verified,
            "n_kept": self.n_kept,
            "n_unmeasured": self.n_unmeasured,
            "n_considered": self.n_considered,
            "n_random": self.n_random,
            "n_unmatched": self.n_unmatched,
            "q_level": self.q_level,
            "path": self.path,
        }
        return figures | {f"missed_{name}": value for name, value in asdict(self.missed).items()}

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON values."""
        return {
            "schema": SCHEMA,
            "summary": self.summary,
            "agreement": [asdict(each) for each in self.agreement],
            "pathways": [asdict(each) for each in self.rows],
        }


def write_validated(validated: Validated, path: Path) -> tuple[Path, Path]:
    """Write ``validated_pathways.json`` and the rows as Parquet beside it; return both files.

    Raises:
        NoDiskSpace: The device is full.
    """
    write_json(path, validated.to_json())
    parquet = path.with_suffix(".parquet")
    columns: Mapping[str, pa.DataType] = {
        name: _TYPES[kind] for name, kind in ValidatedRow.__annotations__.items()
    }
    table = pa.Table.from_pylist([asdict(row) for row in validated.rows], pa.schema(columns))
    with atomic_file(parquet) as file:
        pq.write_table(table, file)
    return path, parquet


_TYPES: Final = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    float | None: pa.float64(),
}
