"""A pathway through the blocks, planted beside latents that the skip connection carries."""

from dataclasses import replace

import pytest
import torch

from glassbox.pathways.blocks.forward import block_forward
from glassbox.pathways.discovery.cut import Cut, candidates
from glassbox.pathways.latents import LatentId
from tests.pathways.replay.test_validation import PLANTED, World

CARRIED = [LatentId(PLANTED.layer, 40 + at) for at in range(3)]
LOUDER = 40.0
"""How much more active than the planted latent the carried ones are."""


def rewritten(world, latent, encoder, decoder):
    """Give a latent other rows; it writes a unit vector."""
    sae = world.saes[latent.layer]
    w_enc, w_dec = sae.w_enc.clone(), sae.w_dec.clone()
    w_enc[latent.index], w_dec[latent.index] = encoder, decoder / decoder.norm()
    world.saes[latent.layer] = replace(sae, w_enc=w_enc, w_dec=w_dec)


def without(vector, other):
    return vector - (vector @ other) / (other @ other) * other


@pytest.mark.parametrize("seed", [0, 2])
def test_a_planted_pathway_is_above_carried_latents_by_mediated_effect_and_not_by_total(seed):
    world = World(seed)
    target = world.plant()
    fires = world.saes[PLANTED.layer].w_enc[PLANTED.index]
    read = world.saes[target.layer].w_enc[target.index]
    # What the blocks between make of a change at the target's place, without the change itself.
    made = gradient_at_the_place(world, target) - read
    rewritten(world, PLANTED, fires, without(made, read))
    for each in CARRIED:
        rewritten(world, each, LOUDER * fires, without(read, made))

    def ranked(by):
        table = candidates(world.gradients(), Cut(rank_by=by, top=10, least=0.0))
        rows = [row for row in table.rows if row.target == target]
        return {row.source: row for row in rows}

    total, mediated = ranked("total"), ranked("mediated")
    assert {total[each].rank for each in CARRIED} == {0, 1, 2}
    assert mediated[PLANTED].rank == 0
    assert mediated[PLANTED].kept
    for each in CARRIED:
        row = mediated[each]
        # Carried: what it does is nearly all done by the skip connection, at the target's place.
        assert abs(row.attribution_mean - row.mediated) > 0.9 * abs(row.attribution_mean)
        assert abs(row.mediated) < abs(mediated[PLANTED].mediated)
    assert mediated[PLANTED].direct == pytest.approx(0, abs=1e-5)


def gradient_at_the_place(world, target):
    """Mean gradient of a target by the stream where it stands, on the planted latent's layer."""
    found = []
    for run, context in zip(world.runs, world.contexts, strict=True):
        place = next(each.position for each in context.targets if each.latent == target)
        x = run.output(PLANTED.layer).detach().clone().requires_grad_(True)
        y = x
        for layer in range(PLANTED.layer + 1, target.layer + 1):
            y, _ = block_forward(world.blocks, layer, y)
        (y[place] @ world.saes[target.layer].w_enc[target.index]).backward()
        found.append(x.grad[place])
    return torch.stack(found).mean(0)
