"""``/api/v2/models/drift``: what comes now compared with a frozen reference."""

from typing import Annotated, Any, Literal

from pydantic import Field

from glassbox.wire.shapes import Absent, Answered, Asked

MOST_RECORDS = 10**9
"""Most of the latest records that a reference may be made from."""


class FeatureDriftAnswered(Answered):
    """One feature, or one number about the answers, then and now."""

    name: str
    """Feature, or as `prediction`, `confidence`, `text.n_tokens`, `state_0`."""
    kind: Literal["numeric", "categorical"]
    """How it was compared."""
    group: Literal["answer", "feature", "text", "state", "other"] = "other"
    """What it is about: the answers, a feature, a text's summary, a model's state."""
    statistics: dict[str, float | None]
    """As `ks`, `psi`, `jensen_shannon`, `chi_square`, `wasserstein`."""
    effect: float | None
    """Size of the change, in the unit of `effect_name`."""
    effect_name: str | None = Absent
    """Which statistic the effect is."""
    p_value: float | None
    """Probability of such a difference without drift; null where no test applies."""
    p_adjusted: float | None
    """The same after the correction for many features."""
    limit: float | None
    """Effect from which it counts."""
    drifted: bool
    """Whether both effect and adjusted p say so."""
    edges: list[float] | list[str]
    """Bounds of the reference's bins, or its categories."""
    reference: list[float]
    """Share of the reference in each bin."""
    current: list[float]
    """Share of the current window in each bin."""
    n_reference: int | None = None
    """Values in the reference."""
    n_current: int | None = None
    """Values in the window."""


class EstimateAnswered(Answered):
    """A measure of quality, from confidence alone or from labels."""

    metric: str
    """As `accuracy`, `auroc`."""
    method: Literal["estimated", "realised"] = "estimated"
    """From calibrated confidence alone, or from labels that have come."""
    value: float | None
    """In the current window."""
    low: float | None
    """Lower bound."""
    high: float | None
    """Upper bound."""
    reference: float | None
    """In the reference."""
    n: int
    """Rows that it rests on."""
    fell: bool | None = None
    """Whether it is below the reference by more than chance; null where that is not known."""


class ImportanceAnswered(Answered):
    """What the answers depend on, then and now."""

    features: list[str]
    """Names, in the order of the shares."""
    reference: list[float]
    """Share of the variance of the answers that each feature explains alone, [0, 1]."""
    current: list[float]
    """The same, now."""
    rank_correlation: float | None
    """Spearman's correlation of the two."""
    distance: float
    """Mean absolute difference of the shares."""
    p_value: float
    """Probability of as large a distance by chance."""
    changed: bool
    """Whether it is more than chance."""


class GapAnswered(Answered):
    """How differently the groups of one segment fare."""

    segment: str
    """Feature that makes the groups."""
    measure: str
    """As `accuracy`, `selection_rate`."""
    groups: dict[str, float]
    """Value of each group."""
    n_rows: dict[str, int]
    """Rows of each group."""
    gap: float
    """Largest minus smallest."""


class DriftReportAnswered(Answered):
    """One comparison."""

    report_id: str
    """Names it."""
    time_s: float
    """Unix time."""
    model_version: str
    """Version whose predictions were compared."""
    reference_id: str
    """What they were compared with."""
    n_reference: int
    """Rows of the reference."""
    n_current: int
    """Rows of the window."""
    verdict: str
    """In one word: `drift`, `no_drift`, `not_enough_data`."""
    features: list[FeatureDriftAnswered]
    """Largest effect first."""
    estimate: EstimateAnswered | None
    """Quality estimated without labels."""
    realised: EstimateAnswered | None
    """Quality on the rows whose truth became known."""
    further: list[EstimateAnswered] = Field(default_factory=list)
    """Other measures of quality."""
    importance: ImportanceAnswered | None = None
    """What the answers depend on; null where that cannot be said."""
    gaps: list[GapAnswered] = Field(default_factory=list)
    """How groups fare."""
    seasonality: dict[str, Any] | None = None
    """Pattern over the day or week that was found, and whether the reference was chosen by it."""
    since_s: float | None = None
    """Unix time of the window's first row."""
    until_s: float | None = None
    """Unix time of its last row."""
    notes: list[str] = Field(default_factory=list)
    """What a reader should know, as features that were left out and why."""


class ReferenceAnswered(Answered):
    """A frozen reference."""

    reference_id: str
    """Names it."""
    created_s: float
    """Unix time."""
    model_version: str
    """Version whose predictions it holds."""
    n_rows: int
    """Rows that it was made from."""
    digest: str
    """SHA-256 over its content (hex)."""
    since_s: float | None = None
    """Unix time of its first row."""
    until_s: float | None = None
    """Unix time of its last row."""
    columns: list[str] = Field(default_factory=list)
    """What it can be compared by."""
    is_current: bool = False
    """Whether windows are compared with it."""


class DriftAnswered(Answered):
    """Where things stand."""

    report: DriftReportAnswered | None
    """Latest comparison; null before the first."""
    reference: ReferenceAnswered | None
    """What it was made against; null without one."""


class DriftPoint(Answered):
    """One feature at one comparison."""

    time_s: float
    """Unix time."""
    feature: str
    """Its name."""
    effect: float | None
    """Size of the change."""
    p_adjusted: float | None
    """After the correction for many features."""
    drifted: bool
    """Whether it was flagged."""
    limit: float | None
    """Effect from which it counts."""
    report_id: str | None = None
    """The comparison."""


class ReferencesAnswered(Answered):
    """All references."""

    references: list[ReferenceAnswered]
    """Newest first."""


class ReferenceAsked(Asked):
    """What a new reference is made from."""

    since_s: float | None = None
    """Unix time of the first row; null with `last_n`."""
    until_s: float | None = None
    """Unix time after the last row; null is now."""
    last_n: Annotated[int, Field(ge=1, le=MOST_RECORDS)] | None = None
    """Latest rows; null with `since_s`."""
    model: str = "default"
    """Registered model."""
