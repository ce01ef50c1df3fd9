"""Adds to the residual stream what holds latents at other values, for the runs of one batch.

Delta form: what is added is the difference of the activation times the decoder row, so that what
the dictionary does not explain stays as it is. Knows nothing of blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from glassbox.pathways.replay.clean_text import CleanText
from glassbox.pathways.replay.interventions import Intervention
from glassbox.pathways.replay.runs import NOWHERE, Places
from glassbox.pathways.saes.rows import LatentRows, normalised


@dataclass(frozen=True, eq=False)
class Held:
    """What one run holds on one layer."""

    places: Int[np.ndarray, " n"]
    """Rows of the layer's latents."""
    factor: float
    """New activation over the clean one, unless ``values`` says."""
    values: Float[np.ndarray, " n"] | None
    where: Bool[np.ndarray, " positions"]
    """At which positions."""
    writes: int | None = None
    """Row whose decoder direction is written instead."""


@dataclass(frozen=True, eq=False)
class Stage:
    """The point of the runs at which something is changed."""

    layer: int
    """Whose output it is."""
    text: CleanText
    is_clean: bool
    """Whether the rows are still those of the clean text, so that their activations are known."""


@dataclass(frozen=True, eq=False)
class Intended:
    """What a text's interventions change by the clean text's activations, position by position."""

    change: Float[np.ndarray, "n_rows positions"]
    """Change of the activations, summed over latents."""
    is_changed: Bool[np.ndarray, "n_rows positions"]
    """Whether any activation changes there."""

    def upto(
        self, positions: Int[np.ndarray, " t"]
    ) -> tuple[Float[np.ndarray, "n_rows t"], Int[np.ndarray, "n_rows t"]]:
        """Return the change up to some positions, and the number of changed positions."""
        change, n_changed = (
            np.cumsum(each, axis=1)[:, positions] for each in (self.change, self.is_changed)
        )
        return change, n_changed


def held_on(
    text: CleanText, interventions: Sequence[Intervention], layer: int
) -> list[Held | None]:
    """Return what each intervention holds on a layer; None where it leaves the layer alone."""
    return [_held(text, each, layer) for each in interventions]


def _held(text: CleanText, intervention: Intervention, layer: int) -> Held | None:
    at = [place for place, each in enumerate(intervention.latents) if each.layer == layer]
    if not at:
        return None
    where = text.changeable
    if intervention.positions is not None:
        chosen = np.zeros_like(where)
        chosen[list(intervention.positions)] = True
        where = where & chosen
    values = intervention.values
    return Held(
        np.array([text.latents.place(intervention.latents[place]) for place in at], dtype=np.int64),
        intervention.dose.factor,
        None if values is None else np.array([values[place] for place in at], dtype=np.float32),
        where,
        None if intervention.writes is None else text.latents.place(intervention.writes),
    )


def first_changed(
    text: CleanText, held: Mapping[int, Sequence[Held | None]]
) -> Int[np.ndarray, " n_rows"]:
    """Return the first position that each intervention may change, ``NOWHERE`` if none.

    Args:
        text: The clean text.
        held: What each intervention holds, by layer.
    """
    n_rows = len(next(iter(held.values()), ()))
    starts = np.full(n_rows, NOWHERE, dtype=np.int64)
    for layer, of_rows in held.items():
        fires = (text.active[layer] != 0).cpu().numpy()
        for row, each in enumerate(of_rows):
            if each is None:
                continue
            at = each.where if each.values is not None else (
                each.where & fires[:, each.places].any(axis=1)
            )  # fmt: skip
            first = int(at.argmax()) if at.any() else NOWHERE
            if first != NOWHERE and (starts[row] == NOWHERE or first < starts[row]):
                starts[row] = first
    return starts


def change_runs(
    x: Float[Tensor, "n d"],
    places: Places,
    held: Sequence[Held | None],
    stage: Stage,
    read: Float[Tensor, "n d"],
) -> Float[Tensor, "n d"]:
    """Return rows of the stream with what their runs hold on this layer.

    Args:
        x: Output of the layer at the runs' positions.
        places: Whose rows they are; ``run`` counts in ``held``.
        held: What each run of the batch holds here.
        stage: Where this is.
        read: What the layer's encoder reads: ``x``, unless the stream went through the dictionary.
    """
    rows, active = stage.text.latents.rows[stage.layer], stage.text.active[stage.layer]
    bounds = np.searchsorted(places.run, np.arange(len(held) + 1))
    delta = torch.zeros_like(x)
    singles = {}
    for run, each in enumerate(held):
        if each is None or bounds[run] == bounds[run + 1]:
            continue
        if stage.is_clean and len(each.places) == 1 and each.values is None:
            singles[run] = each
            continue
        at = slice(int(bounds[run]), int(bounds[run + 1]))
        coefficient = _towards(each, read[at], places.position[at], stage)
        chosen = torch.from_numpy(each.places).to(x.device)
        delta[at] = _decoded(coefficient @ rows.w_dec[chosen], x[at], rows)
    if singles:
        _scale_singles(delta, x, places, singles, rows, active)
    return x + delta


def _towards(
    held: Held, x: Float[Tensor, "n d"], position: Int[np.ndarray, " n"], stage: Stage
) -> Float[Tensor, "n held"]:
    """Return by how much each activation of a run has to change to be held."""
    rows, active = stage.text.latents.rows[stage.layer], stage.text.active[stage.layer]
    chosen = torch.from_numpy(held.places).to(x.device)
    at = torch.from_numpy(position).to(x.device)
    was = active[at[:, None], chosen]
    now = was
    if not stage.is_clean:
        some = rows.select(chosen)
        now = stage.text.latents.gated(some, some.preactivations(x), x)
    wanted = held.factor * was
    if held.values is not None:
        wanted = torch.from_numpy(held.values).to(was).expand_as(was)
    return (wanted - now) * torch.from_numpy(held.where[position])[:, None].to(x.device)


def _scale_singles(
    delta: Float[Tensor, "n d"],
    x: Float[Tensor, "n d"],
    places: Places,
    singles: Mapping[int, Held],
    rows: LatentRows,
    active: Float[Tensor, "positions latents"],
) -> None:
    """Fill in what runs add that scale one latent: the many of a replay, all at once."""
    chosen = np.isin(places.run, list(singles))
    at = np.flatnonzero(chosen)
    run, position = places.run[at], places.position[at]
    _, first, inverse = np.unique(run, return_index=True, return_inverse=True)
    each = [singles[int(run[where])] for where in first]
    latent = np.array([one.places[0] for one in each], dtype=np.int64)[inverse]
    by = np.array([one.factor - 1 for one in each], dtype=np.float32)[inverse]
    by = by * np.stack([one.where for one in each])[inverse, position]
    written = np.array(
        [one.places[0] if one.writes is None else one.writes for one in each], dtype=np.int64
    )[inverse]
    device = x.device
    own, index = torch.from_numpy(latent).to(device), torch.from_numpy(at).to(device)
    was = active[torch.from_numpy(position).to(device), own]
    coefficient = was * torch.from_numpy(by).to(device)
    direction = torch.from_numpy(written).to(device)
    if (written != latent).any():
        norms = rows.w_dec.norm(dim=1)
        coefficient = coefficient * norms[own] / norms[direction]
    delta[index] = _decoded(coefficient[:, None] * rows.w_dec[direction], x[index], rows)


def _decoded(
    out: Float[Tensor, "n d"], x: Float[Tensor, "n d"], rows: LatentRows
) -> Float[Tensor, "n d"]:
    """Return what a change of activations adds to the stream, in its own scale and format."""
    return (out * _scales(x, rows)).to(x.dtype)


def _scales(x: Float[Tensor, "n d"], rows: LatentRows) -> Float[Tensor, "n 1"]:
    """Return what a dictionary's output is multiplied by at each token: 1 unless it normalises."""
    if rows.input_norm == "none":
        return torch.ones(len(x), 1, dtype=rows.w_dec.dtype, device=x.device)
    scale = normalised(x.to(rows.w_enc.dtype), rows.input_norm)[1]
    assert isinstance(scale, Tensor)
    return scale


def intended(text: CleanText, held: Mapping[int, Sequence[Held | None]]) -> Intended:
    """Return what interventions change, as far as the clean text tells.

    Args:
        text: The clean text.
        held: What each intervention holds, by layer.
    """
    n_rows = len(next(iter(held.values()), ()))
    change = np.zeros((n_rows, text.n_positions), np.float32)
    is_changed = np.zeros(change.shape, bool)
    for layer, of_rows in held.items():
        stage = Stage(layer, text, is_clean=True)
        active = text.active[layer].float().cpu().numpy()
        everywhere = np.arange(text.n_positions)
        for row, each in enumerate(of_rows):
            if each is None:
                continue
            if len(each.places) == 1 and each.values is None:
                by = active[:, each.places[0]] * (each.factor - 1) * each.where
                change[row] += by
                is_changed[row] |= by != 0
                continue
            by = _towards(each, text.outputs[layer], everywhere, stage)
            change[row] += by.sum(dim=1).float().cpu().numpy()
            is_changed[row] |= (by != 0).any(dim=1).cpu().numpy()
    return Intended(change, is_changed)
