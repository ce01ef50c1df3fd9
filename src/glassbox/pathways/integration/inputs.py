"""What the steps before left behind, as rows: selected latents, pathways, tokens.

A pathway's gradients come from ``candidates.parquet``, its measurements from
``validated_pathways.parquet``, one row for each dose. Nothing is computed here.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from glassbox.artifacts import read_json
from glassbox.errors import CorruptArtifact
from glassbox.pathways.integration.typed import open_table
from glassbox.pathways.integration.values import (
    EVERY_CONDITION,
    DoseEffect,
    LatentRow,
    PathwayRow,
    TokenRow,
)
from glassbox.pathways.replay.validated import SCHEMA
from glassbox.pathways.study.selection import SelectedLatent, Selection

Key = tuple[str, str]
"""Target and source."""

CALIBRATION: Final = (
    "spearman",
    "slope",
    "sign_agreement",
    "within_factor_2",
    "missed_share",
    "missed_share_high",
)
"""Figures of the validation that the study's summary repeats."""

_NEEDED: Final = ("target", "source", "target_layer", "source_layer")


def latent_rows(selection: Selection) -> list[LatentRow]:
    """Return the selected latents with what the patching study says of each."""
    return [_latent_row(each) for each in selection.latents]


def _latent_row(each: SelectedLatent) -> LatentRow:
    evidence = each.evidence
    low, high = each.boot_low, each.boot_high
    if low is None or high is None:
        low, high = evidence.g_low, evidence.g_high
    return LatentRow(
        name=each.name,
        layer=each.latent.layer,
        index=each.latent.index,
        is_causal=evidence.is_causal,
        cohen_d=evidence.cohen_d,
        hedges_g=evidence.hedges_g,
        effect_low=low,
        effect_high=high,
        q=evidence.q,
    )


def pathway_rows(candidates: Path, validated: Path | None) -> list[PathwayRow]:
    """Return the kept candidates, each with what replay measured of it.

    A pathway below the cut that replay verified all the same (exhaustive mode) is among them: with
    its gradients where the file has those of the strongest ones, else with measurements alone.

    Raises:
        CorruptArtifact: A file is damaged or lacks a column.
    """
    table = open_table(candidates)
    _require(candidates, table.column_names, _NEEDED)
    kept, below = table, table.slice(0, 0)
    if "kept" in table.column_names:
        kept, below = table.filter(pc.field("kept")), table.filter(~pc.field("kept"))
    measured = {} if validated is None or not validated.is_file() else _measured(validated)
    rows = [_pathway(key, row, measured.pop(key, ())) for key, row in _by_key(kept).items()]
    found = {key: doses for key, doses in measured.items() if any(d.get("verified") for d in doses)}
    gradients = _by_key(below) if found else {}
    rows += [_pathway(key, gradients.get(key, doses[0]), doses) for key, doses in found.items()]
    return sorted(rows, key=_place_of)


def _by_key(table: pa.Table) -> dict[Key, Mapping[str, Any]]:
    return {(row["target"], row["source"]): row for row in table.to_pylist()}


def _place_of(row: PathwayRow) -> tuple[int, str, int, str]:
    return (row.target_layer, row.target, row.source_layer, row.source)


def _measured(path: Path) -> dict[Key, list[Mapping[str, Any]]]:
    table = open_table(path)
    _require(path, table.column_names, ("target", "source", "dose"))
    found: dict[Key, list[Mapping[str, Any]]] = {}
    for row in table.to_pylist():
        found.setdefault((row["target"], row["source"]), []).append(row)
    return found


def _pathway(key: Key, row: Mapping[str, Any], doses: Sequence[Mapping[str, Any]]) -> PathwayRow:
    main = next((each for each in doses if each["dose"] == "ablate"), doses[0] if doses else {})
    floats = {
        name: _float(row.get(name))
        for name in (
            "gradient_mean", "gradient_sd", "attribution_mean", "attribution_share", "direct",
            "mediated", "same_position_share",
        )
    }  # fmt: skip
    return PathwayRow(
        target=key[0],
        source=key[1],
        target_layer=int(row["target_layer"]),
        source_layer=int(row["source_layer"]),
        n_contexts=_int(row.get("n_contexts")),
        n_active=_int(row.get("n_active")),
        path=row.get("path"),
        mode=row.get("mode"),
        doses=tuple(
            DoseEffect(
                dose=each["dose"],
                predicted_pre=_float(each.get("predicted_pre")),
                measured_pre=_float(each.get("measured_pre")),
                measured_post=_float(each.get("measured_post")),
                flips=_float(each.get("flips")),
                n_measured=_int(each.get("n_measured")) or 0,
            )
            for each in doses
        ),
        sign_agreement=_float(main.get("sign_agreement")),
        p=_float(main.get("p")),
        q=_float(main.get("q")),
        verified=None if main.get("verified") is None else bool(main["verified"]),
        **floats,
    )


def token_rows(path: Path) -> list[TokenRow]:
    """Return the associations that hold after correction.

    Raises:
        CorruptArtifact: The file is damaged or lacks a column.
    """
    table = open_table(path)
    _require(path, table.column_names, ("latent", "token"))
    if "significant" in table.column_names:
        table = table.filter(pc.field("significant"))
    floats = ("log_odds", "z", "pmi", "p", "q", "p_shift", "q_shift", "activation_mean")
    return [
        TokenRow(
            latent=row["latent"],
            token=row["token"],
            token_id=_int(row.get("token_id")),
            condition=row.get("condition") or EVERY_CONDITION,
            offset=_int(row.get("offset")) or 0,
            n_fires=_int(row.get("n_fires")),
            n_token=_int(row.get("n_token")),
            **{name: _float(row.get(name)) for name in floats},
        )
        for row in table.to_pylist()
    ]


def replay_summary(validated: Path) -> dict[str, float]:
    """Return how well predictions held, from ``validated_pathways.json``; empty where absent.

    Raises:
        CorruptArtifact: The file is damaged or of another schema.
    """
    if not validated.is_file():
        return {}
    content = read_json(validated)
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        raise CorruptArtifact(
            validated,
            f"its schema is {found!r}; this Glassbox reads {SCHEMA}",
            remedy="Validate anew, or use the version of Glassbox that wrote it.",
        )
    try:
        summary = content["summary"]
        return {name: float(summary[name]) for name in CALIBRATION if summary.get(name) is not None}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptArtifact(validated, f"not what 'validate' writes ({error})") from error


def _require(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise CorruptArtifact(path, f"has no column {', '.join(missing)}")


def _float(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
