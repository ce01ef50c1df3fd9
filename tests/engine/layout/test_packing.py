import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.layout.packing import common_prefix_length, cut_blocks, pack_rows
from glassbox.engine.layout.trie import build_trie

ONE = build_trie([(9,)])
tokens = st.integers(0, 2)
prompts = st.lists(st.lists(tokens, min_size=1, max_size=9).map(tuple), min_size=1, max_size=9)
continuations = st.lists(
    st.lists(tokens, min_size=1, max_size=3).map(tuple), min_size=1, max_size=5, unique=True
)


@given(prompts)
def test_common_prefix_is_the_longest_that_leaves_each_a_token(rows):
    n = common_prefix_length(rows)
    shortest = min(map(len, rows))
    agree = [k for k in range(shortest) if len({row[:k] for row in rows}) == 1]
    assert n == max(agree)


def cost(lengths, cuts, price):
    starts = [0, *cuts[:-1]]
    return sum(
        price + sum(lengths[start] - length for length in lengths[start:stop])
        for start, stop in zip(starts, cuts, strict=True)
    )


@given(st.lists(st.integers(1, 12), min_size=1, max_size=7), st.integers(0, 9))
def test_blocks_cost_as_little_as_any_other_cut(lengths, price):
    lengths = sorted(lengths, reverse=True)
    cuts = cut_blocks(lengths, price)
    inner = range(1, len(lengths))
    best = min(
        cost(lengths, [*chosen, len(lengths)], price)
        for n in range(len(lengths))
        for chosen in itertools.combinations(inner, n)
    )
    assert cuts[-1] == len(lengths)
    assert cost(lengths, cuts, price) == best


def visible(pack, block, row, column, window):
    """Return the (position, token) pairs that one token of a block sees, from the mask."""
    mask = pack.block_mask(block, window)
    seen = mask[row if len(mask) > 1 else 0, column]
    at = block.start + row * block.length
    keys = [("prefix", place) for place in range(pack.n_prefix)]
    keys += [("own", at + place) for place in range(block.length)]
    return {key for key, is_seen in zip(keys, seen, strict=True) if is_seen}


@given(prompts, continuations, st.booleans(), st.sampled_from([None, 2, 5]))
def test_every_read_sees_exactly_its_own_text(rows, wanted, inside, window):
    trie = build_trie(wanted)
    n_prefix = common_prefix_length(rows)
    pack = pack_rows(rows, trie, n_prefix=n_prefix, prefix_inside=inside)
    beginnings = [()]
    for token, parent in zip(trie.node_tokens, trie.node_parents, strict=True):
        beginnings.append((*beginnings[parent], token))
    if inside:
        assert tuple(pack.tokens[:n_prefix]) == rows[0][:n_prefix]
    packed_row = 0
    for block in pack.blocks:
        for row in range(block.n_rows):
            for read, beginning in enumerate(beginnings):
                text = (*rows[pack.order[packed_row]], *beginning)
                flat = int(pack.reads[packed_row, read])
                column = flat - block.start - row * block.length
                assert pack.positions[flat] == len(text) - 1
                seen = visible(pack, block, row, column, window)
                spelled = {
                    (place, rows[0][place]) if kind == "prefix" else
                    (int(pack.positions[place]), int(pack.tokens[place]))
                    for kind, place in seen
                }  # fmt: skip
                expected = set(enumerate(text))
                if window is not None:
                    reach = len(text) - window
                    expected = {(at, token) for at, token in expected if at >= reach}
                assert spelled == expected
            packed_row += 1
    assert sorted(pack.order) == list(range(len(rows)))


@given(prompts, continuations, st.sampled_from([None, 3]))
def test_read_rows_of_a_mask_are_those_of_the_whole(rows, wanted, window):
    trie = build_trie(wanted)
    pack = pack_rows(rows, trie, n_prefix=common_prefix_length(rows))
    first = 0
    for block in pack.blocks:
        whole = pack.block_mask(block, window)
        short = pack.block_mask(block, window, reads_only=True)
        for row in range(block.n_rows):
            at = pack.reads[first + row] - block.start - row * block.length
            expected = whole[row if len(whole) > 1 else 0][at]
            np.testing.assert_array_equal(short[row if len(short) > 1 else 0], expected)
        first += block.n_rows


def test_positions_of_padding_stay_inside_the_context():
    rows = [(1,) * 10, (1,) * 9]
    pack = pack_rows(rows, ONE)
    assert len(pack.blocks) == 1
    assert pack.positions.max() == 9
    assert len(pack.tokens) == 20


@pytest.mark.parametrize("window", [None, 4])
def test_padding_always_sees_something(window):
    pack = pack_rows([(1,) * 10, (1,) * 7], build_trie([(2, 3), (3,)]))
    for block in pack.blocks:
        assert pack.block_mask(block, window).any(axis=2).all()
