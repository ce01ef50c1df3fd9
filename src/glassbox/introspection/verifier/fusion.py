"""From the values of checks to one calibrated uncertainty.

A fusion is a logistic regression over the checks' values with a calibrator and a threshold, each
fitted on rows of its own. It needs all of its checks; a verifier keeps a full one and a lean one,
so that a missing check never has to be guessed. Knows nothing of engines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from glassbox.errors import CorruptArtifact
from glassbox.introspection.evidence.checks import features, owners
from glassbox.introspection.verdict import Origin
from glassbox.stats.classification.balanced_logistic import LogisticFit


@dataclass(frozen=True)
class Judgement:
    """What a fusion makes of one row."""

    uncertainty: float
    """Calibrated probability of being wrong, [0, 1]."""
    contributions: Mapping[str, float]
    """What each check added to the calibrated log-odds of being right, against an average row."""


@dataclass(frozen=True, eq=False)
class Fusion:
    """Checks weighed, calibrated, and a threshold."""

    origin: Origin
    """Whose responses it was fitted on."""
    checks: tuple[str, ...]
    """Checks it needs, in order."""
    fit: LogisticFit
    """Weights over their features."""
    slope: float
    """Calibrator: log-odds are multiplied by this,"""
    offset: float
    """and this is added."""
    max_uncertainty: float | None
    """Greatest uncertainty that is accepted; None where no level keeps the promise."""
    promise: str
    """What that threshold promises, or what it would take."""
    n_rows: int
    """Rows the weights were fitted on."""

    def uncertainties(
        self, rows: Sequence[Mapping[str, float]], *, calibrated: bool = True
    ) -> Float[np.ndarray, " n"]:
        """Return each row's probability of being wrong."""
        logits = self.fit.logits(features(rows, self.checks))
        if calibrated:
            logits = self.slope * logits + self.offset
        return np.asarray(expit(-logits))

    def judge(self, values: Mapping[str, float]) -> Judgement:
        """Return the uncertainty of one row and what each check did to it."""
        terms = self.slope * self.fit.terms(features([values], self.checks))[0]
        added = np.zeros(len(self.checks))
        np.add.at(added, owners(self.checks), terms)
        uncertainty = float(self.uncertainties([values])[0])
        return Judgement(
            uncertainty, {name: float(x) for name, x in zip(self.checks, added, strict=True)}
        )

    def accepts(self, uncertainty: float) -> bool:
        """Whether a response of that uncertainty is accepted."""
        return self.max_uncertainty is not None and uncertainty <= self.max_uncertainty

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "origin": self.origin,
            "checks": list(self.checks),
            "mean": self.fit.mean.tolist(),
            "scale": self.fit.scale.tolist(),
            "weight": self.fit.weight.tolist(),
            "bias": self.fit.bias,
            "slope": self.slope,
            "offset": self.offset,
            "max_uncertainty": self.max_uncertainty,
            "promise": self.promise,
            "n_rows": self.n_rows,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, source: str) -> Self:
        """Return the fusion that ``to_json`` wrote.

        Raises:
            CorruptArtifact: A field is missing or of the wrong length.
        """
        try:
            checks = tuple(content["checks"])
            mean, scale, weight = (
                np.asarray(content[name], dtype=np.float64) for name in ("mean", "scale", "weight")
            )
            n_features = len(owners(checks))
            if not len(mean) == len(scale) == len(weight) == n_features:
                raise CorruptArtifact(source, f"{n_features} weights expected for {checks}")
            limit = content["max_uncertainty"]
            return cls(
                origin=content["origin"],
                checks=checks,
                fit=LogisticFit(mean, scale, weight, float(content["bias"])),
                slope=float(content["slope"]),
                offset=float(content["offset"]),
                max_uncertainty=None if limit is None else float(limit),
                promise=str(content["promise"]),
                n_rows=int(content["n_rows"]),
            )
        except (KeyError, TypeError) as error:
            raise CorruptArtifact(source, f"a fusion lacks {error}") from error


def choose(
    fusions: Sequence[Fusion], origin: Origin, available: Mapping[str, float]
) -> Fusion | None:
    """Return the fusion with the most checks among those whose checks are all there.

    One fitted on responses of the same origin goes before one that was not; None where none fits.
    """
    fitting = [each for each in fusions if all(name in available for name in each.checks)]
    return max(fitting, key=lambda each: (each.origin == origin, len(each.checks)), default=None)
