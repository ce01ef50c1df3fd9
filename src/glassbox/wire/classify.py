"""``POST /v1/classify``: texts to labels with a calibrated confidence."""

from typing import Annotated, Literal

from pydantic import Field

from glassbox.wire.shapes import Absent, Answered, Asked

MAX_TEXTS = 2048
"""Most texts in one request."""


class ClassifyAsked(Asked):
    """Texts to label."""

    texts: Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)]
    """The texts."""
    model: str | None = None
    """Name or digest of a served classifier or of its adapter (without one: of the base model), or
    `models:/NAME@ALIAS`, `models:/NAME/NUMBER` of a registered one that answers; null is the only
    served one, or the first."""


class RowError(Answered):
    """Why one text has no answer."""

    code: str
    """Stable code of the error."""
    message: str
    """What was wrong, and what to do."""


class LabelAnswered(Answered):
    """The answer to one text."""

    index: int
    """Number of the text, from 0."""
    request_id: str | None = Absent
    """Name of its record in the audit; absent where the server keeps none."""
    label: str | None = Absent
    """Most probable class."""
    confidence: float | None = Absent
    """Its calibrated probability, [0, 1]."""
    label_probs: dict[str, float] | None = Absent
    """Calibrated probability of every class; they sum to 1."""
    raw_confidence: float | None = Absent
    """Probability that the model itself gave to its most probable class, [0, 1]."""
    label_mass: float | None = Absent
    """Probability that the model says any label at all, [0, 1]; low means off task."""
    decision: Literal["automate", "review"] | None = Absent
    """Whether the confidence reaches the threshold; absent without a safe threshold."""
    truncated: bool | None = Absent
    """True where the end of the text was cut to fit the model's context; absent elsewhere."""
    error: RowError | None = Absent
    """Why there is no answer; the other texts have theirs."""


class ClassifyAnswered(Answered):
    """The answers."""

    object: Literal["list"] = "list"
    """What this is."""
    model: str
    """Classifier that answered."""
    classifier_digest: str
    """Digest of its manifest: model, adapter, prompt, labels, calibrator, threshold."""
    calibrated: bool
    """Whether a fitted calibrator stands behind the confidence."""
    threshold: float | None
    """Confidence from which an answer may be automated; null without a safe one."""
    data: list[LabelAnswered]
    """One for each text, in order."""
