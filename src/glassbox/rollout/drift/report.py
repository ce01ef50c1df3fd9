"""What one comparison found, as a value that can be kept as JSON and shown. Computes nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

from glassbox.errors import CorruptArtifact

Kind = Literal["numeric", "categorical"]
"""How a column is compared."""

Group = Literal["answer", "feature", "text", "state", "other"]
"""What a column is about: the answers, a feature on the allow-list, a text's summary, a model's
state."""

Metric = Literal["auroc", "accuracy"]
"""Measures of quality: area under the ROC curve of two classes, and share of right labels."""

Verdict = Literal["drift", "no_drift", "not_enough_data"]
"""In one word; ``drift`` also where the quality fell though no column moved."""


@dataclass(frozen=True)
class FeatureDrift:
    """One column, then and now."""

    name: str
    """Its name."""
    kind: Kind
    """How it was compared."""
    group: Group
    """What it is about."""
    statistics: Mapping[str, float]
    """``psi``, ``jensen_shannon``, ``missing_reference``, ``missing_current``; of numbers also
    ``ks``, ``wasserstein`` (in standard deviations of the reference), ``reference_mean``,
    ``current_mean``, ``outside`` (share beyond the reference's range); of categories
    ``chi_square``, ``cramers_v``, ``new`` (share of categories the reference never had)."""
    effect: float
    """Population stability index over the frozen bins."""
    limit: float
    """Effect from which it is neither small nor chance."""
    p_value: float
    """Kolmogorov-Smirnov for numbers, chi-square for categories."""
    p_adjusted: float
    """The same, corrected for the number of columns."""
    drifted: bool
    """Whether both the effect and the corrected p-value say so."""
    edges: tuple[float, ...] | tuple[str, ...]
    """Bounds of the bins, one more than there are bins; or the categories."""
    reference: tuple[float, ...]
    """Share of the reference in each bin, missing values aside."""
    current: tuple[float, ...]
    """Share of the window in each bin."""
    n_reference: int
    """Values in the reference."""
    n_current: int
    """Values in the window."""
    effect_name: str = "psi"
    """What the effect is."""


@dataclass(frozen=True)
class Quality:
    """One measure of how good the answers are, then and now."""

    metric: Metric
    """What is measured."""
    method: Literal["estimated", "realised"]
    """From calibrated confidence alone, or from labels that have come."""
    value: float
    """In the window, [0, 1]."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end."""
    reference: float | None
    """In the reference; None where it cannot be said there."""
    n: int
    """Rows of the window that it rests on."""
    fell: bool | None
    """Whether it is lower than in the reference by more than chance and more than two points."""


@dataclass(frozen=True)
class Importance:
    """What the answers depend on, then and now."""

    features: tuple[str, ...]
    """Names, in the order of the shares."""
    reference: tuple[float, ...]
    """Share of the variance of the answers that each feature explains alone, [0, 1]."""
    current: tuple[float, ...]
    """The same, now."""
    rank_correlation: float | None
    """Spearman's correlation of the two."""
    distance: float
    """Mean absolute difference of the shares."""
    p_value: float
    """Probability of as large a distance by chance."""
    changed: bool
    """Whether the distance is more than chance and more than 0.02."""


@dataclass(frozen=True)
class SegmentGap:
    """How differently the groups of one segment fare."""

    segment: str
    """The feature that makes the groups."""
    measure: str
    """As ``accuracy``, ``selection_rate``, ``false_positive_rate``."""
    groups: Mapping[str, float]
    """Value of each group."""
    n_rows: Mapping[str, int]
    """Rows of each group."""
    gap: float
    """Largest minus smallest."""


@dataclass(frozen=True)
class Seasonality:
    """A pattern over the day or week, and what was done about it."""

    period: Literal["day", "week"]
    """After what it returns."""
    column: str
    """Where it is strongest."""
    effect: float
    """Share of the variance of that column that the hour explains."""
    n_cycles: int
    """Periods of the reference that show it."""
    applied: bool
    """Whether the reference was taken from the same hours."""
    n_reference: int
    """Rows of the reference that were used."""
    covered: float
    """Share of the window at hours that the reference has seen."""


@dataclass(frozen=True)
class DriftReport:
    """One comparison of a window with a reference."""

    report_id: str
    """Names it; empty for one that is not kept."""
    time_s: float
    """Unix time."""
    model: str
    """Registered model."""
    model_version: str
    """Version that gave the answers of the window."""
    reference_id: str
    """What they were compared with."""
    n_reference: int
    """Rows of the reference."""
    n_current: int
    """Rows of the window."""
    verdict: Verdict
    """In one word."""
    features: tuple[FeatureDrift, ...] = ()
    """Drifted ones first, then by size of the effect."""
    estimate: Quality | None = None
    """Quality without labels."""
    realised: Quality | None = None
    """Quality on the rows whose truth is known."""
    further: tuple[Quality, ...] = ()
    """Other measures of quality."""
    importance: Importance | None = None
    """What the answers depend on."""
    gaps: tuple[SegmentGap, ...] = ()
    """How groups fare."""
    seasonality: Seasonality | None = None
    """Pattern over the day or week; None without one."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    since_s: float | None = None
    """Unix time of the window's first row."""
    until_s: float | None = None
    """Unix time of its last row."""
    wall_s: float = field(default=0.0, compare=False)
    """Seconds that the comparison took."""

    @property
    def drifted(self) -> tuple[FeatureDrift, ...]:
        """The columns that have drifted."""
        return tuple(each for each in self.features if each.drifted)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], *, source: str = "drift report") -> "DriftReport":
        """Return the report that ``to_json`` wrote.

        Raises:
            CorruptArtifact: Fields are missing or of another form.
        """
        try:
            return _report(dict(fields))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtifact(source, f"not a drift report ({error})") from error


def report_bytes(report: DriftReport) -> bytes:
    """Return a report as JSON text."""
    return orjson.dumps(report.to_json())


def _report(fields: dict[str, Any]) -> DriftReport:
    def maybe(kind: Any, name: str) -> Any:
        found = fields.get(name)
        return None if found is None else kind(**_tuples(found))

    return DriftReport(
        **{
            **fields,
            "features": tuple(FeatureDrift(**_tuples(each)) for each in fields["features"]),
            "estimate": maybe(Quality, "estimate"),
            "realised": maybe(Quality, "realised"),
            "further": tuple(Quality(**each) for each in fields["further"]),
            "importance": maybe(Importance, "importance"),
            "gaps": tuple(SegmentGap(**each) for each in fields["gaps"]),
            "seasonality": maybe(Seasonality, "seasonality"),
            "notes": tuple(fields["notes"]),
        }
    )


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
