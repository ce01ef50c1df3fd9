"""Shards of the sweep: every target of every context in exactly one of them."""

from hypothesis import given
from hypothesis import strategies as st

from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.discover_step import Piece, plan_pieces

targets = st.lists(st.tuples(st.integers(1, 7), st.integers(0, 5)), min_size=1, max_size=9)


@given(st.lists(targets, min_size=1, max_size=9), st.integers(1, 12), st.none() | st.integers(1, 8))
def test_every_target_is_in_exactly_one_piece(texts, per_shard, layers_per_shard):
    contexts = [
        make_context(at, range(8), [(LatentId(layer, 3), position) for layer, position in text])
        for at, text in enumerate(texts)
    ]
    pieces = plan_pieces(contexts, per_shard=per_shard, layers_per_shard=layers_per_shard)
    assert len({piece.name for piece in pieces}) == len(pieces)
    assert [Piece.parse(piece.name) for piece in pieces] == pieces
    found = [
        (at, target)
        for piece in pieces
        for at in range(piece.first, piece.last + 1)
        for cut in [piece.of(contexts[at])]
        if cut is not None
        for target in cut.targets
    ]
    expected = [(at, each) for at, context in enumerate(contexts) for each in context.targets]
    assert sorted(found) == sorted(expected)
