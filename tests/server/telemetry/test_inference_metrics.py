"""What is counted of predictions and shown of rollouts, and that nothing breaks a scrape."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from glassbox.audit.records import ErasureEvent, LabelEvent, PrimaryEvent, ShadowEvent
from glassbox.server.telemetry.gauges import SHOWN
from glassbox.server.telemetry.inference_metrics import InferenceMetrics
from glassbox.server.telemetry.metrics import Metrics

ANSWERS = {
    "summary": {"ring_utilisation": 0.5, "success_rate": 0.99, "shadow_avg_diff": None},
    "health": {
        "components": {
            "audit": {"status": "ok", "details": {"queue": 3, "overflowed": 0}},
            "shadow": {
                "status": "degraded",
                "details": {
                    "challengers": {"v2": {"breaker": "open", "queue": 7, "resident_bytes": 4096}}
                },
            },
            "drift": {"status": "off"},
        }
    },
    "rollout": {
        "challenger": "v2",
        "weight": 0.1,
        "paused": False,
        "phase": "Progressing",
        "gates": [
            {"name": "difference", "value": 0.01, "low": 0.0, "high": 0.02, "limit": 0.05,
             "verdict": "pass", "n": 40},
            {"name": "latency", "value": None, "low": None, "high": None, "limit": 0.1,
             "verdict": "not_enough_data", "n": 0},
        ],
    },
    "drift": {
        "time_s": 1_800_000_000.0,
        "features": [{"name": "age", "effect": 0.3, "limit": 0.1, "drifted": True}],
        "estimate": {"metric": "accuracy", "value": 0.9, "reference": 0.95},
        "realised": None,
    },
    "alerts": {"firing": [{"severity": "warn"}], "waiting": {"team": 2}},
}  # fmt: skip


def primary(**values):
    known = {
        "request_id": "r", "time_s": 1.0, "model": "default", "model_version": "v1",
        "feature_hash": "h", "latency_ms": 3.0, "status": "success",
    }  # fmt: skip
    return PrimaryEvent(**{**known, **values})


def read(metrics: InferenceMetrics, registry: CollectorRegistry, name: str, **labels: str):
    return registry.get_sample_value(f"glassbox:{name}", labels)


def made(**options):
    registry = CollectorRegistry()
    return InferenceMetrics(registry, **options), registry


def test_every_event_is_counted_under_its_version_and_role():
    metrics, registry = made()
    metrics.observe(primary(confidence=0.9))
    metrics.observe(primary(status="error", confidence=None))
    metrics.observe(ShadowEvent("r", 1.0, "v2", "ok", diff=0.04, latency_ms=20.0))
    metrics.observe(ShadowEvent("r", 1.0, "v2", "dropped"))
    metrics.observe(ShadowEvent("r", 1.0, "v1", "ok", role="noise_floor", diff=0.0))
    metrics.observe(LabelEvent("r", 1.0, "positive", "somebody"))
    metrics.observe(ErasureEvent("r", 1.0, "somebody", "asked"))

    def counted(version: str, role: str, status: str) -> float | None:
        return read(
            metrics, registry, "inference_requests_total",
            model_version=version, role=role, status=status,
        )  # fmt: skip

    assert counted("v1", "primary", "success") == counted("v1", "primary", "error") == 1
    assert counted("v2", "shadow", "ok") == counted("v2", "shadow", "dropped") == 1
    assert counted("v1", "noise_floor", "ok") == 1
    shadow = {"model_version": "v2", "role": "shadow"}
    assert read(metrics, registry, "inference_latency_seconds_count", **shadow) == 1
    assert math.isclose(read(metrics, registry, "inference_latency_seconds_sum", **shadow), 0.02)
    assert read(metrics, registry, "inference_shadow_difference_bucket", le="0.05", **shadow) == 1
    assert read(metrics, registry, "inference_shadow_difference_bucket", le="0.025", **shadow) == 0
    assert read(metrics, registry, "inference_confidence_count", model_version="v1") == 1
    assert read(metrics, registry, "inference_labels_total") == 1


def test_what_is_no_number_is_counted_but_not_measured():
    metrics, registry = made()
    metrics.observe(primary(confidence=math.nan, latency_ms=math.inf))
    metrics.observe(ShadowEvent("r", 1.0, "v2", "ok", diff=math.nan, latency_ms=None))
    assert read(metrics, registry, "inference_confidence_count", model_version="v1") is None
    assert (
        read(metrics, registry, "inference_requests_total",
             model_version="v1", role="primary", status="success")
        == 1
    )  # fmt: skip


def test_the_answers_are_shown_as_gauges():
    metrics, registry = made(clock=lambda: 5.0)
    metrics.show(ANSWERS)
    shown = lambda name, **labels: read(metrics, registry, name, **labels)  # noqa: E731
    assert shown("audit_ring_utilisation_ratio") == 0.5
    assert shown("audit_queue_records") == 3
    assert shown("audit_lost_records") == 0
    assert shown("shadow_queue_copies", challenger="v2") == 7
    assert shown("shadow_breaker_open", challenger="v2") == 1
    assert shown("shadow_resident_bytes", challenger="v2") == 4096
    assert shown("inference_window_shadow_difference") is None
    assert shown("component_healthy", component="audit") == 1
    assert shown("component_healthy", component="shadow") == 0
    assert shown("component_healthy", component="drift") is None
    assert shown("rollout_phase", challenger="v2", phase="Progressing") == 1
    assert shown("rollout_weight_ratio", challenger="v2") == 0.1
    assert shown("rollout_paused", challenger="v2") == 0
    gate = {"challenger": "v2", "gate": "difference"}
    assert [shown(f"rollout_gate_{key}", **gate) for key in ("value", "low", "high", "limit")] == [
        0.01, 0.0, 0.02, 0.05,
    ]  # fmt: skip
    assert shown("rollout_gate_verdict", verdict="pass", **gate) == 1
    assert shown("rollout_gate_value", challenger="v2", gate="latency") is None
    assert shown("rollout_gate_verdict", challenger="v2", gate="latency",
                 verdict="not_enough_data") == 1  # fmt: skip
    assert shown("drift_detected", feature="age") == 1
    assert shown("quality", metric="accuracy", source="confidence") == 0.9
    assert shown("quality_reference", metric="accuracy", source="confidence") == 0.95
    assert shown("alerts_firing", severity="warn") == 1
    assert shown("alerts_firing", severity="error") == 0
    assert shown("alert_messages_waiting", receiver="team") == 2
    assert shown("state_timestamp_seconds") == 5.0


def test_before_anything_is_shown_the_gauges_are_absent():
    metrics, registry = made()
    names = {family.name for family in registry.collect() if family.samples}
    assert names == {"glassbox:inference_labels"}
    assert {f"glassbox:{each.name}" for each in SHOWN} <= {f.name for f in metrics.describe()}


SHAPES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["components", "gates", "features", "estimate", "firing", "waiting", "name",
                         "audit", "status", "weight", "phase", "severity", "details", "value",
                         "shadow", "challengers", "breaker"]),
        inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["summary", "health", "rollout", "drift", "alerts"]), SHAPES)
)
def test_no_answer_however_odd_breaks_a_scrape(answers):
    metrics = Metrics()
    metrics.inference.show(answers)
    families = list(text_string_to_metric_families(metrics.text().decode()))
    assert any(family.name == "glassbox:state_timestamp_seconds" for family in families)


def test_the_server_s_metrics_hold_them():
    metrics = Metrics()
    metrics.inference.observe(primary())
    assert b'glassbox:inference_requests_total{model_version="v1"' in metrics.text()
