"""``/api/v2/models``: predictions, labels, the registry in short, health."""

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from glassbox.wire.shapes import Absent, Answered, Asked, FilledText

MAX_ROWS = 1024
"""Most rows in one batch."""

MAX_LABELS = 10_000
"""Most labels in one request."""

MOST_LEVELS = 32
"""Levels of JSON within features; a version may take fewer."""

MOST_VALUES = 10_000
"""Values within the features of one row, those within lists and objects among them; a version may
take fewer."""


def _not_too_large(features: Any) -> Any:
    """Refuse what nobody takes before anything else walks through it.

    Level by level, so no stack runs out; counted before they are looked at, so millions cost
    nothing more.
    """
    level, n_values = [features], 0
    for _ in range(MOST_LEVELS):
        insides = [_inside(each) for each in level]
        n_values += sum(map(len, insides))
        if n_values > MOST_VALUES:
            raise PydanticCustomError(
                "too_many", "the features hold more than {most} values", {"most": MOST_VALUES}
            )
        # By their types at once: a thousand rows may hold numbers by the million.
        deeper = (inside for inside in insides if not _NESTED.isdisjoint(map(type, inside)))
        level = [inner for inside in deeper for inner in inside]
        if not level:
            return features
    raise PydanticCustomError(
        "too_deep", "the features are nested more than {most} levels deep", {"most": MOST_LEVELS}
    )


_NESTED = {dict, list}


def _inside(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


Features = Annotated[dict[str, Any], BeforeValidator(_not_too_large)]
"""Named values of one request."""


class PredictAsked(Asked):
    """One row to predict."""

    features: Features
    """Named values; `{"text": …}` for a classifier of texts."""
    model: str = "default"
    """Registered model, or `models:/NAME@ALIAS`, `models:/NAME/NUMBER`."""
    segment_key: Annotated[str, Field(max_length=256)] | None = None
    """Requests with the same key get the same version of a canary; null takes the request's id."""


class PredictAnswered(Answered):
    """The answer to one row."""

    prediction: float
    """The number; for classes the probability of the first label, [0, 1]."""
    confidence: float | None
    """Largest probability, [0, 1]; null where the version knows none."""
    model_version: str
    """Unique name of the version that answered."""
    request_id: str
    """Names the request in the audit."""
    shadow_diff: float | None = Absent
    """Difference to the challenger's answer; absent until that is there."""
    label: str | None = Absent
    """Most probable class, for classifiers."""
    label_probs: dict[str, float] | None = Absent
    """Probability of every class, for classifiers."""
    truncated: bool | None = Absent
    """True where the end of the text was cut to fit the model's context; absent elsewhere."""


class PredictRow(Asked):
    """One row of a batch."""

    features: Features
    """Named values."""
    segment_key: Annotated[str, Field(max_length=256)] | None = None
    """As of a single prediction."""


class BatchAsked(Asked):
    """Rows to predict."""

    rows: Annotated[list[PredictRow], Field(min_length=1, max_length=MAX_ROWS)]
    """The rows."""
    model: str = "default"
    """Registered model."""


class PredictError(Answered):
    """Why one row has no answer."""

    code: str
    """Stable code of the error."""
    message: str
    """What was wrong, and what to do."""


class BatchRow(Answered):
    """One row's answer, or its error."""

    request_id: str
    """Names the row in the audit."""
    prediction: float | None = Absent
    """As of a single prediction."""
    confidence: float | None = Absent
    """As of a single prediction."""
    model_version: str | None = Absent
    """As of a single prediction."""
    label: str | None = Absent
    """As of a single prediction."""
    label_probs: dict[str, float] | None = Absent
    """As of a single prediction."""
    truncated: bool | None = Absent
    """As of a single prediction."""
    shadow_diff: float | None = Absent
    """As of a single prediction."""
    error: PredictError | None = Absent
    """Why there is no answer; the other rows have theirs."""


class BatchAnswered(Answered):
    """The answers."""

    results: list[BatchRow]
    """One for each row, in order."""


class LabelAsked(Asked):
    """The truth about one prediction."""

    request_id: Annotated[FilledText, Field(max_length=200)]
    """Names the prediction."""
    label: str | float | bool
    """The true class, or number."""


class LabelsAsked(Asked):
    """Truths that became known."""

    labels: Annotated[list[LabelAsked], Field(min_length=1, max_length=MAX_LABELS)]
    """One for each prediction; a later one corrects an earlier."""


class LabelsAnswered(Answered):
    """What became of them."""

    accepted: int
    """Labels that were kept."""
    unknown: list[str]
    """Predictions that are not there (any more)."""


class RegistryAnswered(Answered):
    """Which versions there are and who answers."""

    available_versions: list[str]
    """Names of all versions of the model."""
    active_version: str
    """The one that answers."""
    shadow_version: str | None
    """First challenger; null without one."""
    shadow_enabled: bool
    """Whether a challenger sees copies."""


class Component(Answered):
    """One part of the service."""

    status: Literal["ok", "degraded", "off"]
    """Whether it does its work."""
    reason: str | None = Absent
    """Why not."""
    details: dict[str, Any]
    """Numbers about it, as `ring_utilisation` of the audit."""


class InferenceHealth(Answered):
    """Whether the service does its work; a failing challenger degrades it and is no error."""

    status: Literal["ok", "degraded"]
    """`degraded` where any part is."""
    components: dict[str, Component]
    """`registry`, `primary`, `shadow`, `audit`, `rollout`, `drift`, `alerts`."""
