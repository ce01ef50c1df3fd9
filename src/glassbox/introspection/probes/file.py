"""A probe as a folder: ``probe.json`` says what it is, ``probe.safetensors`` holds its direction.

Both carry digests; an edited or half-copied folder is refused. Listing probes reads the JSON
alone, so it needs neither torch nor safetensors.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from glassbox.artifacts import digest_json, read_object, write_bytes, write_json
from glassbox.errors import CorruptArtifact, UnknownName
from glassbox.introspection.probes.probe import LinearProbe, ProbeModel
from glassbox.stats.calibrators.choice import calibrator_from_json
from glassbox.stats.classification.linear_probe import LinearRule
from glassbox.types import HookPoint

PROBE_SCHEMA: Final = 1
"""Version of the layout of ``probe.json``."""

PROBE_FILE: Final = "probe.json"
"""Name of the description in a probe's folder."""

TENSOR_FILE: Final = "probe.safetensors"
"""Name of the file of its vectors: ``weight``, ``mean`` and ``scale``, one number a dimension."""


def save_probe(probe: LinearProbe, folder: Path) -> Path:
    """Write a probe's folder and return it; files appear whole or not at all.

    Raises:
        NoDiskSpace: The device is full.
    """
    from safetensors.numpy import save

    rule = probe.rule
    content = save(
        {
            name: np.ascontiguousarray(vector, dtype=np.float64)
            for name, vector in (
                ("weight", rule.weight), ("mean", rule.mean), ("scale", rule.scale),
            )
        }
    )  # fmt: skip
    write_bytes(folder / TENSOR_FILE, content)
    fields: dict[str, Any] = {
        "name": probe.name,
        "target": probe.target,
        "model": asdict(probe.model),
        "point": asdict(probe.point),
        "pooling": probe.pooling,
        "scope": probe.scope,
        "kind": probe.kind,
        "bias": rule.bias,
        "calibrator": probe.calibrator.to_json(),
        "threshold_logit": probe.threshold_logit,
        "max_fpr": probe.max_fpr,
        "made_from": probe.made_from,
        "trained_on": sorted(probe.trained_on),
        "tensors": hashlib.sha256(content).hexdigest(),
        "figures": dict(probe.figures),
    }
    header = {"schema_version": PROBE_SCHEMA, "digest": digest_json(fields)}
    write_json(folder / PROBE_FILE, header | fields)
    return folder


def load_probe(path: Path) -> LinearProbe:
    """Return the probe in a folder (or of a ``probe.json``).

    Raises:
        UnknownName: There is no probe there.
        CorruptArtifact: A file is damaged, absent, edited, or of another schema.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    fields = describe_probe(path)
    folder = path.parent if path.name == PROBE_FILE else path
    tensors = folder / TENSOR_FILE
    try:
        content = tensors.read_bytes()
    except FileNotFoundError as error:
        raise CorruptArtifact(tensors, "the file is missing") from error
    if hashlib.sha256(content).hexdigest() != fields["tensors"]:
        raise CorruptArtifact(
            tensors,
            f"its content does not match the digest in {PROBE_FILE}",
            remedy="Train the probe again or restore the folder.",
        )
    try:
        vectors = load(content)
        probe = _probe(fields, vectors, folder)
    except (SafetensorError, KeyError, TypeError) as error:
        raise CorruptArtifact(folder, f"the probe is incomplete ({error})") from error
    width = probe.model.d_model
    for name, vector in vectors.items():
        if vector.shape != (width,) or not np.isfinite(vector).all():
            raise CorruptArtifact(tensors, f"{name} is not {width} finite numbers")
    return probe


def describe_probe(path: Path) -> dict[str, Any]:
    """Return the fields of a probe's ``probe.json`` after checking its digest.

    Raises:
        UnknownName: There is no probe there.
        CorruptArtifact: Damaged, edited, or of another schema.
    """
    file = path if path.name == PROBE_FILE else path / PROBE_FILE
    if not file.is_file():
        known = [str(each) for each in find_probes(path)] if path.is_dir() else []
        raise UnknownName(
            "probe", str(path), known, remedy="Make one with 'glassbox probes train'."
        )
    fields = read_object(file, schema=PROBE_SCHEMA)
    fields.pop("schema_version")
    if fields.pop("digest", None) != digest_json(fields):
        raise CorruptArtifact(
            file,
            "its content does not match the digest it carries",
            remedy="It was edited or damaged: train the probe again or restore the file.",
        )
    return fields


def find_probes(folder: Path) -> list[Path]:
    """Return the probe folders in a folder and up to two levels below it, sorted."""
    found = {
        each.parent for depth in ("", "*/", "*/*/") for each in folder.glob(depth + PROBE_FILE)
    }
    return sorted(found)


def _probe(
    fields: Mapping[str, Any], vectors: Mapping[str, np.ndarray], folder: Path
) -> LinearProbe:
    return LinearProbe(
        name=fields["name"],
        target=fields["target"],
        model=ProbeModel(**fields["model"]),
        point=HookPoint(**fields["point"]),
        pooling=fields["pooling"],
        scope=fields["scope"],
        kind=fields["kind"],
        rule=LinearRule(
            vectors["weight"], float(fields["bias"]), vectors["mean"], vectors["scale"]
        ),
        calibrator=calibrator_from_json(fields["calibrator"], source=str(folder / PROBE_FILE)),
        threshold_logit=fields["threshold_logit"],
        max_fpr=fields["max_fpr"],
        made_from=fields["made_from"],
        trained_on=frozenset(fields["trained_on"]),
        figures=fields["figures"],
    )
