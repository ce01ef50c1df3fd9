"""What the answers depend on in a window, against the reference. Needs no model, only records."""

from typing import Final

import numpy as np
from jaxtyping import Float

from glassbox.rollout.drift.report import Importance
from glassbox.rollout.drift.windows import Column, Window
from glassbox.stats.drift.importance import LEAST_ROWS, importance_drift
from glassbox.stats.drift.population_stability import binned, frozen_cuts

IMPORTANCE_ROWS: Final = 2000
"""Rows of each window: the random splits go over them 200 times."""

LEVEL: Final = 0.01
"""P-value from which importances have changed."""

LEAST_CHANGE: Final = 0.02
"""Mean change of the explained shares that counts."""


def importance(reference: Window, window: Window) -> Importance | None:
    """Return what the answers depend on; None without two features that are always there."""
    if reference.model_version != window.model_version:
        return None
    if not all(_is_whole(each.column("prediction")) for each in (reference, window)):
        return None
    names = [
        before.name
        for before in reference.columns
        if before.group in ("feature", "text")
        and before.kind == "numeric"
        and _is_whole(before)
        and _is_whole(window.column(before.name))
    ]
    if len(names) < 2 or min(reference.n_rows, window.n_rows) < LEAST_ROWS:
        return None
    cuts = {name: frozen_cuts(np.sort(_values(reference, name))) for name in names}
    sides = []
    for each in (reference, window):
        n_rows = min(each.n_rows, IMPORTANCE_ROWS)
        rows = np.arange(n_rows) * each.n_rows // n_rows
        bins = np.stack([binned(_values(each, name)[rows], cuts[name]) for name in names], axis=1)
        sides.append((bins, _values(each, "prediction")[rows]))
    drift = importance_drift(*sides)
    return Importance(
        tuple(names),
        drift.reference,
        drift.current,
        drift.rank_correlation,
        drift.distance,
        drift.p_value,
        changed=drift.p_value <= LEVEL and drift.distance > LEAST_CHANGE,
    )


def _is_whole(column: Column | None) -> bool:
    return column is not None and bool(column.is_there.all())


def _values(window: Window, name: str) -> Float[np.ndarray, " n"]:
    column = window.column(name)
    return np.empty(0) if column is None else column.values
