"""What latents do in both kinds of prompt, and which of them differ most.

Means are taken over the places where they will be put back: the tokens in which the prompts of a
pair differ, and the last token.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.pathways.experiment.clean_run import CleanRun
from glassbox.pathways.experiment.conditions import KINDS, Kind
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.saes.sae import Sae


@dataclass(frozen=True)
class PlaceMeans:
    """Mean activation of a latent in one kind of prompt."""

    span: float
    """Over the tokens in which the prompts of a pair differ; 0 if only the end is patched."""
    last: float
    """Over the last tokens."""


@dataclass(frozen=True, eq=False)
class LatentReading:
    """One latent on the prompts of the experiment."""

    latent: LatentId
    w_dec: Float[Tensor, " d_model"]
    """What it writes, per unit of activation."""
    activations: Float[Tensor, "prompts columns"]
    """On the clean run, from the first patched column on."""
    means: Mapping[Kind, PlaceMeans]
    """By kind of prompt."""

    @property
    def stronger(self) -> Kind:
        """The kind of prompt in which it writes more, both places together."""
        weight = {kind: abs(each.span) + abs(each.last) for kind, each in self.means.items()}
        return "safe" if weight["safe"] >= weight["risky"] else "risky"


def read_latents(
    clean: CleanRun,
    dictionaries: Dictionaries,
    *,
    names: Sequence[LatentId],
    layers: Iterable[int],
    per_layer: int,
    always: Sequence[LatentId] = (),
) -> list[LatentReading]:
    """Return the latents to be patched, by layer and index.

    Args:
        clean: The clean run; its layers must contain those asked for.
        dictionaries: Read a layer at a time.
        names: These latents, if there are any.
        layers: Otherwise the ``per_layer`` latents of each of these layers whose means differ
            most, as a length in the residual stream.
        per_layer: How many of each layer.
        always: Latents that are read besides.

    Raises:
        UnknownName: There is no SAE for a layer.
        InvalidValue: A latent that its dictionary does not have.
    """
    wanted: dict[int, set[int]] = {}
    for latent in (*names, *always):
        wanted.setdefault(latent.layer, set()).add(latent.index)
    chosen = () if names else tuple(layers)
    readings = []
    for layer in sorted({*wanted, *chosen}):
        sae = dictionaries.load(layer, device=clean.logits.device)
        # The whole dictionary is read: rows multiplied alone round otherwise.
        active = sae.encode(clean.residuals[layer].float())
        indices = set(wanted.get(layer, ()))
        if layer in chosen:
            indices |= set(_most_different(clean, sae, active, per_layer, skip=indices))
        sae.rows(torch.tensor(sorted(indices)))
        for index in sorted(indices):
            own = active[..., index].clone()
            means = {kind: _means(clean, own, kind) for kind in KINDS}
            readings.append(
                LatentReading(LatentId(layer, index), sae.w_dec[index].clone(), own, means)
            )
    return readings


def _most_different(
    clean: CleanRun,
    sae: Sae,
    active: Float[Tensor, "prompts columns d_sae"],
    n: int,
    skip: set[int],
) -> list[int]:
    span = clean.grid.span[:, clean.grid.first_patched :].to(active.device)
    gap = torch.zeros(sae.d_sae, device=active.device)
    for place in ("span", "last"):
        means = []
        for kind in KINDS:
            rows = clean.grid.select(kind)
            values = active[rows, -1] if place == "last" else active[rows][span[rows]]
            means.append(values.mean(0) if len(values) else gap.new_zeros(sae.d_sae))
        gap += (means[0] - means[1]).abs()
    gap *= sae.w_dec.norm(dim=1)
    order = gap.argsort(descending=True, stable=True).tolist()
    sizes = gap.tolist()
    # Latents that never differ have nothing to be patched with.
    return [index for index in order if index not in skip and sizes[index] > 0][:n]


def _means(clean: CleanRun, own: Float[Tensor, "prompts columns"], kind: Kind) -> PlaceMeans:
    rows = clean.grid.select(kind)
    span = clean.grid.span[:, clean.grid.first_patched :][rows].to(own.device)
    inside = own[rows][span]
    return PlaceMeans(
        span=float(inside.mean()) if len(inside) else 0.0, last=float(own[rows, -1].mean())
    )
