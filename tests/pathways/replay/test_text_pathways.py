import numpy as np
import pytest

from glassbox.errors import InvalidValue
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.discovery.sources import HeldSources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.text_pathways import pathways_in_text
from tests.pathways.discovery.worlds import rows_of, world
from tests.pathways.replay.all_pathways import pathways_of_sources


@pytest.fixture(scope="module")
def swept():
    model, context, saes = world()
    rows = rows_of(saes)
    found = upstream_gradients(
        take_blocks(model), [context], rows, HeldSources(saes), SweepOptions()
    )
    return context, next(iter(found))


def by_hand(context, gradients):
    """Sums over positions, one source and target at a time."""
    sums = {}
    for layer in gradients.layers:
        for column, (position, index) in enumerate(
            zip(layer.positions.tolist(), layer.indices.tolist(), strict=True)
        ):
            for row in range(len(layer.attributions)):
                place = layer.first_target + row
                if position <= context.targets[place].position:
                    key = place, layer.layer, index
                    sums[key] = sums.get(key, 0.0) + float(layer.attributions[row, column])
    return sums


def test_attributions_are_summed_over_the_sources_positions(swept):
    context, gradients = swept
    wanted = pathways_in_text(context, gradients.layers, None)
    found = {
        (int(target), int(layer), int(index)): float(attribution)
        for target, layer, index, attribution in zip(
            wanted.target, wanted.source_layer, wanted.source_index, wanted.attribution,
            strict=True,
        )
    }  # fmt: skip
    expected = by_hand(context, gradients)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(
        [found[key] for key in expected], list(expected.values()), atol=1e-4, rtol=1e-4
    )
    assert wanted.is_kept.all()
    assert wanted.n_considered == len(expected)
    assert wanted.n_below == 0


def test_kept_pathways_are_all_there_and_the_others_are_sampled(swept):
    context, gradients = swept
    everything = pathways_in_text(context, gradients.layers, None)
    some = range(0, len(everything.target), 9)
    kept = {
        (
            context.targets[everything.target[row]].latent,
            LatentId(int(everything.source_layer[row]), int(everything.source_index[row])),
        )
        for row in some
    }
    wanted = pathways_in_text(context, gradients.layers, kept, below_cut=0.2, seed=3)
    pairs = [
        (context.targets[target].latent, LatentId(int(layer), int(index)))
        for target, layer, index in zip(
            wanted.target, wanted.source_layer, wanted.source_index, strict=True
        )
    ]
    assert {pair for pair, is_kept in zip(pairs, wanted.is_kept, strict=True) if is_kept} == kept
    assert not kept & {p for p, is_kept in zip(pairs, wanted.is_kept, strict=True) if not is_kept}
    share = (~wanted.is_kept).sum() / wanted.n_below
    assert 0.1 < share < 0.3
    again = pathways_in_text(context, gradients.layers, kept, below_cut=0.2, seed=3)
    np.testing.assert_array_equal(again.source_index, wanted.source_index)
    assert set(wanted.sources()) == {source for _, source in pairs}


def test_all_pathways_of_some_sources_go_to_higher_layers(swept):
    context, _ = swept
    wanted = pathways_of_sources(context, [LatentId(0, 3), LatentId(1, 7), LatentId(0, 3)])
    layers = [context.targets[place].latent.layer for place in wanted.target]
    assert (np.array(layers) > wanted.source_layer).all()
    n_above = sum(each.latent.layer > 1 for each in context.targets)
    assert len(wanted.target) == len(context.targets) + n_above
    assert np.isnan(wanted.attribution).all()


def test_a_text_without_gradients_has_no_pathways(swept):
    context, _ = swept
    assert len(pathways_in_text(context, [], None).target) == 0
    assert pathways_of_sources(context, []).sources() == ()


def test_a_share_outside_the_unit_interval_is_refused(swept):
    context, gradients = swept
    with pytest.raises(InvalidValue, match="below_cut"):
        pathways_in_text(context, gradients.layers, None, below_cut=1.5)
