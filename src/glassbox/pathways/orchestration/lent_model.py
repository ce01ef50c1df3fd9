"""What the steps run of a lent model: its blocks where they are known by heart, else its modules.

The slow way, one pass for each target or replay, is for architectures whose blocks are not written
out; their latents, activations and decisions are read all the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from glassbox.errors import UnsupportedModel
from glassbox.pathways.blocks.weights import ModelBlocks, take_blocks
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.discovery.gradients import ContextGradients
from glassbox.pathways.discovery.oracle import plain_gradients
from glassbox.pathways.discovery.sources import Sources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from glassbox.pathways.saes.rows import LatentRows

Sweeper = Callable[[Sequence[Context], SweepOptions], Iterator[ContextGradients]]
"""Makes the gradients of some contexts, in their order."""


def runnable(model: torch.nn.Module) -> ModelBlocks | torch.nn.Module:
    """Return a model's blocks; or the model itself, where they are not known by heart."""
    try:
        return take_blocks(model)
    except UnsupportedModel:
        return model


def sweeper_of(
    model: torch.nn.Module, targets: Mapping[int, LatentRows], sources: Sources
) -> Sweeper:
    """Return the sweep over a model's blocks; or autograd, where they are not known by heart.

    Args:
        model: The lent model.
        targets: Rows of all latents that are targets, by layer.
        sources: Latents that gradients are wanted for.
    """
    blocks = runnable(model)
    if not isinstance(blocks, ModelBlocks):
        return _autograd(model, targets, sources)

    def sweep(contexts: Sequence[Context], options: SweepOptions) -> Iterator[ContextGradients]:
        return upstream_gradients(blocks, contexts, targets, sources, options)

    return sweep


def _autograd(
    model: torch.nn.Module, targets: Mapping[int, LatentRows], sources: Sources
) -> Sweeper:
    """Return the slow way: one forward and one backward pass a target."""

    def sweep(contexts: Sequence[Context], options: SweepOptions) -> Iterator[ContextGradients]:
        if options.mode != "total":
            raise UnsupportedModel(
                f"discover.mode {options.mode!r} needs blocks that are known by heart; of this "
                "model only 'total' gradients can be had."
            )
        where = next(model.parameters())
        held = sources.together(where.device, where.dtype)
        for context in contexts:
            yield plain_gradients(model, context, targets, held, options.path)

    return sweep
