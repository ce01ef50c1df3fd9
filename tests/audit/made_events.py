"""Events of predictions for tests."""

from typing import Any

from glassbox.audit import new_request_id
from glassbox.audit.records import LabelEvent, PrimaryEvent, ShadowEvent


def primary(request_id: str | None = None, **changes: Any) -> PrimaryEvent:
    """Return an answer, like those of a classifier unless something else is said."""
    fields: dict[str, Any] = {
        "request_id": request_id or new_request_id(),
        "time_s": 1_000_000.25,
        "model": "default",
        "model_version": "default_model_v1",
        "feature_hash": "v1:k1:" + "ab" * 16,
        "latency_ms": 12.5,
        "status": "success",
        "prediction": 0.75,
        "confidence": 0.75,
        "label": "positive",
        "label_probs": {"positive": 0.75, "negative": 0.25},
    }
    return PrimaryEvent(**{**fields, **changes})


def shadow(request_id: str, **changes: Any) -> ShadowEvent:
    """Return a challenger's copy that ended well."""
    fields: dict[str, Any] = {
        "request_id": request_id,
        "time_s": 1_000_000.5,
        "shadow_version": "default_model_v2",
        "status": "ok",
        "prediction": 0.72,
        "confidence": 0.72,
        "diff": 0.03,
        "latency_ms": 30.0,
    }
    return ShadowEvent(**{**fields, **changes})


def label(request_id: str, **changes: Any) -> LabelEvent:
    """Return a truth told."""
    fields: dict[str, Any] = {
        "request_id": request_id,
        "time_s": 1_000_001.0,
        "label": "negative",
        "actor": "key1",
    }
    return LabelEvent(**{**fields, **changes})
