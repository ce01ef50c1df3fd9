"""The training curve in an adapter's folder: the losses that a fit saw on its way.

Needs no torch, because it is drawn where no model is.
"""

import math
from dataclasses import asdict
from pathlib import Path

from glassbox.artifacts import read_object, write_json
from glassbox.engine.protocol import FitPoint
from glassbox.errors import CorruptArtifact

CURVE_FILE = "training_curve.json"

CURVE_SCHEMA = 1
"""Version of the layout of that file."""


def write_curve(folder: Path, curve: tuple[FitPoint, ...], best_step: int) -> None:
    """Write the curve and the step whose weights were kept.

    Raises:
        NoDiskSpace: The device is full.
    """
    points = [asdict(point) for point in curve]
    write_json(
        folder / CURVE_FILE,
        {"schema_version": CURVE_SCHEMA, "best_step": best_step, "points": points},
    )


def read_curve(folder: Path) -> tuple[FitPoint, ...]:
    """Return the points of the curve, one at least.

    Raises:
        CorruptArtifact: The file is missing, damaged, or of another version of Glassbox.
    """
    path = folder / CURVE_FILE
    content = read_object(path, schema=CURVE_SCHEMA)
    try:
        curve = tuple(FitPoint(**point) for point in content["points"])
        whole = bool(curve) and all(map(_is_number, (v for p in curve for v in vars(p).values())))
    except (KeyError, TypeError) as error:
        raise CorruptArtifact(path, f"its points are incomplete ({error})") from error
    if not whole:
        raise CorruptArtifact(path, "its points are missing or hold something else than numbers")
    return curve


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
