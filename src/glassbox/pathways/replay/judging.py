"""Judges pathways by what replays measured, against random directions in their sources' place.

Takes the measurements of all texts at once; knows nothing of models.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.agreement import agreements
from glassbox.pathways.replay.cells import BELOW, KEPT, RANDOM, Cells, MeasuredText, joined_cells
from glassbox.pathways.replay.interventions import Dose
from glassbox.pathways.replay.validated import Missed, Validated, ValidatedRow
from glassbox.stats.checking import checked_fraction
from glassbox.stats.effects.pooled_null import fit_random_effects, pooled_p
from glassbox.stats.intervals import clopper_pearson_upper
from glassbox.stats.multiple_testing import benjamini_hochberg

BOUND_LEVEL: Final = 0.95
"""Confidence of the bound on what was missed."""


def judge(
    measured: Sequence[MeasuredText],
    doses: Sequence[Dose],
    *,
    q: float = 0.05,
    n_considered: int | None = None,
    n_kept: int | None = None,
    path: str = "past",
) -> Validated:
    """Return which pathways replay verifies, and how predictions did.

    A pathway's effect at the first dose is held against those of random directions that stand in
    for its source's, in the same text at the same positions (``pooled_null``): its distance
    from their mean in units of their spread, averaged over the texts that have them. The p-value
    is the share of single random effects that are as far from the others.
    The false discovery rate is held over all pairs that were looked at, so that having chosen the
    strongest by their gradients makes no discoveries of its own. Verified is what passes at the
    first dose with the sign that was predicted.

    Args:
        measured: What each text gave.
        doses: The doses of the replay, in its order.
        q: False discovery rate, a fraction.
        n_considered: (target, source) pairs that the sweep looked at, in all texts together; None
            adds up the texts' own, which counts a pair once for each text: the safe side.
        n_kept: Pathways to be replayed; None counts those that were measured.
        path: What the replays went, for the record.

    Raises:
        NotEnoughData: No pathway was measured: sources and targets share no text.
        InvalidValue: ``q`` outside (0, 1).
        InvalidData: Fewer pairs looked at than measured.
    """
    checked_fraction("q", q)
    cells = joined_cells(each.cells for each in measured)
    kept = cells.take(cells.kind == KEPT)
    if not len(kept):
        raise NotEnoughData(
            "Validation", 0, 1, unit="pathway",
            remedy="In no text is a source active before a target of its pathways: look at the "
            "contexts and at the cut.",
        )  # fmt: skip
    null = cells.take(cells.kind == RANDOM)
    scale = _Scale(null, cells)
    pairs = _Pairs(kept, len(doses))
    looked_at = n_considered
    if looked_at is None:
        looked_at = sum(each.n_considered for each in measured)
    if looked_at < pairs.n:
        raise InvalidData(f"{pairs.n} pathways were measured and only {looked_at} looked at")
    # Random directions were written at the first dose, so that it alone can be held against them.
    first = kept.take(kept.dose == 0)
    mean_z, n_tested = _tested(first, scale)
    p = scale.p(mean_z)
    adjusted = _adjusted(p, looked_at)
    predicted, pre = pairs.mean(kept.predicted), pairs.mean(kept.pre)
    signs = np.where(np.isnan(predicted), 0.0, np.sign(predicted) * np.sign(pre))
    agrees = np.isnan(predicted[:, 0]) | (signs[:, 0] > 0)
    verified: Bool[np.ndarray, " pairs"] = (adjusted <= q) & agrees
    return Validated(
        rows=_rows(pairs, kept, doses, (mean_z, p, adjusted, n_tested), verified),
        agreement=agreements(predicted, pre, pairs.gaps, [dose.name for dose in doses]),
        missed=_missed(measured, cells, scale, np.abs(mean_z[verified])),
        q_level=q,
        n_considered=looked_at,
        n_kept=pairs.n if n_kept is None else n_kept,
        n_unmeasured=0 if n_kept is None else n_kept - pairs.n,
        n_verified=int(verified.sum()),
        n_random=int(np.isfinite(scale.null_z).sum()),
        n_unmatched=sum(each.n_unmatched for each in measured),
        path=path,
    )


class _Scale:
    """The scale of random effects: one group for each target, source and text."""

    def __init__(self, null: Cells, everything: Cells) -> None:
        self._keys = np.unique(_keys(everything), axis=0)
        self.null_z: Float[np.ndarray, " m"] = np.zeros(0)
        self._fit = None
        if len(null):
            self._fit = fit_random_effects(null.pre, self._of(null), len(self._keys))
            z = np.abs(self._fit.null_z)
            self.null_z = z[np.isfinite(z)]

    def _of(self, cells: Cells) -> Int[np.ndarray, " n"]:
        """Return the group of each row."""
        both = np.concatenate([self._keys, _keys(cells)])
        _, inverse = np.unique(both, axis=0, return_inverse=True)
        return inverse.reshape(-1)[len(self._keys) :]

    def z(self, cells: Cells) -> Float[np.ndarray, " n"]:
        """Return how far effects are from random ones; NaN where no random direction tells."""
        if self._fit is None:
            return np.full(len(cells), np.nan)
        return self._fit.z(cells.pre, self._of(cells))

    def p(self, z: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
        """Return p-values; 1 where no random direction tells."""
        p = np.ones(z.shape)
        known = np.isfinite(z)
        p[known] = pooled_p(np.abs(z[known]), self.null_z)
        return p


def _keys(cells: Cells) -> Int[np.ndarray, "n 5"]:
    return np.column_stack([
        cells.target_layer, cells.target_index, cells.source_layer, cells.source_index,
        cells.document_id,
    ])  # fmt: skip


class _Pairs:
    """The pathways among the measured rows, and means over their texts by dose."""

    def __init__(self, kept: Cells, n_doses: int) -> None:
        keys = np.column_stack(
            [kept.target_layer, kept.target_index, kept.source_layer, kept.source_index]
        )
        self.keys, inverse = np.unique(keys, axis=0, return_inverse=True)
        self.of = inverse.reshape(-1)
        self.n, self._n_doses = len(self.keys), n_doses
        self._cell = self.of * n_doses + kept.dose
        self.count = self._sum(np.ones(len(kept)))

    @property
    def gaps(self) -> Int[np.ndarray, " pairs"]:
        """Layers from source to target."""
        gaps: Int[np.ndarray, " pairs"] = self.keys[:, 0] - self.keys[:, 2]
        return gaps

    def _sum(self, values: np.ndarray) -> Float[np.ndarray, "pairs doses"]:
        size = self.n * self._n_doses
        sums = np.bincount(self._cell, values.astype(np.float64), size)
        return sums.reshape(self.n, self._n_doses)

    def total(self, values: np.ndarray) -> Float[np.ndarray, "pairs doses"]:
        """Return sums over texts."""
        return self._sum(values)

    def mean(self, values: np.ndarray) -> Float[np.ndarray, "pairs doses"]:
        """Return means over texts; NaN where nothing was measured, or a value is NaN."""
        with np.errstate(invalid="ignore"):
            means: Float[np.ndarray, "pairs doses"] = self._sum(values) / self.count
        return means


def _tested(first: Cells, scale: _Scale) -> tuple[np.ndarray, np.ndarray]:
    """Return each pathway's mean distance from random effects, and in how many texts it has one.

    NaN where no text has random directions for it.
    """
    z, pairs = scale.z(first), _Pairs(first, 1)
    known = np.isfinite(z)
    n = pairs.total(known)[:, 0]
    with np.errstate(invalid="ignore"):
        return pairs.total(np.where(known, z, 0.0))[:, 0] / n, n


def _adjusted(p: Float[np.ndarray, " pairs"], n: int) -> Float[np.ndarray, " pairs"]:
    """Return p-values adjusted over ``n`` pairs, of which those not measured count as 1."""
    everything = np.concatenate([p, np.ones(n - len(p))])
    return benjamini_hochberg(everything)[: len(p)]


def _missed(
    measured: Sequence[MeasuredText],
    cells: Cells,
    scale: _Scale,
    verified_z: Float[np.ndarray, " v"],
) -> Missed:
    """Return how many pairs below the cut go as far as the weakest verified one, at most."""
    z = scale.z(cells.take(cells.kind == BELOW))
    # Where no random direction tells how far an effect is from chance, nothing was looked for.
    z = np.abs(z[np.isfinite(z)])
    n_below = sum(each.n_below for each in measured)
    if not len(z) or not len(verified_z):
        return Missed(n_below, len(z), 0, None, None, None, None)
    z_cut = float(verified_z.min())
    n_found = int((z >= z_cut).sum())
    high = float(clopper_pearson_upper(n_found, len(z), level=BOUND_LEVEL))
    return Missed(n_below, len(z), n_found, n_found / len(z), high, high * n_below, z_cut)


def _rows(
    pairs: _Pairs,
    kept: Cells,
    doses: Sequence[Dose],
    tested: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    verified: Bool[np.ndarray, " pairs"],
) -> tuple[ValidatedRow, ...]:
    z, p, q, n_tested = tested
    predicted, pre, post = (pairs.mean(each) for each in (kept.predicted, kept.pre, kept.post))
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = pairs.total(np.square(kept.pre - pre[pairs.of, kept.dose])) / (pairs.count - 1)
        slope = pairs.total(kept.pre * kept.change).sum(axis=1) / (
            pairs.total(np.square(kept.change)).sum(axis=1)
        )
    same = pairs.mean(np.where(np.isnan(kept.predicted), np.nan, _same_sign(kept)))
    flips = pairs.total(kept.flips)
    rows = []
    for pair, (t_layer, t_index, s_layer, s_index) in enumerate(pairs.keys.tolist()):
        for number, dose in enumerate(doses):
            at = pair, number
            if not pairs.count[at]:
                continue
            rows.append(ValidatedRow(
                target=LatentId(t_layer, t_index).name,
                source=LatentId(s_layer, s_index).name,
                target_layer=t_layer,
                target_index=t_index,
                source_layer=s_layer,
                source_index=s_index,
                dose=dose.name,
                predicted_pre=_known(predicted[at]),
                measured_pre=float(pre[at]),
                measured_sd=_known(np.sqrt(variance[at])) if pairs.count[at] > 1 else None,
                measured_post=float(post[at]),
                flips=int(flips[at]),
                n_measured=int(pairs.count[at]),
                sign_agreement=_known(same[at]),
                slope=_known(slope[pair]),
                z=_known(z[pair]),
                n_tested=int(n_tested[pair]),
                p=float(p[pair]),
                q=float(q[pair]),
                verified=bool(verified[pair]),
            ))  # fmt: skip
    return tuple(rows)


def _same_sign(kept: Cells) -> Float[np.ndarray, " n"]:
    with np.errstate(invalid="ignore"):
        same: Bool[np.ndarray, " n"] = np.sign(kept.predicted) == np.sign(kept.pre)
    return same.astype(np.float64)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
