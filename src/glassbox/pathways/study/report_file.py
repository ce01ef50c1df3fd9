"""The audit's files: ``data_validation.json`` for people and scripts, and a table of the evidence.

The names that the study's plan gives its result stand at the top level of the JSON; what a later
step reads is the Parquet table beside it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from glassbox.artifacts import atomic_file, read_object, write_json
from glassbox.errors import CorruptArtifact
from glassbox.pathways.latents import LatentId
from glassbox.pathways.study.faults import Fault
from glassbox.pathways.study.report import AuditReport, LatentEvidence, StudyStatistics
from glassbox.stats.effects.max_statistic import SplitHalf

SCHEMA: Final = 1
"""Version of the layout of both files."""

VALIDATION_FILE: Final = "data_validation.json"
EVIDENCE_FILE: Final = "latent_evidence.parquet"

_COLUMNS: Final = pa.schema(
    [
        ("feature", pa.string()),
        ("layer", pa.int32()),
        ("feature_id", pa.int64()),
        ("is_causal", pa.bool_()),
        ("is_faulty", pa.bool_()),
        ("cohen_d", pa.float64()),
        ("treated", pa.string()),
        ("baseline", pa.string()),
        ("n_responses", pa.int64()),
        ("n_treated", pa.int32()),
        ("n_baseline", pa.int32()),
        ("recomputed_d", pa.float64()),
        ("hedges_g", pa.float64()),
        ("g_low", pa.float64()),
        ("g_high", pa.float64()),
        ("p", pa.float64()),
        ("p_from", pa.string()),
        ("q", pa.float64()),
        ("p_max", pa.float64()),
        ("d_odd", pa.float64()),
        ("d_even", pa.float64()),
        ("zero_variance", pa.bool_()),
    ]
)


def write_report(report: AuditReport, folder: Path) -> tuple[Path, Path]:
    """Write both files whole or not at all and return their paths.

    Raises:
        NoDiskSpace: The device is full.
    """
    table = pa.Table.from_pylist([evidence_row(each) for each in report.latents], schema=_COLUMNS)
    evidence = folder / EVIDENCE_FILE
    with atomic_file(evidence) as file:
        pq.write_table(table, file, compression="zstd")
    validation = folder / VALIDATION_FILE
    write_json(validation, report_json(report))
    return validation, evidence


def read_report(folder: Path) -> AuditReport:
    """Return the report that ``write_report`` wrote.

    Raises:
        CorruptArtifact: A file is absent, damaged or of another schema.
    """
    path = folder / VALIDATION_FILE
    content = read_object(path, schema=SCHEMA)
    try:
        found = content["audit_results"]
        return AuditReport(
            errors=tuple(Fault.from_json(each) for each in found["errors"]),
            warnings=tuple(Fault.from_json(each) for each in found["warnings"]),
            error_counts=found["error_counts"],
            warning_counts=found["warning_counts"],
            files=content["files"],
            causal_by_layer={int(key): n for key, n in content["causal_by_layer"].items()},
            n_joinable=content["joinable_features"],
            condition_counts=content["condition_counts"],
            latents=_read_evidence(folder / EVIDENCE_FILE),
            statistics=_statistics(content["statistics"]),
            logs_only=tuple(content["logs_only"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CorruptArtifact(path, f"not what an audit writes ({error})") from error


def report_json(report: AuditReport) -> dict[str, Any]:
    """Return the content of ``data_validation.json``.

    Source: the study's plan, "Step 0", for the names at the top level and in ``audit_results``.
    """
    statistics = asdict(report.statistics)
    half = report.statistics.split_half
    if half is not None:
        statistics["split_half"]["shrinkage"] = half.shrinkage
    return {
        "schema_version": SCHEMA,
        "validated": report.validated,
        "causal_by_layer": {str(layer): n for layer, n in report.causal_by_layer.items()},
        "total_causal_features": report.n_causal,
        "joinable_features": report.n_joinable,
        "condition_counts": dict(report.condition_counts),
        "files": dict(report.files),
        "statistics": statistics,
        "logs_only": list(report.logs_only),
        "evidence": EVIDENCE_FILE,
        "audit_results": {
            "validated": report.validated,
            "error_counts": dict(report.error_counts),
            "warning_counts": dict(report.warning_counts),
            "errors": [each.to_json() for each in report.errors],
            "warnings": [each.to_json() for each in report.warnings],
        },
    }


def evidence_row(each: LatentEvidence) -> dict[str, Any]:
    """Return a latent's evidence as a row of the table."""
    row = {name: getattr(each, name, None) for name in _COLUMNS.names}
    treated, baseline = each.contrast or (None, None)
    return row | {
        "feature": each.name,
        "layer": each.latent.layer,
        "feature_id": each.latent.index,
        "treated": treated,
        "baseline": baseline,
    }


def _read_evidence(path: Path) -> tuple[LatentEvidence, ...]:
    try:
        rows = pq.read_table(path, schema=_COLUMNS).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise CorruptArtifact(path, f"not the audit's table ({error})") from error
    return tuple(_evidence(row) for row in rows)


def _evidence(row: dict[str, Any]) -> LatentEvidence:
    row.pop("feature")
    latent = LatentId(row.pop("layer"), row.pop("feature_id"))
    treated, baseline = row.pop("treated"), row.pop("baseline")
    contrast = None if treated is None else (treated, baseline)
    return LatentEvidence(latent=latent, contrast=contrast, **row)


def _statistics(content: Mapping[str, Any]) -> StudyStatistics:
    fields = dict(content)
    half = fields.pop("split_half")
    contrast = fields.pop("contrast")
    if half is not None:
        half = SplitHalf(**{name: value for name, value in half.items() if name != "shrinkage"})
    return StudyStatistics(
        contrast=None if contrast is None else (contrast[0], contrast[1]),
        split_half=half,
        **fields,
    )
