"""What is known of one prediction: the events that happen to it, and the record that they make.

A record is never written. It is the view over its events: the answer, what challengers would have
said, labels that came later, an erasure. Knows no database.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from glassbox.errors import InvalidValue

PredictionStatus = Literal["success", "error"]
"""How a prediction ended."""

ShadowStatus = Literal[
    "pending", "ok", "error", "timeout", "dropped", "sampled_out", "breaker_open", "disabled"
]
"""How a challenger's copy of a request ended; ``pending`` until it has."""

Arm = Literal["champion", "challenger"]
"""Which version answered: a canary's challenger answers a share."""

ShadowRole = Literal["challenger", "noise_floor"]
"""Whether a second answer is a challenger's, or the champion's own once more."""


def segment_of(said: str) -> tuple[str, str]:
    """Return the feature and the value that a segment is written with, as ``country=SE``.

    Raises:
        InvalidValue: There is no feature, or no equals sign.
    """
    name, sign, value = said.partition("=")
    if not name or not sign:
        raise InvalidValue("segment", said, "NAME=VALUE of a feature, as country=SE")
    return name, value


@dataclass(frozen=True, slots=True)
class PrimaryEvent:
    """A request was answered, or failed."""

    request_id: str
    """Names the request; unique."""
    time_s: float
    """Unix time of the answer."""
    model: str
    """Registered model that was asked."""
    model_version: str
    """Unique name of the version that answered."""
    feature_hash: str
    """Hash of the features under the scheme it begins with, as in ``v1:k1:…``."""
    latency_ms: float
    """Milliseconds that the version took."""
    status: PredictionStatus
    """Whether there was an answer."""
    prediction: float | None = None
    """The number answered: for classes, the probability of the first label; None after an error."""
    confidence: float | None = None
    """Largest probability, [0, 1]; None where the version has none."""
    label: str | None = None
    """Most probable class, for classifiers."""
    label_probs: Mapping[str, float] | None = None
    """Probability of every class, for classifiers."""
    arm: Arm = "champion"
    """Who answered."""
    rollout_id: str = ""
    """Rollout under way, if any."""
    revision: int = 0
    """Revision of the registry that the request was answered under."""
    segments: Mapping[str, str] = field(default_factory=dict)
    """Values of the features that the summary is broken down by."""
    features: Mapping[str, Any] = field(default_factory=dict)
    """Values of the features on the allow-list; nothing else of a request is kept."""
    summaries: Mapping[str, float] = field(default_factory=dict)
    """Numbers that stand for what is not kept, as ``n_tokens`` or a summary of hidden states."""
    error_code: str = ""
    """Code of the error, after one."""


@dataclass(frozen=True, slots=True)
class ShadowEvent:
    """A challenger's copy of a request ended, well or not."""

    request_id: str
    """The request."""
    time_s: float
    """Unix time."""
    shadow_version: str
    """Unique name of the version that saw the copy."""
    status: ShadowStatus
    """How it ended; never ``pending``."""
    role: ShadowRole = "challenger"
    """Whether it is a challenger, or the champion against itself."""
    prediction: float | None = None
    """As of the answer."""
    confidence: float | None = None
    """As of the answer."""
    label: str | None = None
    """As of the answer."""
    label_probs: Mapping[str, float] | None = None
    """As of the answer."""
    diff: float | None = None
    """Difference to the answer: absolute, or total variation distance for classes; None without."""
    latency_ms: float | None = None
    """Milliseconds that it took in its own process, waiting not counted."""


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """The truth about a request became known, maybe late, maybe corrected."""

    request_id: str
    """The request."""
    time_s: float
    """Unix time at which it was told."""
    label: str | float
    """The true class, or number."""
    actor: str
    """Who told it."""


@dataclass(frozen=True, slots=True)
class ErasureEvent:
    """What was kept of a request was removed; its place in the chain stays."""

    request_id: str
    """The request."""
    time_s: float
    """Unix time."""
    actor: str
    """Who asked for it."""
    reason: str
    """Why."""


InferenceEvent = PrimaryEvent | ShadowEvent | LabelEvent | ErasureEvent
"""Everything that can happen to a prediction."""


@dataclass(frozen=True, slots=True)
class InferenceRecord:
    """A prediction as it stands now: the view over its events."""

    primary: PrimaryEvent
    """The answer."""
    shadows: tuple[ShadowEvent, ...] = ()
    """What challengers would have said, in the order in which they ended."""
    label: LabelEvent | None = None
    """The latest truth told."""
    sequence: int = 0
    """Place of the answer in the durable log; 0 where it is not there yet."""
