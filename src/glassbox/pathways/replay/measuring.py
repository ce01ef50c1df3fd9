"""Replays the pathways of a text, random directions for their sources, and a sample below the cut.

Nothing is carried from one text to the next, and what a text gives depends on its own pathways,
the seed and the document alone: texts can be spread over processes in any way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from glassbox.errors import InvalidValue
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.cells import BELOW, KEPT, RANDOM, Cells, MeasuredText, joined_cells
from glassbox.pathways.replay.clean_text import CleanText, Latents
from glassbox.pathways.replay.either_way import clean_of, effects_on
from glassbox.pathways.replay.interventions import DOSES, Dose, Effects, Intervention
from glassbox.pathways.replay.matching import join_rows, random_directions
from glassbox.pathways.replay.replaying import Limits
from glassbox.pathways.replay.text_pathways import TextPathways
from glassbox.pathways.saes.rows import LatentRows

_UNIT: Final = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class Measuring:
    """How pathways are measured.

    Raises:
        InvalidValue: No dose, or a negative number of random directions.
    """

    doses: tuple[Dose, ...] = tuple(DOSES.values())
    """What is done to each source; the first decides what is verified, and is all that random
    directions, the sample below the cut and texts that are not looked at closely get."""
    n_null: int = 20
    """Random directions that stand in for each source in each text that is looked at closely."""
    seed: int = 0
    """Of the random directions."""
    limits: Limits = field(default_factory=Limits)
    """Size of a batch; changes no result beyond rounding."""

    def __post_init__(self) -> None:
        if not self.doses:
            raise InvalidValue("doses", (), "at least one")
        if self.n_null < 0:
            raise InvalidValue("n_null", self.n_null, "0 or more")


@torch.no_grad()
def measure_text(
    model: ModelBlocks | nn.Module,
    wanted: TextPathways,
    latents: Latents,
    pool: Mapping[int, LatentRows],
    how: Measuring = Measuring(),
) -> MeasuredText:
    """Return what the replays of one text measure.

    Args:
        model: The blocks; or, where they are not known by heart, the lent model itself, which is
            run whole for each replay.
        wanted: The pathways of the text, and the sample below the cut.
        latents: Rows of all its targets and sources.
        pool: Random latents by layer, for the null (``draw_pool``).
        how: Doses, random directions, batches.

    Raises: as ``replay_on``.
    """
    if not len(wanted.target):
        return MeasuredText(joined_cells([]), wanted.n_considered, wanted.n_below, 0)
    sources = wanted.sources()
    layers = sorted({each.layer for each in sources})
    everything = Latents(join_rows(latents.rows, pool), latents.full, latents.through)
    text = clean_of(model, wanted.context, everything, layers)
    rows_of = _rows_of_sources(wanted)
    plan = [*_of_sources(wanted, rows_of, how.doses), *_of_random(wanted, rows_of, pool, how)]
    n_close = sum(bool(wanted.close[rows].any()) for rows in rows_of.values())
    n_unmatched = how.n_null * n_close - sum(each.is_random for each in plan)
    runs = [each.run for each in plan]
    effects = _above_rounding(effects_on(model, text, runs, how.limits), text, plan)
    parts = []
    for row, each in enumerate(plan):
        if each.is_random:
            parts.append(_cells(effects, row, RANDOM, each, wanted))
            continue
        is_kept = wanted.is_kept[each.rows]
        for kind, some in ((KEPT, each.rows[is_kept]), (BELOW, each.rows[~is_kept])):
            if len(some) and (kind == KEPT or each.dose == 0):
                parts.append(_cells(effects, row, kind, replace(each, rows=some), wanted))
    return MeasuredText(joined_cells(parts), wanted.n_considered, wanted.n_below, n_unmatched)


def _above_rounding(effects: Effects, text: CleanText, plan: Sequence["_Planned"]) -> Effects:
    """Return the effects with 0 for those of a source that reaches a target by rounding alone.

    Neither the source itself nor any random direction in its place moves the target by more than
    numbers are rounded there, as where attention does not look so far back. Such differences would
    pass for a spread of random effects.
    """
    rounding = _rounding(text)
    rows_of: dict[LatentId, list[int]] = {}
    for row, each in enumerate(plan):
        rows_of.setdefault(each.run.latents[0], []).append(row)
    pre = effects.pre.copy()
    for rows in rows_of.values():
        own = pre[rows]
        unreached = (np.isnan(own) | (np.abs(own) <= rounding)).all(axis=0)
        pre[rows] = np.where(unreached & ~np.isnan(own), 0.0, own)
    return replace(effects, pre=pre)


def _rounding(text: CleanText) -> Float[np.ndarray, " n_targets"]:
    """Return by how much float32's rounding alone may change the pre-activation of each target.

    Sums are in float32 whatever the format of the stream, and what a coarser one rounds away comes
    out as 0. Each product is off on its own; of six blocks the sum was off by 2.4 such units.
    """
    found = np.zeros(len(text.context.targets), np.float32)
    for at, target in enumerate(text.context.targets):
        rows, x = text.latents.rows[target.latent.layer], text.outputs[target.latent.layer]
        vector = rows.w_enc[text.latents.place(target.latent)].float()
        products = float((vector * x[target.position].float()).norm())
        found[at] = 4 * _UNIT * (products + abs(float(text.clean_pre[at])))
    return found


@dataclass(frozen=True, eq=False)
class _Planned:
    """One run, and what it is for."""

    run: Intervention
    dose: int
    rows: Int[np.ndarray, " n"]
    """Rows of the wanted pathways that it measures."""

    @property
    def is_random(self) -> bool:
        """Whether a random direction stands in for the source's own."""
        return self.run.writes is not None


def _rows_of_sources(wanted: TextPathways) -> dict[LatentId, Int[np.ndarray, " n"]]:
    """Return the rows of each source's pathways, sources sorted."""
    order = np.lexsort((wanted.source_index, wanted.source_layer))
    keys = np.column_stack([wanted.source_layer, wanted.source_index])[order]
    bounds = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
    return {
        LatentId(int(keys[start][0]), int(keys[start][1])): rows
        for start, rows in zip(bounds, np.split(order, bounds[1:]), strict=True)
    }


def _of_sources(
    wanted: TextPathways,
    rows_of: Mapping[LatentId, Int[np.ndarray, " n"]],
    doses: tuple[Dose, ...],
) -> list[_Planned]:
    """Return the runs of the sources; the first dose reaches everything."""
    plan = []
    close = wanted.is_kept & wanted.close
    for source, rows in rows_of.items():
        for number, dose in enumerate(doses):
            some = rows if number == 0 else rows[close[rows]]
            if len(some):
                reached = tuple(np.unique(wanted.target[some]).tolist())
                run = Intervention((source,), dose, targets=reached)
                plan.append(_Planned(run, number, some))
    return plan


def _of_random(
    wanted: TextPathways,
    rows_of: Mapping[LatentId, Int[np.ndarray, " n"]],
    pool: Mapping[int, LatentRows],
    how: Measuring,
) -> list[_Planned]:
    """Return the runs in which random directions stand in for those of the sources."""
    plan = []
    for source, every in rows_of.items():
        rows = every[wanted.close[every]]
        if not len(rows):
            continue
        reached = tuple(np.unique(wanted.target[rows]).tolist())
        seed = (how.seed, wanted.context.document_id)
        for each in random_directions(source, pool, how.n_null, seed):
            run = Intervention((source,), how.doses[0], writes=each, targets=reached)
            plan.append(_Planned(run, 0, rows))
    return plan


def _cells(
    effects: Effects,
    row: int,
    kind: int,
    planned: _Planned,
    wanted: TextPathways,
) -> Cells:
    """Return what one run measured of its source's pathways."""
    source = planned.run.latents[0]
    at = wanted.target[planned.rows]
    predicted = wanted.attribution[planned.rows] * np.float32(planned.run.dose.factor - 1)
    if planned.is_random:
        predicted = np.full_like(predicted, np.nan)
    read = np.isfinite(effects.pre[row, at]) & (effects.n_changed[row, at] > 0)
    at, predicted = at[read], predicted[read]
    targets = [effects.context.targets[each] for each in at]

    def column(values: list[int]) -> Int[np.ndarray, " n"]:
        return np.array(values, np.int64)

    n = len(at)
    return Cells(
        np.full(n, kind, np.int64),
        np.full(n, effects.context.document_id, np.int64),
        column([each.latent.layer for each in targets]),
        column([each.latent.index for each in targets]),
        column([each.position for each in targets]),
        np.full(n, source.layer, np.int64),
        np.full(n, source.index, np.int64),
        np.full(n, planned.dose, np.int64),
        predicted.astype(np.float32),
        effects.pre[row, at],
        effects.post[row, at],
        effects.flips[row, at],
        effects.change[row, at],
    )
