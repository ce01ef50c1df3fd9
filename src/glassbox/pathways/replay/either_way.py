"""Texts run clean and replayed, by blocks known by heart or by the model's own modules."""

from collections.abc import Sequence

import torch
from torch import nn

from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.replay.clean_text import CleanText, Latents, run_clean
from glassbox.pathways.replay.interventions import Effects, Intervention
from glassbox.pathways.replay.oracle import clean_by_forward, replay_by_forward
from glassbox.pathways.replay.replaying import Limits, replay_on


@torch.no_grad()
def clean_of(
    model: ModelBlocks | nn.Module,
    context: Context,
    latents: Latents,
    changed_layers: Sequence[int],
) -> CleanText:
    """Return a text run clean; raises as ``run_clean`` and ``clean_by_forward``.

    Args:
        model: The blocks, or the lent model itself.
        context: The text.
        latents: Rows of sources and targets.
        changed_layers: Layers whose activations are needed.
    """
    if isinstance(model, ModelBlocks):
        return run_clean(model, context, latents, changed_layers)
    return clean_by_forward(model, context, latents, changed_layers)


@torch.no_grad()
def effects_on(
    model: ModelBlocks | nn.Module,
    text: CleanText,
    runs: Sequence[Intervention],
    limits: Limits,
) -> Effects:
    """Return what changing latents does to a text's targets; raises as ``replay_on``.

    Args:
        model: The blocks, or the lent model itself, which is then run whole for each replay.
        text: The text, run clean the same way.
        runs: The changes.
        limits: Size of a batch of blocks.
    """
    if isinstance(model, ModelBlocks):
        return replay_on(model, text, runs, limits)
    return replay_by_forward(model, text, runs)
