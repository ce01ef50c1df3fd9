"""One text run once with nothing changed: what all its replays share and start from.

Keeps the residual stream and the keys and values of every layer, and what the sources' latents
do. Knows nothing of what will be changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from glassbox.errors import AdapterMismatch, InvalidHookPoint, InvalidValue, TextTooLong
from glassbox.pathways.blocks.forward import KeyValues, run_context
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Sae


@dataclass(frozen=True, eq=False)
class Latents:
    """The rows that a replay changes or reads, by layer, and where each latent is among them.

    Raises:
        InvalidValue: Rows under another layer's number, or TopK rows without their dictionary.
    """

    rows: Mapping[int, LatentRows]
    """By layer."""
    full: Mapping[int, Sae] = field(default_factory=dict)
    """Whole dictionaries: needed where one is TopK, and on all layers that are gone through."""
    through: bool = False
    """Whether the stream goes through the dictionaries in ``full``, their error held as it was,
    or passes them by."""

    def __post_init__(self) -> None:
        places = {}
        for layer, rows in self.rows.items():
            if rows.layer != layer:
                raise InvalidValue("layer of the rows", rows.layer, f"{layer}, as they are filed")
            if rows.k is not None and layer not in self.full:
                raise InvalidValue(
                    f"full dictionary of layer {layer}",
                    None,
                    "an Sae: it is TopK, and a few rows "
                    "cannot tell which of them are among the k largest",
                )
            places[layer] = {index: at for at, index in enumerate(rows.indices.tolist())}
        object.__setattr__(self, "_places", places)

    def place(self, latent: LatentId) -> int:
        """Return where a latent is among its layer's rows.

        Raises:
            InvalidValue: It is not there.
        """
        places: dict[int, dict[int, int]] = self.__dict__["_places"]
        found = places.get(latent.layer, {}).get(latent.index)
        if found is None:
            raise InvalidValue(
                "latent", latent.name, "one whose rows were handed to the replay (sources, targets)"
            )
        return found

    def gated(
        self, rows: LatentRows, z: Float[Tensor, "*n some"], x: Float[Tensor, "*n d"]
    ) -> Float[Tensor, "*n some"]:
        """Return activations of some rows from their pre-activations, and the vectors read."""
        if rows.k is None:
            return rows.gate(z)
        # The k-th largest is one of the dictionary's own values: rows that were multiplied alone
        # are rounded otherwise and might miss themselves.
        return self.full[rows.layer].encode(x)[..., rows.indices.to(x.device)]


@dataclass(frozen=True, eq=False)
class CleanText:
    """A text, run clean."""

    context: Context
    latents: Latents
    """Rows of sources and targets."""
    outputs: tuple[Float[Tensor, "positions d"], ...]
    """By layer: ``blocks.{layer}.hook_resid_post``, as far as anything is changed or read."""
    caches: tuple[KeyValues, ...]
    """By layer: keys and values; empty where the library's own modules run."""
    active: Mapping[int, Float[Tensor, "positions n"]]
    """Activations of the rows of each layer that is changed anywhere."""
    changeable: Bool[np.ndarray, " positions"]
    """Positions that are not excluded."""
    errors: Mapping[int, Float[Tensor, "positions d"]]
    """What each dictionary that is gone through misses."""
    clean_pre: Float[Tensor, " n_targets"]
    clean_post: Float[Tensor, " n_targets"]

    @property
    def n_positions(self) -> int:
        """Length of the text, tokens."""
        return len(self.context.token_ids)


@torch.no_grad()
def run_clean(
    model: ModelBlocks,
    context: Context,
    latents: Latents,
    changed_layers: Sequence[int],
) -> CleanText:
    """Return a text run with nothing changed.

    Args:
        model: The blocks.
        context: The text.
        latents: Rows of sources and targets.
        changed_layers: Layers whose activations are needed.

    Raises:
        TextTooLong: Longer than the model's context.
        InvalidHookPoint: A layer that the model does not have.
        AdapterMismatch: Rows of another width than the model's residual stream.
    """
    require_fit(model.n_layers, model.d_model, model.context, context, latents)
    tokens = torch.tensor(context.token_ids, dtype=torch.int64, device=model.device)
    run = run_context(model, tokens, highest_layer(context, changed_layers) + 1)
    return clean_text(context, latents, changed_layers, run.inputs[1:], run.caches)


def highest_layer(context: Context, changed_layers: Sequence[int]) -> int:
    """Return the highest layer at which anything is changed or read; -1 if there is none."""
    return max([*changed_layers, *(each.latent.layer for each in context.targets)], default=-1)


def clean_text(
    context: Context,
    latents: Latents,
    changed_layers: Sequence[int],
    outputs: Sequence[Float[Tensor, "positions d"]],
    caches: Sequence[KeyValues] = (),
) -> CleanText:
    """Return a clean text from what its layers wrote.

    Args:
        context: The text.
        latents: Rows of sources and targets.
        changed_layers: Layers whose activations are needed.
        outputs: By layer, what it wrote.
        caches: By layer, its keys and values.
    """
    changeable = np.ones(len(context.token_ids), dtype=bool)
    changeable[list(context.excluded)] = False
    pre, post = read_targets(context, latents, outputs.__getitem__)
    return CleanText(
        context,
        latents,
        tuple(outputs),
        tuple(caches),
        {
            layer: _activations(latents, latents.rows[layer], outputs[layer])
            for layer in sorted(set(changed_layers))
        },
        changeable,
        {
            layer: sae.error(outputs[layer])
            for layer, sae in latents.full.items()
            if latents.through and layer < len(outputs)
        },
        pre,
        post,
    )


def _activations(latents: Latents, rows: LatentRows, x: Tensor) -> Tensor:
    return latents.gated(rows, rows.preactivations(x), x)


def read_targets(
    context: Context, latents: Latents, output: Callable[[int], Tensor]
) -> tuple[Float[Tensor, " n_targets"], Float[Tensor, " n_targets"]]:
    """Return pre-activation and activation of all targets of a text.

    Args:
        context: The text and its targets.
        latents: Their rows.
        output: Gives ``blocks.{layer}.hook_resid_post`` of a layer, ``[positions, d]``.
    """
    pre, post = [torch.zeros(0)], [torch.zeros(0)]
    for layer in sorted({each.latent.layer for each in context.targets}):
        here = [each for each in context.targets if each.latent.layer == layer]
        at = torch.tensor([each.position for each in here])
        own = torch.arange(len(here))
        places = torch.tensor([latents.place(each.latent) for each in here])
        rows, x = latents.rows[layer].select(places), output(layer)[at]
        z = rows.preactivations(x)
        pre.append(z[own, own].float().cpu())
        post.append(latents.gated(rows, z, x)[own, own].float().cpu())
    return torch.cat(pre), torch.cat(post)


def require_fit(
    n_layers: int, d_model: int, longest: int, context: Context, latents: Latents
) -> None:
    """Return if the model can run a text and has the places that the rows belong to.

    Raises:
        TextTooLong: Longer than the model's context.
        InvalidHookPoint: A layer that the model does not have.
        AdapterMismatch: Rows of another width than the model's residual stream.
    """
    if len(context.token_ids) > longest:
        raise TextTooLong(len(context.token_ids), longest, which=f"context {context.document_id}")
    for layer, rows in latents.rows.items():
        if not 0 <= layer < n_layers:
            raise InvalidHookPoint(
                f"Latents of layer {layer}: the model's layers are 0 to {n_layers - 1}."
            )
        if rows.w_enc.shape[1] != d_model or rows.w_dec.shape[1] != d_model:
            raise AdapterMismatch(
                f"The dictionary of layer {layer} reads {rows.w_enc.shape[1]} and writes "
                f"{rows.w_dec.shape[1]} numbers; the model's residual stream has {d_model}."
            )
