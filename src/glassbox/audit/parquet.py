"""Predictions as a Parquet file, one row each, for whatever else reads such files.

Rows come in the order of their answers and are written a piece at a time; the file appears whole
or not at all. Knows neither the log's chain nor its tables.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from glassbox.audit.log import Head
from glassbox.audit.records import InferenceRecord, ShadowEvent
from glassbox.errors import NoDiskSpace

SCHEMA_VERSION: Final = "1"
"""Changes with the columns."""

ROWS_AT_ONCE: Final = 10_000
"""Rows of one piece of the file."""

_PROBS: Final = pa.map_(pa.string(), pa.float64())

SHADOW: Final = pa.struct(
    [
        ("shadow_version", pa.string()),
        ("role", pa.string()),
        ("status", pa.string()),
        ("time_s", pa.float64()),
        ("prediction", pa.float64()),
        ("confidence", pa.float64()),
        ("label", pa.string()),
        ("label_probs", _PROBS),
        ("diff", pa.float64()),
        ("latency_ms", pa.float64()),
    ]
)
"""One challenger's copy."""

SCHEMA: Final = pa.schema(
    [
        ("sequence", pa.int64()),
        ("request_id", pa.string()),
        ("time_s", pa.float64()),
        ("model", pa.string()),
        ("model_version", pa.string()),
        ("arm", pa.string()),
        ("status", pa.string()),
        ("error_code", pa.string()),
        ("latency_ms", pa.float64()),
        ("prediction", pa.float64()),
        ("confidence", pa.float64()),
        ("label", pa.string()),
        ("label_probs", _PROBS),
        ("true_label", pa.string()),
        ("true_label_time_s", pa.float64()),
        ("feature_hash", pa.string()),
        ("segments", pa.map_(pa.string(), pa.string())),
        ("features", pa.string()),
        ("summaries", _PROBS),
        ("rollout_id", pa.string()),
        ("revision", pa.int64()),
        ("shadows", pa.list_(SHADOW)),
    ]
)
"""Columns. ``features`` is JSON, because its values may be of any type; so is ``true_label``, a
text or a number."""


def export(records: Iterable[InferenceRecord], path: Path, *, head: Head | None = None) -> int:
    """Write records to a Parquet file and return how many there were.

    Args:
        records: As ``InferenceStore.range`` yields them.
        path: The file; one that is there is replaced once the new one is whole.
        head: End of the log at the time, kept in the file's metadata.

    Raises:
        NoDiskSpace: The file cannot be written.
    """
    metadata = {"glassbox.schema_version": SCHEMA_VERSION}
    if head is not None:
        metadata |= {"glassbox.head": f"{head.sequence}:{head.hash}"}
    schema = SCHEMA.with_metadata(metadata)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    n_rows = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for rows in _pieces(map(_row, records)):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                n_rows += len(rows)
        part.replace(path)
    except OSError as error:
        raise NoDiskSpace(f"{path} could not be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return n_rows


def _pieces(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while piece := list(islice(rows, ROWS_AT_ONCE)):
        yield piece


def _row(record: InferenceRecord) -> dict[str, Any]:
    primary, label = record.primary, record.label
    row = {name: getattr(primary, name, None) for name in SCHEMA.names}
    return row | {
        "sequence": record.sequence,
        "label_probs": _pairs(primary.label_probs),
        "true_label": None if label is None else orjson.dumps(label.label).decode(),
        "true_label_time_s": None if label is None else label.time_s,
        "segments": _pairs(primary.segments),
        "features": orjson.dumps(dict(primary.features)).decode(),
        "summaries": _pairs(primary.summaries),
        "shadows": [_shadow(each) for each in record.shadows],
    }


def _shadow(shadow: ShadowEvent) -> dict[str, Any]:
    row = {field.name: getattr(shadow, field.name) for field in SHADOW}
    return row | {"label_probs": _pairs(shadow.label_probs)}


def _pairs(mapping: Any) -> list[tuple[str, Any]] | None:
    return None if mapping is None else list(mapping.items())
