"""How well gradients foretold what replays measured: ranks, slope and signs over pathways."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from glassbox.pathways.replay.validated import Agreement
from glassbox.stats.intervals import bootstrap_interval, wilson

LEAST_PATHWAYS: Final = 3
"""Fewer pathways than this have no correlation worth the name."""


def agreements(
    predicted: Float[np.ndarray, "pairs doses"],
    measured: Float[np.ndarray, "pairs doses"],
    gaps: Int[np.ndarray, " pairs"],
    doses: Sequence[str],
) -> tuple[Agreement, ...]:
    """Return agreement for each dose over all pathways, then for each number of layers between.

    Args:
        predicted: Mean predicted effect of each pathway; NaN where there is none.
        measured: Mean measured effect.
        gaps: Layers from source to target.
        doses: Their names.
    """
    found = []
    for number, dose in enumerate(doses):
        own = np.isfinite(predicted[:, number]) & np.isfinite(measured[:, number])
        for gap in (None, *np.unique(gaps[own]).tolist()):
            some = own if gap is None else own & (gaps == gap)
            found.append(_agreement(predicted[some, number], measured[some, number], dose, gap))
    return tuple(sorted(found, key=lambda each: each.layer_gap is not None))


def _agreement(
    predicted: Float[np.ndarray, " n"],
    measured: Float[np.ndarray, " n"],
    dose: str,
    gap: int | None,
) -> Agreement:
    n = len(predicted)
    if n < LEAST_PATHWAYS:
        return Agreement(dose, gap, n, None, None, None, None, None, None, None, None)
    same = int((np.sign(predicted) == np.sign(measured)).sum())
    low, high = wilson(same, n)
    squares, products = np.square(predicted), predicted * measured
    slope = bootstrap_interval(
        lambda rows: _ratio(products[rows].sum(axis=1), squares[rows].sum(axis=1)), n
    )
    ratio = _ratio(measured, predicted)
    return Agreement(
        dose=dose,
        layer_gap=gap,
        n=n,
        spearman=spearman(predicted, measured),
        slope=_known(slope.estimate),
        slope_low=_known(slope.low),
        slope_high=_known(slope.high),
        sign_agreement=same / n,
        sign_low=float(low),
        sign_high=float(high),
        within_factor_2=float(((ratio >= 0.5) & (ratio <= 2)).mean()),
    )


def spearman(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float | None:
    """Return the correlation of ranks, ties sharing theirs; none if either does not vary.

    Source: Spearman 1904.
    """
    ranks = [rankdata(each) for each in (first, second)]
    centred = [each - each.mean() for each in ranks]
    spread = float(np.sqrt(np.square(centred[0]).sum() * np.square(centred[1]).sum()))
    return float((centred[0] * centred[1]).sum()) / spread if spread > 0 else None


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below != 0, above / below, np.nan)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
