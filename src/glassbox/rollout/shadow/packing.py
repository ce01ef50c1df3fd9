"""Answers as JSON and back. What a challenger says is checked here: all of it."""

import math
from collections.abc import Mapping
from typing import Any

from glassbox.errors import CorruptArtifact, NonFiniteOutput
from glassbox.rollout.prediction import Prediction
from glassbox.types import is_number


def packed(answer: object) -> dict[str, Any]:
    """Return an answer as JSON values.

    Raises:
        CorruptArtifact: It is no ``Prediction``.
        NonFiniteOutput: A number in it is NaN or infinite.
    """
    if not isinstance(answer, Prediction):
        raise CorruptArtifact("answer", f"it is no Prediction but of type {type(answer).__name__}")
    probs = None if answer.label_probs is None else dict(answer.label_probs)
    tell = {
        "prediction": float(answer.prediction),
        "confidence": None if answer.confidence is None else float(answer.confidence),
        "label": answer.label,
        "label_probs": None if probs is None else {k: float(v) for k, v in probs.items()},
        "summaries": {k: float(v) for k, v in answer.summaries.items()},
        "truncated": bool(answer.truncated),
    }
    _require_finite(tell)
    return tell


def unpacked(told: object) -> Prediction:
    """Return the answer that ``packed`` wrote.

    Raises:
        CorruptArtifact: It is no answer.
        NonFiniteOutput: A number in it is NaN or infinite.
    """
    if not isinstance(told, dict) or not is_number(told.get("prediction")):
        raise CorruptArtifact("answer", "it has no number 'prediction'")
    confidence, label = told.get("confidence"), told.get("label")
    probs, summaries = told.get("label_probs"), told.get("summaries") or {}
    if not (confidence is None or is_number(confidence)):
        raise CorruptArtifact("answer", "'confidence' is no number")
    if not (label is None or isinstance(label, str)):
        raise CorruptArtifact("answer", "'label' is no text")
    for each in (probs, summaries):
        if not (each is None or (isinstance(each, dict) and all(map(is_number, each.values())))):
            raise CorruptArtifact("answer", "'label_probs' and 'summaries' hold numbers by name")
    _require_finite(told)
    truncated = told.get("truncated", False)
    if not isinstance(truncated, bool):
        raise CorruptArtifact("answer", "'truncated' is neither true nor false")
    return Prediction(float(told["prediction"]), confidence, label, probs, summaries, truncated)


def _require_finite(tell: Mapping[str, Any]) -> None:
    numbers = [tell["prediction"], tell.get("confidence"), *(tell.get("summaries") or {}).values()]
    numbers += (tell.get("label_probs") or {}).values()
    if not all(each is None or math.isfinite(each) for each in numbers):
        raise NonFiniteOutput("The version answered NaN or infinity where a number was needed.")
