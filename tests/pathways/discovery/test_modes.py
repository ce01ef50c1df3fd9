import numpy as np
import pytest
import torch

from glassbox.pathways.blocks.forward import block_forward, run_context
from glassbox.pathways.blocks.tape import tape_context
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.discovery.sources import HeldSources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from tests.pathways.blocks.models import MODELS
from tests.pathways.discovery.held_model import held_forward
from tests.pathways.discovery.worlds import rows_of, world


def swept(model, context, saes, mode):
    (found,) = upstream_gradients(
        take_blocks(model), [context], rows_of(saes), HeldSources(saes), SweepOptions(mode=mode)
    )
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_held_model_does_what_the_model_does(name):
    model, context, _ = world(name)
    blocks, tokens = take_blocks(model), torch.tensor(context.token_ids)
    run = run_context(blocks, tokens)
    held = held_forward(blocks, tape_context(blocks, tokens, 3), {}, 2)
    torch.testing.assert_close(held, run.output(2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dose", [-1.0, 1.0])
def test_frozen_gradients_equal_an_intervention_in_the_held_model(name, dose):
    model, context, saes = world(name)
    found = swept(model, context, saes, "frozen")
    blocks = take_blocks(model)
    taped = tape_context(blocks, torch.tensor(context.token_ids), 3)
    wanted = {target.latent.layer for target in context.targets}
    clean = {on: held_forward(blocks, taped, {}, on) for on in wanted}
    n_checked = 0
    for layer in found.layers:
        targets = context.targets[layer.first_target :]
        for column in range(0, len(layer.positions), 5):
            at, index = layer.positions[column], layer.indices[column]
            change = torch.zeros(len(context.token_ids), blocks.d_model)
            step = dose * float(layer.activations[column])
            change[at] = step * saes[layer.layer].w_dec[index]
            moved = {
                on: held_forward(blocks, taped, {layer.layer: change}, on) - clean[on]
                for on in {target.latent.layer for target in targets}
            }
            for row, target in enumerate(targets):
                on, position = target.latent.layer, target.position
                z = moved[on][position] @ saes[on].w_enc[target.latent.index]
                assert float(z) == pytest.approx(step * layer.gradients[row, column], abs=5e-4)
                n_checked += 1
    assert n_checked > 40


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_total_gradients_equal_central_differences(name):
    model, context, saes = world(name)
    found = swept(model, context, saes, "total")
    blocks = take_blocks(model.double())
    tokens = torch.tensor(context.token_ids)

    run = run_context(blocks, tokens)

    def outputs(layer, change):
        """What every block above writes when this one writes something else."""
        x, found_by_layer = run.output(layer) + change, {}
        for above in range(layer + 1, highest + 1):
            x, _ = block_forward(blocks, above, x)
            found_by_layer[above] = x
        return found_by_layer

    highest = max(target.latent.layer for target in context.targets)
    step = 1e-3
    for layer in found.layers:
        for column in range(0, len(layer.positions), 7):
            change = torch.zeros(len(tokens), blocks.d_model, dtype=torch.float64)
            decoder = saes[layer.layer].w_dec[layer.indices[column]].double()
            change[layer.positions[column]] = step * decoder
            up, down = (outputs(layer.layer, way * change) for way in (1, -1))
            for row, target in enumerate(context.targets[layer.first_target :]):
                on = target.latent.layer
                reads = saes[on].w_enc[target.latent.index].double()
                moved = float((up[on] - down[on])[target.position] @ reads)
                expected = layer.gradients[row, column]
                assert moved / (2 * step) == pytest.approx(expected, abs=2e-3, rel=2e-3)


def test_direct_gradients_are_the_matrix_product_at_the_same_position():
    model, context, saes = world()
    found = swept(model, context, saes, "direct")
    n_same = 0
    for layer in found.layers:
        for row, target in enumerate(context.targets[layer.first_target :]):
            weights = saes[target.latent.layer].w_enc @ saes[layer.layer].w_dec.T
            same = layer.positions == target.position
            n_same += same.sum()
            np.testing.assert_allclose(
                layer.gradients[row, same],
                weights[target.latent.index, layer.indices[same]],
                atol=1e-5,
            )
            assert not layer.gradients[row, ~same].any()
    assert n_same > 20


def test_mediated_gradients_are_what_is_left_of_the_total_ones():
    model, context, saes = world()
    total, mediated = (swept(model, context, saes, mode) for mode in ("total", "mediated"))
    for all_of, rest in zip(total.layers, mediated.layers, strict=True):
        np.testing.assert_allclose(rest.gradients, all_of.gradients - all_of.direct, atol=1e-6)
        np.testing.assert_allclose(rest.direct, all_of.direct)
