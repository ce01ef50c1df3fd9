"""How kept predictions look on a terminal and as JSON lines. Asks no database."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from glassbox.cli.terminal.console import Column, note, print_table
from glassbox.wording import counted, percent

if TYPE_CHECKING:
    from glassbox.audit import Summary
    from glassbox.audit.log import Verification as ActionsVerified
    from glassbox.audit.record_queries import StoreCounts
    from glassbox.audit.records import InferenceRecord
    from glassbox.audit.verification import Verification


def entry(record: "InferenceRecord") -> dict[str, Any]:
    """Return one prediction in one line, fields named as over HTTP."""
    primary, label = record.primary, record.label
    line: dict[str, Any] = {
        "request_id": primary.request_id,
        "timestamp": primary.time_s,
        "model": primary.model,
        "model_version": primary.model_version,
        "feature_hash": primary.feature_hash,
        "latency_ms": primary.latency_ms,
        "prediction": primary.prediction,
        "confidence": primary.confidence,
        "status": primary.status,
        "label": primary.label,
        "label_probs": primary.label_probs,
        "arm": primary.arm,
        "error_code": primary.error_code or None,
        "true_label": None if label is None else label.label,
        "segments": dict(primary.segments),
        "features": dict(primary.features),
        "sequence": record.sequence,
    }
    shadow = next((each for each in record.shadows if each.role == "challenger"), None)
    if shadow is not None:
        line |= {
            "shadow_version": shadow.shadow_version,
            "shadow_status": shadow.status,
            "shadow_prediction": shadow.prediction,
            "shadow_diff": shadow.diff,
            "shadow_latency_ms": shadow.latency_ms,
        }
    return line


def show_records(records: Sequence["InferenceRecord"]) -> None:
    """Print predictions, one line each."""
    if not records:
        note("No such predictions are kept.")
        return
    lines = [entry(each) for each in records]
    print_table(
        [
            Column("when (UTC)", wraps=False),
            Column("request", wraps=False),
            "version",
            "status",
            "answer",
            Column("prediction", "right"),
            Column("confidence", "right"),
            Column("ms", "right"),
            Column("shadow diff", "right"),
            "truth",
        ],
        [
            (
                f"{datetime.fromtimestamp(line['timestamp'], UTC):%m-%d %H:%M:%S}",
                line["request_id"],
                line["model_version"],
                line["error_code"] or line["status"],
                line["label"],
                _number(line["prediction"]),
                _number(line["confidence"]),
                _number(line["latency_ms"], 1),
                _number(line.get("shadow_diff")),
                line["true_label"],
            )
            for line in lines
        ],
    )


def show_summary(found: "Summary", kept: "StoreCounts") -> None:
    """Print the numbers of a window."""
    latency = found.latency_percentiles_ms
    levels = (latency.p50, latency.p90, latency.p95, latency.p99)
    spread = " / ".join(_number(each, 1) or "-" for each in levels)
    window = f"{found.rolling_count:,} ({percent(found.ring_utilisation)} of the window is used)"
    rows = [
        ("predictions", window),
        ("answered", _share(found.success_rate, found.error_count)),
        ("mean latency", _number(found.avg_latency_ms, 1, " ms")),
        ("latency p50 / p90 / p95 / p99", f"{spread} ms" if found.rolling_count else None),
        ("mean prediction", _number(found.prediction_mean)),
        ("shadow difference, mean", _number(found.shadow_avg_diff)),
        ("shadow difference, least to largest", _between(found)),
        ("copies of the window", ", ".join(_copies(found))),
        (
            "kept on the disk",
            f"{counted(kept.n_events, 'event')}, {kept.n_body_bytes:,} bytes of content",
        ),
    ]
    print_table(["the latest", ""], [row for row in rows if row[1]])
    if found.rolling_count:
        bins = [*found.confidence_histogram.items(), ("none or NaN", found.n_without_confidence)]
        print_table(["confidence", Column("predictions", "right")], bins)
    groups = [("version", "", each) for each in found.versions]
    groups += [("segment", name, each) for name, those in found.segments.items() for each in those]
    if groups:
        print_table(
            [
                "by",
                "",
                Column("n", "right"),
                Column("ms", "right"),
                Column("mean", "right"),
                "errors",
            ],
            [
                (
                    f"{kind} {name}".strip(),
                    each.value,
                    each.count,
                    _number(each.avg_latency_ms, 1),
                    _number(each.prediction_mean),
                    each.error_count,
                )
                for kind, name, each in groups
            ],
        )


def verdict(predictions: "Verification", actions: "ActionsVerified") -> list[tuple[object, ...]]:
    """Return the lines of a verification."""
    return [
        (
            "predictions",
            f"{predictions.n_events:,}",
            f"{predictions.n_erased:,}",
            f"{predictions.n_removed:,}",
            f"{predictions.head.sequence}:{predictions.head.hash}",
        ),
        (
            "actions",
            f"{actions.n_events:,}",
            None,
            None,
            f"{actions.head.sequence}:{actions.head.hash}",
        ),
    ]


def _copies(found: "Summary") -> list[str]:
    return [f"{count:,} {status}" for status, count in sorted(found.shadow_counts.items()) if count]


def _between(found: "Summary") -> str | None:
    if found.shadow_min_diff is None:
        return None
    return f"{_number(found.shadow_min_diff)} to {_number(found.shadow_max_diff)}"


def _share(rate: float | None, n_errors: int) -> str | None:
    return None if rate is None else f"{percent(rate, 2)}, {n_errors:,} failed"


def _number(value: float | None, digits: int = 4, unit: str = "") -> str | None:
    return None if value is None else f"{value:.{digits}f}{unit}"
