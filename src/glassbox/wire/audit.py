"""``/api/v2/models/audit``: what is kept of predictions, one by one and in sum."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from glassbox.wire.shapes import Absent, Answered, Asked, FilledText

MAX_RECENT = 1000
"""Most entries in one answer."""

LAST_SEQUENCE = 2**63 - 1
"""Largest place in the log that a database could hold."""

Status = Literal["success", "error"]
"""How a prediction ended."""

ShadowEnd = Literal[
    "pending", "ok", "error", "timeout", "dropped", "sampled_out", "breaker_open", "disabled"
]
"""How a challenger's copy of a request ended; ``pending`` until it has."""


class AuditEntry(Answered):
    """What is kept of one prediction, in one line."""

    request_id: str
    """Names the prediction."""
    timestamp: float
    """Unix time of the answer."""
    model: str
    """Registered model that was asked."""
    model_version: str
    """Unique name of the version that answered."""
    feature_hash: str
    """Hash of the features, under the scheme that it begins with."""
    latency_ms: float
    """Milliseconds that the version took."""
    prediction: float | None
    """The number answered; null after an error."""
    confidence: float | None
    """Largest probability, [0, 1]; null where the version has none."""
    shadow_version: str | None = Absent
    """Challenger that saw a copy."""
    shadow_prediction: float | None = Absent
    """What it would have answered."""
    shadow_diff: float | None = Absent
    """How far that lies from the answer."""
    shadow_latency_ms: float | None = Absent
    """Milliseconds that it took."""
    status: Status
    """Whether there was an answer."""
    label: str | None = Absent
    """Most probable class, for classifiers."""
    label_probs: dict[str, float] | None = Absent
    """Probability of every class, for classifiers."""
    shadow_status: ShadowEnd | None = Absent
    """How the challenger's copy ended; absent where there was no challenger."""
    arm: Literal["champion", "challenger"] = "champion"
    """Who answered: a canary's challenger answers a share."""
    true_label: str | float | None = Absent
    """The truth, where it was told since."""
    error_code: str | None = Absent
    """Stable code of the error, after one."""
    sequence: int = 0
    """Place in the durable log; 0 where it is not there yet."""


class RecentQuery(BaseModel):
    """Which entries to return; they come newest first."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=MAX_RECENT)] = 100
    """Most entries."""
    before: Annotated[int, Field(ge=1, le=LAST_SEQUENCE)] | None = None
    """Only those before this `sequence`: the next page."""
    model: Annotated[str, Field(max_length=200)] | None = None
    """Only those that were asked of this registered model."""
    model_version: Annotated[str, Field(max_length=200)] | None = None
    """Only those that this version answered."""
    status: Status | None = None
    """Only those that ended so."""
    label: Annotated[str, Field(max_length=200)] | None = None
    """Only those with this most probable class."""
    min_diff: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = None
    """Only those whose challenger differed by at least this."""
    segment: Annotated[str, Field(max_length=400)] | None = None
    """Only those of one segment, as `country=SE`."""
    request_id: Annotated[str, Field(max_length=200)] | None = None
    """Only this one."""


class ShadowAnswered(Answered):
    """One challenger's copy of a request."""

    shadow_version: str
    """Unique name of the version that saw the copy."""
    role: Literal["challenger", "noise_floor"]
    """Whether it is a challenger, or the champion against itself."""
    status: ShadowEnd
    """How it ended."""
    prediction: float | None
    """As of the answer."""
    confidence: float | None
    """As of the answer."""
    label: str | None = None
    """As of the answer."""
    label_probs: dict[str, float] | None = None
    """As of the answer."""
    diff: float | None
    """Difference to the answer; null without one."""
    latency_ms: float | None
    """Milliseconds that it took in its own process."""
    timestamp: float
    """Unix time of its end."""


class EventAnswered(Answered):
    """One event in the life of a prediction."""

    sequence: int
    """Place in the durable log; 0 where it is not there yet."""
    kind: Literal["primary", "shadow", "label", "erasure"]
    """What happened."""
    timestamp: float
    """Unix time."""


class RecordAnswered(Answered):
    """Everything that is kept of one prediction."""

    entry: AuditEntry
    """The line of it."""
    shadows: list[ShadowAnswered]
    """Copies that challengers saw, in the order in which they ended."""
    events: list[EventAnswered]
    """What happened, in order."""
    segments: dict[str, str]
    """Values by which the summary is broken down."""
    features: dict[str, Any]
    """Values of features on the allow-list; nothing else of a request is kept."""
    summaries: dict[str, float]
    """Numbers that stand for what is not kept."""
    rollout_id: str | None
    """Rollout that was under way."""
    true_label: str | float | None
    """The truth, where it was told since."""


class EraseAsked(Asked):
    """What is to be said of an erasure."""

    reason: Annotated[FilledText, Field(max_length=1000)]
    """Why; kept in the log for good."""


class EraseAnswered(Answered):
    """What was removed."""

    request_id: str
    """Names the prediction."""
    erased_events: int
    """Events whose content is gone."""


class BreakAnswered(Answered):
    """Where the log is not what was written."""

    sequence: int
    """First event that does not fit."""
    reason: str
    """How it does not."""


class HeadAnswered(Answered):
    """The end of the log, to be kept elsewhere and compared later."""

    sequence: int
    """Its last event; 0 where there is none."""
    hash: str
    """Hash over everything up to it (hex)."""


class VerificationAnswered(Answered):
    """Whether the log is whole."""

    n_events: int
    """Events that hold and are there."""
    n_erased: int = 0
    """Those of them whose content was erased."""
    n_removed: int = 0
    """Events that retention has removed before them; anchors stand for them."""
    broken: BreakAnswered | None
    """First break; null where every byte is as it was written."""
    head: HeadAnswered
    """Where it ends."""


class PercentilesAnswered(Answered):
    """Latency of the window, in milliseconds; null where it is empty."""

    p50: float | None
    """Median."""
    p90: float | None
    """90th percentile."""
    p95: float | None
    """95th percentile."""
    p99: float | None
    """99th percentile."""


class DiffHistogram(Answered):
    """How often which difference to the challenger was seen."""

    edges: list[float]
    """Bounds of the bins, one more than there are bins."""
    counts: list[int]
    """Copies in each."""


class ShadowCounts(Answered):
    """How the copies of the window ended; `lifetime` counts all since the server began."""

    ok: int = 0
    """Answered."""
    error: int = 0
    """Failed."""
    timeout: int = 0
    """Took too long: their process was replaced."""
    dropped: int = 0
    """Not taken because the queue was full."""
    sampled_out: int = 0
    """Not chosen by the sampling."""
    breaker_open: int = 0
    """Not tried because the challenger fails all the time."""
    disabled: int = 0
    """Given up because the challenger was taken away."""
    pending: int = 0
    """Not ended yet."""


class ShadowSummary(Answered):
    """What the copies of the window show."""

    ema_diff: float | None
    """Exponential moving average of the differences; null without any."""
    histogram: DiffHistogram
    """Differences."""
    n_outliers: int
    """Differences far out of the window's ordinary ones."""
    counts: ShadowCounts
    """How copies ended."""
    noise_floor: float | None
    """Mean difference of the champion to itself; null where it was not asked twice."""


class GroupSummary(Answered):
    """The window's numbers for one version or one value of a segment."""

    count: int
    """Predictions."""
    avg_latency_ms: float | None
    """Mean milliseconds; null without any."""
    prediction_mean: float | None
    """Mean of the answers; null without any."""
    success_rate: float | None
    """Share that was answered, [0, 1]; null without any."""
    error_count: int
    """Those that were not."""


class VersionSummary(GroupSummary):
    """One version."""

    model_version: str
    """Its name."""


class SegmentSummary(GroupSummary):
    """One value of a segment."""

    value: str
    """The value."""


class WindowAnswered(Answered):
    """The time that the window covers; null where it is empty."""

    from_s: float | None
    """Unix time of its oldest prediction."""
    to_s: float | None
    """Unix time of its newest."""


class SummaryAnswered(Answered):
    """Exact aggregates over the window of the latest predictions."""

    rolling_count: int
    """Predictions in the window."""
    avg_latency_ms: float | None
    """Mean milliseconds that the version took; null where the window is empty."""
    shadow_avg_diff: float | None
    """Mean difference to the challenger; null without any."""
    prediction_mean: float | None
    """Mean of the answers; null without any."""
    confidence_histogram: dict[str, int]
    """Answers in five bins of confidence, `0.0-0.2` to `0.8-1.0`."""
    shadow_enabled: bool
    """Whether a challenger sees copies."""
    active_model: str
    """Version that answers."""
    shadow_model: str | None
    """First challenger; null without one."""
    success_rate: float | None
    """Share that was answered, [0, 1]; null where the window is empty."""
    error_count: int
    """Predictions that failed."""
    shadow_min_diff: float | None
    """Smallest difference to the challenger."""
    shadow_max_diff: float | None
    """Largest."""
    ring_utilisation: float
    """How full the window is, [0, 1]."""
    n_without_confidence: int
    """Answers that carry none, or NaN: in no bin."""
    latency_percentiles_ms: PercentilesAnswered
    """Of the window."""
    shadow: ShadowSummary
    """What the copies show."""
    versions: list[VersionSummary]
    """By version, most used first."""
    segments: dict[str, list[SegmentSummary]]
    """By the values of the features that `audit.segments` names."""
    lifetime: dict[str, int]
    """Counters since this server began, as `inferences`, `errors`, `shadow_ok`."""
    window: WindowAnswered
    """The time that the window covers."""
