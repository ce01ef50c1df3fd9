"""``candidates.parquet``: the gradients, one row for each target and source, and the cut."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from glassbox.artifacts import write_bytes
from glassbox.errors import CorruptArtifact
from glassbox.pathways.discovery.cut import Cut, candidates
from glassbox.pathways.discovery.gradients import ContextGradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.sections import DiscoverSection

BELOW: Final = 2
"""Rows below the cut that are kept with it, as a multiple of ``discover.top``, by rank."""

_CONSIDERED: Final = b"n_considered"

_COLUMNS: Final = pa.schema(
    [
        ("target", pa.string()),
        ("source", pa.string()),
        ("target_layer", pa.int64()),
        ("target_index", pa.int64()),
        ("source_layer", pa.int64()),
        ("source_index", pa.int64()),
        ("n_contexts", pa.int64()),
        ("n_active", pa.int64()),
        ("gradient_mean", pa.float64()),
        ("gradient_sd", pa.float64()),
        ("attribution_mean", pa.float64()),
        ("attribution_share", pa.float64()),
        ("direct", pa.float64()),
        ("mediated", pa.float64()),
        ("same_position_share", pa.float64()),
        ("kept", pa.bool_()),
        ("rank", pa.int64()),
        ("path", pa.string()),
        ("mode", pa.string()),
    ]
)
"""Said and not inferred: a sweep that found nothing leaves columns without a value."""


@dataclass(frozen=True)
class Written:
    """What the file says of all pathways."""

    n_kept: int
    """Pathways above the cut."""
    n_considered: int
    """Pairs of target and source that the sweep looked at."""
    n_excluded: int
    """Firings at excluded positions, which are no sources."""


def cut_of(settings: DiscoverSection) -> Cut:
    """Return the cut that a configuration asks for."""
    least = settings.min_share if settings.cut == "share" else settings.min_gradient
    return Cut(settings.cut, least, settings.top, settings.rank_by)


def write_candidates(
    found: Iterable[ContextGradients], settings: DiscoverSection, path: Path
) -> Written:
    """Write all pathways above the cut, and the strongest below it; returns what there was.

    Args:
        found: Gradients in the order of the contexts.
        settings: The cut.
        path: The file; it appears whole or not at all.
    """
    cut = cut_of(settings)
    table = candidates(found, cut, near=BELOW * settings.top)
    shown = pa.table(table.columns(), schema=_COLUMNS)
    written = Written(len(table.kept), sum(table.n_sources.values()), table.n_excluded)
    shown = shown.replace_schema_metadata(
        {
            _CONSIDERED: str(written.n_considered),
            "n_excluded": str(written.n_excluded),
            "cut": cut.rule,
            "least": repr(cut.least),
            "unit": cut.unit,
            "rank_by": cut.rank_by,
        }
    )
    content = BytesIO()
    pq.write_table(shown, content)
    write_bytes(path, content.getvalue())
    return written


def read_kept(path: Path) -> tuple[set[tuple[LatentId, LatentId]], int]:
    """Return (target, source) of the pathways above the cut, and how many pairs there were in all.

    Raises:
        CorruptArtifact: The file is damaged or lacks a column.
    """
    try:
        table = pq.read_table(path, columns=["target", "source", "kept"])
        n_considered = int((table.schema.metadata or {})[_CONSIDERED])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise CorruptArtifact(path, f"not what 'discover' writes ({error})") from error
    kept = table.filter(table["kept"])
    names = zip(kept["target"].to_pylist(), kept["source"].to_pylist(), strict=True)
    return {(LatentId.parse(t), LatentId.parse(s)) for t, s in names}, n_considered
