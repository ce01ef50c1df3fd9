"""However the work is cut up, the same comes out; and memory is bounded by the piece."""

from dataclasses import replace
from weakref import WeakSet

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from glassbox.errors import InvalidData, InvalidValue, OutOfMemory, UnknownName, UnsupportedModel
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.discovery import firing
from glassbox.pathways.discovery.gradients import (
    ContextGradients,
    LayerGradients,
    join_targets,
)
from glassbox.pathways.discovery.oracle import layers_of, plain_gradients
from glassbox.pathways.discovery.sources import HeldSources, SourceLayer, StreamedSources
from glassbox.pathways.discovery.sweep import Piece, Sweep, SweepOptions, pack
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.readers.reader import SaeReader
from glassbox.pathways.saes.writing import save_sae
from tests.pathways.discovery.test_sweep import assert_same, swept
from tests.pathways.discovery.worlds import random_sae, rows_of, whole, world


def several():
    """A model with three contexts of unequal length, and its dictionaries."""
    model, context, saes = world()
    others = [
        make_context(
            at,
            [(5 * each + at) % 60 for each in range(n_tokens)],
            [(LatentId(1 + (each % 2), 3 * each + at), n_tokens - 1 - each) for each in range(n)],
            excluded=(0,),
        )
        for at, n_tokens, n in ((1, 11, 5), (2, 23, 9))
    ]
    return model, [context, *others], saes


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_targets": 1},
        {"chunk_targets": 4},
        {"chunk_positions": 1},
        {"tile_rows": 7},
        {"chunk_targets": 9, "tile_rows": 1, "chunk_positions": 30},
    ],
)
@pytest.mark.parametrize("path", ["past", "through"])
def test_chunks_change_nothing(options, path):
    model, contexts, saes = several()
    expected = swept(model, contexts, saes, path=path)
    found = swept(model, contexts, saes, path=path, **options)
    for mine, theirs, context in zip(found, expected, contexts, strict=True):
        assert mine.context == context
        assert_same(mine, theirs)


def test_shards_by_context_and_by_layer_join_to_the_whole():
    model, contexts, saes = several()
    expected = swept(model, contexts, saes)
    for context, whole_one in zip(contexts, expected, strict=True):
        parts = []
        for layer in (2, 1):
            own = tuple(each for each in context.targets if each.latent.layer == layer)
            parts += swept(model, [replace(context, targets=own)], saes)
        stored = [
            ContextGradients.from_arrays(part.to_arrays(), part.context, part.mode, part.path)
            for part in parts
        ]
        assert_same(join_targets(stored, context), whole_one)
    more = make_context(2, contexts[2].token_ids, [(LatentId(1, 30), at) for at in range(1, 10)])
    doubled = replace(contexts[2], targets=more.targets + contexts[2].targets)
    with pytest.raises(InvalidData, match="hold 9 targets of 1 texts; context 2 has 18"):
        join_targets([expected[2]], doubled)


def test_a_latent_that_fires_in_one_part_only_moves_no_other_source():
    context = make_context(0, range(10), [(LatentId(1, 0), 9), (LatentId(2, 0), 9)])

    def part(row, positions, indices, gradients):
        layer = LayerGradients(
            0, np.array(positions), np.array(indices), np.array(gradients, np.float32) / 10, 0,
            np.array([gradients], np.float32), np.zeros((1, len(indices)), np.float32), row,
        )  # fmt: skip
        own = replace(context, targets=(context.targets[row],))
        return ContextGradients(own, "total", "past", (layer,))

    parts = [part(0, [1, 2, 3], [5, 6, 7], [50, 60, 70]), part(1, [1, 3, 4], [5, 7, 2], [1, 3, 4])]
    for given in (parts, parts[::-1]):
        (layer,) = join_targets(given, context).layers
        assert layer.positions.tolist() == [1, 2, 3, 4]
        assert layer.indices.tolist() == [5, 6, 7, 2]
        assert layer.gradients.tolist() == [[50, 60, 70, 0], [1, 0, 3, 4]]
        assert layer.activations[1] == 6
        assert layer.n_excluded == 1


def test_streamed_dictionaries_give_what_held_ones_do(tmp_path):
    model, contexts, saes = several()
    for layer, sae in saes.items():
        save_sae(sae, tmp_path / f"layer_{layer}")
    dictionaries = open_dictionaries(
        {layer: tmp_path / f"layer_{layer}" for layer in saes}, convention="openmoss"
    )
    expected = swept(model, contexts, saes)
    streamed = swept(model, contexts, saes, StreamedSources(dictionaries))
    chosen = {0: [1, 4, 9, 22], 1: [0, 2, 39]}
    some = swept(model, contexts, saes, StreamedSources(dictionaries, chosen))
    held = HeldSources({at: saes[at].rows(torch.tensor(each)) for at, each in chosen.items()})
    rows = swept(model, contexts, saes, held)
    for mine, theirs, few, fewer in zip(streamed, expected, some, rows, strict=True):
        assert_same(mine, theirs)
        assert_same(few, fewer)
    through = swept(model, contexts, saes, StreamedSources(dictionaries, chosen), path="through")
    full = swept(model, contexts, saes, path="through")
    for few, all_of in zip(through, full, strict=True):
        for layer in few.layers:
            theirs = all_of.layer(layer.layer)
            kept = np.isin(theirs.indices, chosen[layer.layer])
            np.testing.assert_allclose(layer.gradients, theirs.gradients[:, kept], atol=1e-6)
    with pytest.raises(UnknownName, match="SAE for layer '9'"):
        StreamedSources(dictionaries, {9: [1]})


@pytest.mark.parametrize("path", ["past", "through"])
def test_no_more_than_one_dictionary_is_there_at_a_time(path, tmp_path, monkeypatch):
    config = several()[0].config
    config.num_hidden_layers = 5
    model = LlamaForCausalLM(config).eval()
    saes = {layer: random_sae(layer, config.hidden_size) for layer in range(5)}
    for layer, sae in saes.items():
        save_sae(sae, tmp_path / f"layer_{layer}")
    contexts = [
        make_context(at, range(3, 20), [(LatentId(4, at), 16), (LatentId(3, at), 9)])
        for at in range(3)
    ]
    alive, there = WeakSet(), []

    def counted(load):
        def counting(self, *args):
            there.append((load.__name__, len(alive)))
            half = load(self, *args)
            alive.add(half)
            return half

        return counting

    for load in (SaeReader.load_encoder, SaeReader.load_decoder):
        monkeypatch.setattr(SaeReader, load.__name__, counted(load))
    swept(model, contexts, saes, StreamedSources(open_dictionaries(tmp_path)), path=path)
    # When half a dictionary is begun to be read, no more than another half is there.
    assert [name for name, _ in there] == ["load_encoder", "load_decoder"] * 4
    assert max(n for _, n in there) <= 1
    assert not alive


@pytest.mark.parametrize("kind", ["all", "topk", "rows", "rows of topk"])
def test_strips_that_are_read_apart_fire_as_all_together_do(kind, monkeypatch):
    sae = random_sae(1, 32, k=7 if "topk" in kind else None)
    places = torch.tensor([3, 4, 17, 30])
    source = SourceLayer(sae)
    if kind.startswith("rows"):
        source = SourceLayer(sae.rows(places), sae if sae.k else None)
    x = 3 * torch.randn(11, 32, generator=torch.Generator().manual_seed(5))
    expected = source.firing(x, (0, 6))
    assert len(expected.positions) > len(places)
    monkeypatch.setattr(firing, "_FEWEST", 1)
    for strip in (1, 3 * len(x), 9 * len(x) + 4, 10**6):
        monkeypatch.setattr(firing, "STRIP", {"cpu": strip})
        found = source.firing(x, (0, 6))
        assert found.positions.tolist() == expected.positions.tolist()
        assert found.places.tolist() == expected.places.tolist()
        assert found.counted.tolist() == expected.counted.tolist()
        assert found.n_excluded == expected.n_excluded
        torch.testing.assert_close(found.activations, expected.activations)


def test_rows_of_a_topk_dictionary_fire_as_the_dictionary_says():
    model, context, saes = world(k=6)
    everything = swept(model, [context], saes)[0]
    some = {at: saes[at].rows(torch.arange(0, 40, 3)) for at in (0, 1)}
    (found,) = swept(model, [context], saes, HeldSources(some, saes))
    for layer in found.layers:
        theirs = everything.layer(layer.layer)
        kept = theirs.indices % 3 == 0
        np.testing.assert_array_equal(layer.indices, theirs.indices[kept])
        np.testing.assert_allclose(layer.gradients, theirs.gradients[:, kept], atol=1e-6)
    with pytest.raises(InvalidValue, match="full dictionary of layer 1"):
        swept(model, [context], saes, HeldSources(some))


def test_where_memory_runs_out_the_chunk_halves_and_the_sweep_goes_on(monkeypatch):
    model, contexts, saes = several()
    expected = swept(model, contexts, saes)
    sweep = Sweep(take_blocks(model), rows_of(saes), HeldSources(saes), SweepOptions())
    together = Sweep._together
    tried = []

    def scarce(self, pieces):
        n = sum(len(piece.targets) for piece in pieces)
        tried.append(n)
        if n > 3:
            if n > 8:
                raise torch.OutOfMemoryError("CUDA out of memory")
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …")
        return together(self, pieces)

    monkeypatch.setattr(Sweep, "_together", scarce)
    for mine, theirs in zip(sweep.run(contexts), expected, strict=True):
        assert_same(mine, theirs)
    assert tried[:4] == [21, 10, 5, 2]
    assert sweep.chunk_targets == 2
    assert max(tried[3:]) == 2

    def none_at_all(self, pieces):
        raise MemoryError

    monkeypatch.setattr(Sweep, "_together", none_at_all)
    with pytest.raises(OutOfMemory, match="single target do not fit"):
        list(sweep.run(contexts))

    def broken(self, pieces):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Sweep, "_together", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        list(sweep.run(contexts))


def sweep_of(n_targets, n_latents=40, chunk=16):
    model, _, _ = world()
    saes = {layer: random_sae(layer, 32, n_latents) for layer in range(3)}
    pairs = [(LatentId(2, at % 40), 15 - at // 40) for at in range(n_targets)]
    context = make_context(0, [(7 * at + 3) % 60 for at in range(16)], pairs, excluded=(0,))
    sweep = Sweep(
        take_blocks(model),
        {2: saes[2].rows(torch.arange(40))},
        HeldSources({at: saes[at].rows(torch.arange(20)) for at in (0, 1)}),
        SweepOptions(chunk_targets=chunk),
    )
    return sweep, context


def test_memory_does_not_grow_with_the_number_of_targets():
    def needed(n_targets):
        sweep, context = sweep_of(n_targets)
        sweep._chunk = 16
        pieces = [Piece(0, context, (0, len(context.targets)))]
        while pieces:
            together, pieces = pack(pieces, 16, 1024)
            sweep._attempt(together)
        spaces = sweep._spaces.values()
        return sum(each.nbytes for space in spaces for each in space._buffers.values())

    assert needed(16) == needed(64) == needed(240)


def test_pieces_are_packed_in_order_and_split_where_they_do_not_fit():
    _, contexts, _ = several()
    pieces = [Piece(at, each, (0, len(each.targets))) for at, each in enumerate(contexts)]
    together, rest = pack(pieces, 10, 1000)
    assert [(each.at, each.span) for each in together] == [(0, (0, 7)), (1, (0, 3))]
    assert [(each.at, each.span) for each in rest] == [(1, (3, 5)), (2, (0, 9))]
    together, rest = pack(pieces, 100, 20)
    assert [each.at for each in together] == [0]


def test_a_context_without_targets_has_no_gradients():
    model, context, saes = world()
    found = swept(model, [replace(context, targets=()), context], saes)
    assert [len(each.layers) for each in found] == [0, 2]


def test_what_cannot_be_swept_is_said():
    model, context, saes = world()
    with pytest.raises(InvalidValue, match="chunk_targets is 0"):
        swept(model, [context], saes, chunk_targets=0)
    few = HeldSources({1: saes[1].rows(torch.arange(3))})
    with pytest.raises(InvalidValue, match="through needs all latents"):
        swept(model, [context], saes, few, path="through")
    with pytest.raises(InvalidValue, match="through needs all latents"):
        plain_gradients(
            model, context, rows_of(saes), {1: SourceLayer(few.rows[1])}, path="through"
        )
    strange = make_context(0, (1, 2, 3), [(LatentId(1, 39), 2)])
    targets = {1: saes[1].rows(torch.arange(9))}
    sweep = Sweep(take_blocks(model), targets, HeldSources(saes), SweepOptions())
    with pytest.raises(InvalidData, match="rows of target L1-39"):
        next(sweep.run([strange]))
    with pytest.raises(InvalidData, match="layer 7 and 3 tokens; the model has layers 0 to 2"):
        swept(model, [make_context(4, (1, 2, 3), [(LatentId(7, 0), 2)])], saes)
    with pytest.raises(InvalidValue, match="chosen"):
        SourceLayer(few.rows[1], chosen=torch.tensor([1]))
    with pytest.raises(InvalidData, match="no gradients by latents of layer 5"):
        swept(model, [context], saes)[0].layer(5)


def test_the_oracle_knows_models_whose_blocks_are_not_written_out():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=9)).eval()
    saes = {layer: random_sae(layer, 32, spread=0.1) for layer in range(2)}
    context = make_context(0, (3, 8, 4, 7), [(LatentId(1, 5), 3)], excluded=(0,))
    found = plain_gradients(model, context, rows_of(saes), whole(saes))
    assert len(layers_of(model)) == 2
    assert found.layers[0].gradients.any()
    with pytest.raises(UnsupportedModel, match="'gpt2'"):
        take_blocks(model)
    model.config.model_type = "other"
    with pytest.raises(UnsupportedModel, match="'other' are not known by name"):
        layers_of(model)
