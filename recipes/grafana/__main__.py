"""Writes ``infra/grafana/glassbox.json``: ``python -m recipes.grafana``.

The dashboard is made here so that its panels stay alike; a test holds file and program together and
every metric in it against what the server has.
"""

import json
from pathlib import Path
from typing import Any

from recipes.grafana.board import SOURCE, Board

TARGET = Path(__file__).parents[2] / "infra" / "grafana" / "glassbox.json"
"""What is written."""

HERE = 'instance=~"$instance"'
"""Only the servers that were chosen."""

VERSION = f'{HERE}, model_version=~"$version"'
"""Only the versions that were chosen."""

RATE = "$__rate_interval"
"""Grafana's own window."""


def quantile(q: float, name: str, labels: str, by: str) -> str:
    """Return the PromQL of a histogram's quantile."""
    return (
        f"histogram_quantile({q}, sum by (le, {by}) (rate(glassbox:{name}_bucket{{{labels}}}"
        f"[{RATE}])))"
    )


def mean(name: str, labels: str, by: str) -> str:
    """Return the PromQL of a histogram's mean."""
    part = f"sum by ({by}) (rate(glassbox:{name}_{{}}{{{{{labels}}}}}[{RATE}]))"
    return f"{part.format('sum')} / {part.format('count')}"


def panels() -> list[dict[str, Any]]:
    """Return every panel, in its place."""
    board = Board()
    _predictions(board)
    _challenger(board)
    _rollout(board)
    _drift(board)
    _alerts(board)
    _text(board)
    return board.panels


def _predictions(board: Board) -> None:
    primary = f'{VERSION}, role="primary"'
    board.row("Predictions")
    board.number(
        "Predictions a second",
        "Answers of the versions chosen above.",
        (f"sum(rate(glassbox:inference_requests_total{{{primary}}}[{RATE}]))", ""),
        "reqps",
    )
    board.number(
        "Without error",
        "Share of the latest window without error.",
        (f"min(glassbox:inference_window_success_ratio{{{HERE}}})", ""),
        "percentunit",
    )
    board.number(
        "Shadow difference",
        "Mean difference of the challenger to the answer, over the latest window.",
        (f"max(glassbox:inference_window_shadow_difference{{{HERE}}})", ""),
    )
    board.number(
        "Components",
        "1 is well, 0 is degraded; a degraded shadow never harms an answer.",
        (f"min by (component) (glassbox:component_healthy{{{HERE}}})", "{{component}}"),
        width=8,
    )
    board.number(
        "Alerts that fire",
        "By severity; see glassbox alerts list.",
        (f"max by (severity) (glassbox:alerts_firing{{{HERE}}})", "{{severity}}"),
    )
    by = "sum by (model_version, status)"
    board.lines(
        "Answers",
        "By version and how they ended.",
        (
            f"{by} (rate(glassbox:inference_requests_total{{{primary}}}[{RATE}]))",
            "{{model_version}} {{status}}",
        ),
        unit="reqps",
    )
    board.lines(
        "Latency of answers",
        "What the version took; waiting and the network are not in it.",
        *(
            (
                quantile(q, "inference_latency_seconds", primary, "model_version"),
                f"{{{{model_version}}}} p{q * 100:g}",
            )
            for q in (0.5, 0.95, 0.99)
        ),
        unit="s",
    )
    board.heat(
        "Confidence",
        "Where confidence moves, something about the requests or the version moved.",
        (
            f"sum by (le) (increase(glassbox:inference_confidence_bucket{{{VERSION}}}[{RATE}]))",
            "{{le}}",
        ),
        "percentunit",
    )


def _challenger(board: Board) -> None:
    second = f'{VERSION}, role!="primary"'
    board.row("Challengers")
    board.lines(
        "Mean difference",
        "A challenger's difference to the answer; noise_floor is the champion against itself.",
        (
            mean("inference_shadow_difference", VERSION, "model_version, role"),
            "{{model_version}} {{role}}",
        ),
    )
    board.heat(
        "Differences",
        "How the differences of challengers are spread.",
        (
            "sum by (le) (increase(glassbox:inference_shadow_difference_bucket{"
            f'{VERSION}, role="shadow"}}[{RATE}]))',
            "{{le}}",
        ),
    )
    board.lines(
        "How copies ended",
        "dropped, sampled_out and breaker_open were never computed.",
        (
            "sum by (model_version, role, status) "
            f"(rate(glassbox:inference_requests_total{{{second}}}[{RATE}]))",
            "{{model_version}} {{role}} {{status}}",
        ),
        unit="reqps",
    )
    board.lines(
        "Copies that wait",
        "In each challenger's queue; when it is full, copies are dropped, never answers.",
        (f"max by (challenger) (glassbox:shadow_queue_copies{{{HERE}}})", "{{challenger}}"),
    )
    board.lines(
        "Memory of challengers",
        "Each runs in a process of its own, unless it lives on the resident model.",
        (f"max by (challenger) (glassbox:shadow_resident_bytes{{{HERE}}})", "{{challenger}}"),
        unit="bytes",
    )
    board.number(
        "Breakers",
        "1 where a challenger fails so often that it is given no copies.",
        (f"max by (challenger) (glassbox:shadow_breaker_open{{{HERE}}})", "{{challenger}}"),
        width=8,
    )
    board.lines(
        "Latency of challengers and champion",
        "Median and 99th percentile of each role, in its own process.",
        *(
            (
                quantile(q, "inference_latency_seconds", VERSION, "model_version, role"),
                f"{{{{model_version}}}} {{{{role}}}} p{q * 100:g}",
            )
            for q in (0.5, 0.99)
        ),
        unit="s",
        width=24,
    )


def _rollout(board: Board) -> None:
    one = "max by (challenger, gate)"
    board.row("Rollout")
    board.words(
        "Phase",
        "Phase of the latest rollout.",
        (
            f"max by (challenger, phase) (glassbox:rollout_phase{{{HERE}}})",
            "{{challenger}}: {{phase}}",
        ),
    )
    board.number(
        "Weight",
        "Share of requests that the challenger answers.",
        (f"max by (challenger) (glassbox:rollout_weight_ratio{{{HERE}}})", "{{challenger}}"),
        "percentunit",
    )
    board.number(
        "Paused",
        "1 while somebody holds it.",
        (f"max by (challenger) (glassbox:rollout_paused{{{HERE}}})", "{{challenger}}"),
    )
    board.table(
        "Verdicts",
        "What each gate says now.",
        (
            f"max by (challenger, gate, verdict) (glassbox:rollout_gate_verdict{{{HERE}}})",
            "",
        ),
    )
    board.lines(
        "Gates",
        "Value with its anytime-valid interval, and the limit.",
        (f"{one} (glassbox:rollout_gate_value{{{HERE}}})", "{{gate}}"),
        (f"{one} (glassbox:rollout_gate_low{{{HERE}}})", "{{gate}} low"),
        (f"{one} (glassbox:rollout_gate_high{{{HERE}}})", "{{gate}} high"),
        (f"{one} (glassbox:rollout_gate_limit{{{HERE}}})", "{{gate}} limit"),
        width=16,
    )
    board.lines(
        "Evidence",
        "Requests that each gate rests on.",
        (f"{one} (glassbox:rollout_gate_requests{{{HERE}}})", "{{gate}}"),
    )


def _drift(board: Board) -> None:
    by = "max by (feature)"
    board.row("Drift and quality")
    board.lines(
        "Effect as a share of its limit",
        "1 is the size from which a feature's change counts.",
        (
            f"{by} (glassbox:drift_effect{{{HERE}}})"
            f" / {by} (glassbox:drift_effect_limit{{{HERE}}})",
            "{{feature}}",
        ),
    )
    board.lines(
        "Features that drifted",
        "Beyond the limit, and not by chance among so many features.",
        (f"sum(max by (feature) (glassbox:drift_detected{{{HERE}}}))", "features"),
    )
    board.lines(
        "Quality",
        "Estimated from confidence, and measured where labels came; each beside its reference.",
        (f"max by (metric, source) (glassbox:quality{{{HERE}}})", "{{metric}} by {{source}}"),
        (
            f"max by (metric, source) (glassbox:quality_reference{{{HERE}}})",
            "{{metric}} by {{source}}, reference",
        ),
        unit="percentunit",
    )
    board.number(
        "Latest comparison",
        "Seconds since the latest comparison with the reference.",
        (f"time() - max(glassbox:drift_report_timestamp_seconds{{{HERE}}})", ""),
        "s",
    )
    board.number(
        "Labels a minute",
        "Truths told about predictions.",
        (f"60 * sum(rate(glassbox:inference_labels_total{{{HERE}}}[{RATE}]))", ""),
    )


def _alerts(board: Board) -> None:
    board.row("Audit and alerts")
    board.lines(
        "Window",
        "How full the window of the summary is.",
        (f"max by (instance) (glassbox:audit_ring_utilisation_ratio{{{HERE}}})", "{{instance}}"),
        unit="percentunit",
    )
    board.lines(
        "Records that wait",
        "Records that are not on the disk yet.",
        (f"max by (instance) (glassbox:audit_queue_records{{{HERE}}})", "{{instance}}"),
    )
    board.number(
        "Records lost",
        "Since the start, because more came than the disk could take; `strict` loses none.",
        (f"sum(glassbox:audit_lost_records{{{HERE}}})", ""),
    )
    board.lines(
        "Messages that wait",
        "Messages that a receiver has not taken; none is lost, but nobody was told.",
        (f"max by (receiver) (glassbox:alert_messages_waiting{{{HERE}}})", "{{receiver}}"),
    )


def _text(board: Board) -> None:
    board.row("Text and HTTP")
    board.lines(
        "Requests in the model",
        "Being computed, and in the queue.",
        (f"sum(glassbox:num_requests_running{{{HERE}}})", "running"),
        (f"sum(glassbox:num_requests_waiting{{{HERE}}})", "waiting"),
    )
    board.lines(
        "Time to first token",
        "From the request to its first token.",
        *(
            (quantile(q, "time_to_first_token_seconds", HERE, "model_name"), f"p{q * 100:g}")
            for q in (0.5, 0.95)
        ),
        unit="s",
    )
    board.lines(
        "Tokens a second",
        "Of prompts, and written.",
        (f"sum(rate(glassbox:prompt_tokens_total{{{HERE}}}[{RATE}]))", "prompts"),
        (f"sum(rate(glassbox:generation_tokens_total{{{HERE}}}[{RATE}]))", "written"),
    )
    board.lines(
        "HTTP by status",
        "All routes.",
        (
            f"sum by (status) (rate(glassbox:http_requests_total{{{HERE}}}[{RATE}]))",
            "{{status}}",
        ),
        unit="reqps",
        width=12,
    )
    board.lines(
        "HTTP by route",
        "95th percentile from request to the end of the answer.",
        (quantile(0.95, "http_request_duration_seconds", HERE, "route"), "{{route}}"),
        unit="s",
        width=12,
    )


def variable(name: str, label: str, metric: str) -> dict[str, Any]:
    """Return a choice of the values that a label has."""
    return {
        "type": "query",
        "name": name,
        "label": label.capitalize().replace("_", " "),
        "datasource": SOURCE,
        "query": {"query": f"label_values({metric}, {label})", "refId": name},
        "definition": f"label_values({metric}, {label})",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def dashboard() -> dict[str, Any]:
    """Return the whole dashboard as Grafana's JSON."""
    return {
        "uid": "glassbox",
        "title": "Glassbox",
        "description": "Predictions, challengers, rollout, drift, audit and text of Glassbox.",
        "tags": ["glassbox"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,
        "annotations": {"list": []},
        "links": [],
        "templating": {
            "list": [
                {
                    "type": "datasource",
                    "name": "datasource",
                    "label": "Prometheus",
                    "query": "prometheus",
                    "refresh": 1,
                    "current": {},
                },
                variable("instance", "instance", "glassbox:http_requests_total"),
                variable("version", "model_version", "glassbox:inference_requests_total"),
            ]
        },
        "panels": panels(),
    }


def text() -> str:
    """Return the file's content."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
