"""``causal_features.json``: the selected latents in the study's own field names.

Source: the study's plan, "Step 1", for the file's name and the fields feature, layer, feature_id,
is_causal and cohen_d.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from glassbox.artifacts import read_json, write_json
from glassbox.errors import CorruptArtifact
from glassbox.pathways.latents import LatentId
from glassbox.pathways.study.report import LatentEvidence
from glassbox.pathways.study.report_file import evidence_row
from glassbox.pathways.study.selection import LayerSelection, SelectedLatent, Selection

SCHEMA: Final = 1
"""Version of the layout."""

_FIGURES: Final = (
    "boot_low",
    "boot_high",
    "delta",
    "delta_low",
    "delta_high",
    "rate_difference",
    "rate_low",
    "rate_high",
)


def write_selection(selection: Selection, path: Path) -> None:
    """Write the file whole or not at all.

    Raises:
        NoDiskSpace: The device is full.
    """
    write_json(path, selection_json(selection))


def read_selection(path: Path) -> Selection:
    """Return the selection that ``write_selection`` wrote.

    Raises:
        CorruptArtifact: The file is absent, damaged or of another schema.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        raise CorruptArtifact(path, f"its schema is {found!r}; this Glassbox reads {SCHEMA}")
    try:
        return Selection(
            latents=tuple(_selected(each) for each in content["latents"]),
            layers=tuple(LayerSelection(**each) for each in content["layers"]),
            rule=content["rule"],
            top_per_layer=content["top_per_layer"],
            q=content["q"],
            left_out=content["left_out"],
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptArtifact(path, f"not what a selection writes ({error})") from error


def selection_json(selection: Selection) -> dict[str, Any]:
    """Return the content of ``causal_features.json``."""
    return {
        "schema": SCHEMA,
        "n_latents": len(selection.latents),
        "n_expected_by_chance": selection.expected_by_chance,
        "rule": selection.rule,
        "top_per_layer": selection.top_per_layer,
        "q": selection.q,
        "left_out": selection.left_out,
        "layers": [asdict(each) for each in selection.layers],
        "latents": [_row(each) for each in selection.latents],
    }


def _row(each: SelectedLatent) -> dict[str, Any]:
    row = evidence_row(each.evidence)
    treated, baseline = row.pop("treated"), row.pop("baseline")
    row["contrast"] = None if treated is None else [treated, baseline]
    return row | {
        "rank": each.rank,
        "selected_by": list(each.reasons),
        **{name: getattr(each, name) for name in _FIGURES},
    }


def _selected(content: Mapping[str, Any]) -> SelectedLatent:
    row = dict(content)
    name, latent = row.pop("feature"), LatentId(row.pop("layer"), row.pop("feature_id"))
    if latent.name != name:
        raise ValueError(f"{name} is not {latent.name}")
    rank, reasons = row.pop("rank"), row.pop("selected_by")
    figures = {name: row.pop(name) for name in _FIGURES}
    contrast = row.pop("contrast")
    evidence = LatentEvidence(
        latent=latent, contrast=None if contrast is None else (contrast[0], contrast[1]), **row
    )
    return SelectedLatent(evidence, rank, tuple(reasons), **figures)
