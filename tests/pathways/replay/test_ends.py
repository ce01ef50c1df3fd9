"""What runs leave at the end of a text, against whole forward passes of the library's model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from glassbox.errors import OutOfMemory
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay import ends
from glassbox.pathways.replay.clean_text import Latents, run_clean
from glassbox.pathways.replay.ends import ends_of
from glassbox.pathways.replay.interventions import ABLATE, DOUBLE, Intervention
from glassbox.pathways.replay.oracle import clean_by_forward, replay_by_forward
from glassbox.pathways.replay.replaying import Limits
from tests.pathways.blocks.models import MODELS
from tests.pathways.discovery.worlds import N_LATENTS, rows_of, world

RUNS = [
    Intervention((LatentId(layer, index),), dose, writes=writes)
    for index in (3, 8, 11)
    for layer in (1, 0, 2)
    for dose, writes in (
        (ABLATE, None),
        (DOUBLE, None),
        (ABLATE, LatentId(layer, 20)),
        (ABLATE, LatentId(layer, 21)),
    )
]


def changes(blocks, text, runs, limits=None):
    """What each run changes at the end; 0 where it did not run."""
    found = np.zeros((len(runs), blocks.d_model), np.float32)
    for rows, states in ends_of(blocks, text, runs, limits):
        found[rows] = (states[1:] - states[0]).numpy()
    return found


def ending(name="llama"):
    """A text, and every latent of the last layer at its last position as a target."""
    model, context, saes = world(name)
    last = len(context.token_ids) - 1
    targets = [(LatentId(2, index), last) for index in range(N_LATENTS)]
    latents = Latents(rows_of(saes))
    return model, make_context(0, context.token_ids, targets, excluded=(0, 6)), latents


@pytest.mark.parametrize("name", MODELS)
def test_ends_are_those_of_one_whole_forward_pass_each(name):
    model, context, latents = ending(name)
    slow = replay_by_forward(model, clean_by_forward(model, context, latents, [0, 1, 2]), RUNS)
    blocks = take_blocks(model)
    text = run_clean(blocks, context, latents, [0, 1, 2])
    found = changes(blocks, text, RUNS)
    # Forty latents read all of a stream of 32 numbers.
    read = found @ latents.rows[2].w_enc.numpy().T
    below = np.array([run.first_layer < 2 for run in RUNS])
    np.testing.assert_allclose(read[below], slow.pre[below], atol=1e-4, rtol=1e-3)
    assert np.abs(read[below]).max() > 0.1
    for row in np.flatnonzero(~below):
        run, rows = RUNS[row], latents.rows[2]
        place = run.latents[0].index
        written = rows.w_dec[place if run.writes is None else run.writes.index]
        by = (run.dose.factor - 1) * text.active[2][-1, place]
        np.testing.assert_allclose(found[row], (by * written).numpy(), atol=1e-5)


def test_batches_change_nothing_and_what_never_fires_does_not_run():
    model, context, latents = ending()
    rows = dict(latents.rows)
    rows[1] = replace(rows[1], threshold=torch.full_like(rows[1].threshold, 1e6))
    blocks, silent = take_blocks(model), Latents(rows)
    text = run_clean(blocks, context, silent, [0, 1, 2])
    whole, single = (
        changes(blocks, text, RUNS, limits) for limits in (None, Limits(batch_tokens=1))
    )
    np.testing.assert_allclose(whole, single, atol=2e-5)
    ran = np.concatenate([rows for rows, _ in ends_of(blocks, text, RUNS)])
    assert sorted(ran) == sorted(set(ran))
    assert not {RUNS[row].first_layer for row in ran} & {1}
    assert {RUNS[row].first_layer for row in ran} == {0, 2}


def test_out_of_memory_halves_a_batch_and_changes_nothing(monkeypatch):
    model, context, latents = ending()
    blocks = take_blocks(model)
    text = run_clean(blocks, context, latents, [0, 1, 2])
    expected = changes(blocks, text, RUNS)
    carry, most = ends.carry, 3

    def cramped(model, text, runs, *rest):
        if len(runs) > most + 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return carry(model, text, runs, *rest)

    monkeypatch.setattr(ends, "carry", cramped)
    np.testing.assert_allclose(changes(blocks, text, RUNS), expected, atol=2e-5)
    most = 0
    with pytest.raises(OutOfMemory, match="Not even one replay fits"):
        changes(blocks, text, RUNS)
