"""Associations as files: one JSON for reading, one Parquet for counting on.

The JSON holds, for each latent, its tokens and the texts in which it fires most; the Parquet holds
the same pairs as rows. Figures that do not exist are null, never NaN.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from glassbox.artifacts import atomic_file, write_json
from glassbox.pathways.association.associating import Associations
from glassbox.pathways.association.top_contexts import TopContext, top_contexts
from glassbox.pathways.corpus.activations import Activations
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.sections import TokensSection

ASSOCIATIONS_SCHEMA = 1
"""Version of the layout of both files."""

_ROW_TYPES = {
    "latent": pa.string(),
    "token": pa.string(),
    "token_id": pa.int32(),
    "condition": pa.string(),
    "offset": pa.int16(),
    "n_fires": pa.int32(),
    "n_latent": pa.int32(),
    "n_token": pa.int32(),
    "n_positions": pa.int64(),
    "activation_mean": pa.float64(),
    "log_odds": pa.float64(),
    "z": pa.float64(),
    "pmi": pa.float64(),
    "p": pa.float64(),
    "q": pa.float64(),
    "p_shift": pa.float64(),
    "q_shift": pa.float64(),
    "significant": pa.bool_(),
}
"""Columns of the Parquet file; ``n_fires`` counts positions where latent and token are both."""

_FIELDS = {"n_fires": "n_both"}


class Decoder(Protocol):
    """The part of an engine's codec that turns tokens into text."""

    def token(self, token_id: int) -> str:
        """Return one token as it reads behind other text."""
        ...


def write_associations(
    found: Associations,
    activations: Activations,
    corpus: Corpus,
    codec: Decoder,
    settings: TokensSection,
    path: Path,
) -> tuple[Path, Path]:
    """Write both files and return their paths: the JSON, and the Parquet beside it.

    Args:
        found: The associations.
        activations: They were found in.
        corpus: Its texts.
        codec: Turns token ids into text.
        settings: As they were made with; ``top`` says how many contexts of each latent are kept.
        path: Of the JSON; the Parquet has its name with another ending.

    Raises:
        NoDiskSpace: The device is full.
    """

    @cache
    def text(token_id: int) -> str:
        return codec.token(token_id)

    table = association_table(found, text)
    parquet = path.with_suffix(".parquet")
    with atomic_file(parquet) as file:
        pq.write_table(table, file)
    rows = _by_latent(table, found)
    n_counted = int(corpus.is_counted.sum())
    latents = [
        _latent(activations, corpus, column, rows[column], (n_counted, settings.top), text)
        for column in range(len(found.latents))
    ]
    content = {
        "schema_version": ASSOCIATIONS_SCHEMA,
        "corpus_digest": activations.corpus_digest,
        "source_digest": activations.source_digest,
        "settings": settings.model_dump(mode="json"),
        "corpus": corpus.summary(),
        "conditions": list(found.conditions),
        "families": [asdict(each) for each in found.families],
        "latents": latents,
    }
    write_json(path, content)
    return path, parquet


def association_table(found: Associations, text: Callable[[int], str]) -> pa.Table:
    """Return the pairs as a table, in their order.

    Args:
        found: The associations.
        text: The text of a token id.
    """
    rows = found.rows
    names = [each.name for each in found.latents]
    columns: dict[str, Any] = {
        name: getattr(rows, _FIELDS.get(name, name))
        for name in _ROW_TYPES
        if name not in ("latent", "token", "condition")
    }
    columns["latent"] = [names[each] for each in rows.latent.tolist()]
    columns["token"] = [text(each) for each in rows.token_id.tolist()]
    columns["condition"] = [found.conditions[each] for each in rows.condition.tolist()]
    arrays = [
        pa.array(columns[name], type=kind, from_pandas=True) for name, kind in _ROW_TYPES.items()
    ]
    schema = pa.schema(list(_ROW_TYPES.items()), {"schema_version": str(ASSOCIATIONS_SCHEMA)})
    return pa.Table.from_arrays(arrays, schema=schema)


def _by_latent(table: pa.Table, found: Associations) -> list[list[dict[str, Any]]]:
    """Return each latent's rows, in the table's order, without its name."""
    rows: list[list[dict[str, Any]]] = [[] for _ in found.latents]
    for column, row in zip(found.rows.latent.tolist(), table.to_pylist(), strict=True):
        row.pop("latent")
        rows[column].append({name: _finite(value) for name, value in row.items()})
    return rows


def _latent(
    activations: Activations,
    corpus: Corpus,
    column: int,
    rows: list[dict[str, Any]],
    sizes: tuple[int, int],
    text: Callable[[int], str],
) -> dict[str, Any]:
    """Return one latent's entry of the JSON."""
    n_counted, top = sizes
    latent = activations.latents[column]
    values = activations.value[activations.entries_of(column)].astype(np.float64)
    return {
        "feature": latent.name,
        "layer": latent.layer,
        "feature_id": latent.index,
        "n_active": len(values),
        "active_share": len(values) / max(1, n_counted),
        "activation_mean": float(values.mean()) if len(values) else None,
        "activation_max": float(values.max()) if len(values) else None,
        "tokens": rows,
        "contexts": [
            _context(each, text) for each in top_contexts(activations, corpus, column, top)
        ],
    }


def _context(context: TopContext, text: Callable[[int], str]) -> dict[str, Any]:
    return {
        "document_id": context.document_id,
        "start": context.start,
        "peak": context.peak,
        "part": context.part,
        "conditions": list(context.conditions),
        "tokens": [text(each) for each in context.token_ids],
        "activations": [round(float(each), 6) for each in context.activations],
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
