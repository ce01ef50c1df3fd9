"""A linear probe: one direction in the hidden states of one model, with all that makes it usable.

It is read while the model runs: a ``Readout`` gives its log-odds at every position, and because it
is linear, the log-odds of the pooled state follow from those without a further pass. Knows nothing
of files (``file``) and of how it was fitted (``training``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from glassbox.engine.protocol import EngineInfo
from glassbox.engine.requests import CapturedStates, Generation, Readout
from glassbox.errors import AdapterMismatch, InvalidValue
from glassbox.stats.calibrators.parametric import Calibrator
from glassbox.stats.classification.linear_probe import LinearRule
from glassbox.types import HookPoint, Scope

ProbePooling = Literal["mean", "last"]
"""How the positions of a scope become the one state that a probe reads."""

ProbeKind = Literal["logistic", "difference-in-means"]
"""How a direction was found."""


@dataclass(frozen=True, eq=False)
class ProbeReading:
    """What a probe says about one answer."""

    probe_logit: float | None
    """Log-odds of the target at the pooled state; None where the scope holds no position."""
    probe_prob: float | None
    """The same, calibrated, in [0, 1]."""
    threshold: float | None
    """Probability from which the probe flags; None where too few rows were there to choose one."""
    flagged: bool | None
    """Whether the threshold is reached; None without a reading or a threshold."""
    token_logits: Float[np.ndarray, " n_positions"]
    """Log-odds at each position of the scope. The probe was fitted on pooled states: a single
    position shows where the pooled value comes from, and is not calibrated."""


@dataclass(frozen=True)
class ProbeModel:
    """The model whose states a probe reads."""

    name: str
    """Name or folder it was loaded from."""
    digest: str
    """SHA-256 over configuration, weights and tokenizer (hex)."""
    d_model: int
    """Width of its states."""
    n_layers: int
    """Blocks."""
    revision: str | None = None
    """Hub revision, where one was named."""
    adapter_digest: str | None = None
    """Digest of the adapter that was active; None is the base model."""


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A fitted probe."""

    name: str
    """Key of its readings."""
    target: str
    """What it finds: the column and the value that counts as positive."""
    model: ProbeModel
    """Whose states it reads."""
    point: HookPoint
    """Where; the layer counts from 0."""
    pooling: ProbePooling
    """How positions become one state."""
    scope: Scope
    """Positions covered."""
    kind: ProbeKind
    """How its direction was found."""
    rule: LinearRule
    """Direction on standardised states, bias, mean and scale."""
    calibrator: Calibrator
    """From the sigmoid of the logit to ``probe_prob``; never turns the order round."""
    threshold_logit: float | None = None
    """Log-odds from which it flags."""
    max_fpr: float | None = None
    """False-positive rate that the threshold keeps, a fraction."""
    made_from: str = ""
    """Digest of the rows and choices that it was fitted with."""
    trained_on: frozenset[str] = frozenset()
    """Short digests of the groups whose rows fitted weights, calibrator or threshold."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, as JSON values."""

    def check(self, info: EngineInfo, adapter_digest: str | None = None) -> None:
        """Do nothing if the probe can read this model.

        Args:
            info: What is resident.
            adapter_digest: Digest of the adapter that answers; None is the base model.

        Raises:
            AdapterMismatch: It was trained on another model, revision, adapter or width.
        """
        if info.d_model != self.model.d_model:
            raise AdapterMismatch(
                f"The probe {self.name!r} reads states of width {self.model.d_model}; the model "
                f"{info.name!r} has width {info.d_model}. Train a probe on this model."
            )
        if info.digest != self.model.digest:
            revision = f", revision {self.model.revision}" if self.model.revision else ""
            raise AdapterMismatch(
                f"The probe {self.name!r} was trained on {self.model.name!r}{revision} (digest "
                f"{self.model.digest}); resident is {info.name!r} (digest {info.digest}). "
                "Directions do not carry over: train a probe on this model, or load that one."
            )
        self._check_adapter(adapter_digest)

    def readout(self) -> Readout:
        """Return the linear reading that gives its log-odds at every position."""
        weight, bias = self.rule.folded()
        return Readout(self.name, self.point, weight.astype(np.float32), bias)

    def read(self, generation: Generation, *, covered: Scope = "all") -> ProbeReading:
        """Return the reading of an answer that carries this probe's readout.

        Args:
            generation: The answer.
            covered: The request's ``readout_scope``; it must hold the probe's scope.

        Raises:
            InvalidValue: The readout was not asked for, or covers too little.
            AdapterMismatch: Another adapter answered than the one it was trained with.
        """
        self._check_adapter(generation.adapter_digest)
        if self.name not in generation.readouts:
            raise InvalidValue(
                "readouts", tuple(generation.readouts), f"with {self.name!r} among them"
            )
        values = self._of_scope(generation, np.asarray(generation.readouts[self.name]), covered)
        return self.reading(values)

    def reading(self, token_logits: Float[np.ndarray, " n_positions"]) -> ProbeReading:
        """Return the reading that follows from the log-odds at each position of the scope."""
        if not len(token_logits):
            threshold = self.threshold
            return ProbeReading(None, None, threshold, None, np.asarray(token_logits))
        pooled = token_logits.mean(dtype=np.float64) if self.pooling == "mean" else token_logits[-1]
        return self._reading(float(pooled), np.asarray(token_logits))

    def read_states(self, states: CapturedStates) -> ProbeReading:
        """Return the reading of captured states, which must hold the probe's pooling.

        Raises:
            InvalidValue: Another point or scope, or the pooling was not captured.
        """
        if states.point != self.point or states.scope != self.scope:
            raise InvalidValue(
                "captured states",
                f"{states.point.site} of layer {states.point.layer}, scope {states.scope}",
                f"{self.point.site} of layer {self.point.layer}, scope {self.scope}",
            )
        nothing = np.zeros(0, dtype=np.float32)
        if not states.n_positions:
            return self.reading(nothing)
        vector = states.mean if self.pooling == "mean" else states.last
        if vector is None:
            raise InvalidValue("pooling of the captured states", "absent", self.pooling)
        return self._reading(float(self.rule.logits(vector[None].astype(np.float64))[0]), nothing)

    def probs(self, logits: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return calibrated probabilities of pooled log-odds, in [0, 1]."""
        prob = expit(np.asarray(logits, dtype=np.float64))
        return np.asarray(self.calibrator.apply(np.stack([1 - prob, prob], axis=1))[:, 1])

    @property
    def threshold(self) -> float | None:
        """Probability from which it flags."""
        if self.threshold_logit is None:
            return None
        return float(self.probs(np.array([self.threshold_logit]))[0])

    @property
    def thresholds(self) -> tuple[float, float] | None:
        """From where it flags, as (log-odds, probability); None without a threshold."""
        threshold = self.threshold
        if self.threshold_logit is None or threshold is None:
            return None
        return self.threshold_logit, threshold

    def _reading(self, logit: float, tokens: Float[np.ndarray, " n"]) -> ProbeReading:
        limit = self.threshold_logit
        return ProbeReading(
            probe_logit=logit,
            probe_prob=float(self.probs(np.array([logit]))[0]),
            threshold=self.threshold,
            flagged=None if limit is None else logit >= limit,
            token_logits=tokens,
        )

    def _of_scope(
        self, generation: Generation, values: Float[np.ndarray, " n"], covered: Scope
    ) -> Float[np.ndarray, " m"]:
        if covered == self.scope:
            return values
        if covered != "all":
            raise InvalidValue(
                "readout_scope", covered, f"'all' or {self.scope!r} for the probe {self.name!r}"
            )
        cut = len(values) - generation.n_response_run
        return values[cut:] if self.scope == "generated" else values[:cut]

    def _check_adapter(self, digest: str | None) -> None:
        if digest != self.model.adapter_digest:
            own, other = (
                f"adapter {each}" if each else "the base model"
                for each in (self.model.adapter_digest, digest)
            )
            raise AdapterMismatch(
                f"The probe {self.name!r} was trained on {own}; {other} answers. Train a probe "
                "with this adapter."
            )
