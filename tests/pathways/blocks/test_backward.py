from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.pathways.blocks.backward import backward_of
from glassbox.pathways.blocks.entry import enter
from glassbox.pathways.blocks.forward import block_forward
from glassbox.pathways.blocks.tape import tape_context
from glassbox.pathways.blocks.tiles import plan_tiles
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.blocks.workspace import Workspace
from tests.pathways.blocks.models import MODELS, make

TOKENS = torch.arange(20) % 60


def rows_of(tiling, dense):
    """Cotangents ``[target, position, d]`` as rows of a tiling."""
    targets, positions = tiling.cones()
    rows = torch.zeros(tiling.n_rows, dense.shape[-1])
    rows[tiling.row_of(targets, positions)] = dense[targets, positions]
    return rows


def dense_of(tiling, rows, n_positions):
    targets, positions = tiling.cones()
    dense = torch.zeros(len(tiling.ends), n_positions, rows.shape[-1])
    dense[targets, positions] = rows[tiling.row_of(targets, positions)]
    return dense


def by_autograd(blocks, layer, x, dense):
    x = x.clone().requires_grad_(True)
    out, _ = block_forward(blocks, layer, x)
    return torch.stack([torch.autograd.grad(out, x, each, retain_graph=True)[0] for each in dense])


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.integers(1, 60),
    st.floats(0, 0.5),
    st.integers(0, 10),
)
def test_tiles_hold_every_cone_once_and_little_else(ends, most_rows, waste, first):
    ends = sorted((max(end, first) for end in ends), reverse=True)
    tiling = plan_tiles(ends, first=first, most_rows=most_rows, waste=waste)
    targets, positions = tiling.cones()
    rows = tiling.row_of(targets, positions)
    n_useful = sum(end + 1 - first for end in ends)
    assert len(set(rows)) == n_useful == len(rows)
    assert rows.min() >= 0
    assert rows.max() < tiling.n_rows
    assert tiling.n_rows <= n_useful * (1 + waste) + 1e-9
    for tile in tiling.tiles:
        assert tile.n_rows <= most_rows or tile.n_positions == 1
    assert [t.start for t in tiling.tiles[:-1]] == [t.stop for t in tiling.tiles[1:]]
    assert tiling.tiles[-1].start == first
    assert [tile for strip in tiling.strips for tile in strip.tiles] == list(tiling.tiles)
    assert all(strip.n_rows <= max(most_rows, strip.tiles[0].n_rows) for strip in tiling.strips)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("most_rows", [1, 9, 1000])
def test_the_derivative_is_autograds(name, most_rows):
    blocks = take_blocks(make(name))
    taped = tape_context(blocks, TOKENS, 3)
    ends = [19, 19, 17, 11, 11, 4, 0]
    dense = torch.randn(len(ends), 20, 32)
    for row, end in enumerate(ends):
        dense[row, end + 1 :] = 0
    space = Workspace(torch.device("cpu"), torch.float32)
    for layer in range(3):
        expected = by_autograd(blocks, layer, taped.inputs[layer], dense)
        tiling = plan_tiles(ends, most_rows=most_rows, waste=0.3)
        rows = rows_of(tiling, dense)
        backward = replace(backward_of(blocks, layer, taped, space), most_attention_rows=most_rows)
        backward.apply(rows, tiling)
        torch.testing.assert_close(dense_of(tiling, rows, 20), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_vector_that_enters_is_a_cotangent_at_one_position(name):
    blocks = take_blocks(make(name))
    taped = tape_context(blocks, TOKENS, 3)
    ends = [19, 17, 11, 11, 4, 2]
    vectors = torch.randn(len(ends), 32)
    dense = torch.zeros(len(ends), 20, 32)
    dense[np.arange(len(ends)), ends] = vectors
    space = Workspace(torch.device("cpu"), torch.float32)
    for way in ("total", "frozen"):
        tiling = plan_tiles(ends, first=2, most_rows=13, waste=0.3)
        backward = backward_of(blocks, 1, taped, space, way)
        entered = torch.full((tiling.n_rows, 32), torch.nan)
        enter(backward, vectors.clone(), tiling, entered)
        rows = rows_of(tiling, dense)
        backward.apply(rows, tiling)
        torch.testing.assert_close(
            dense_of(tiling, entered, 20), dense_of(tiling, rows, 20), atol=1e-4, rtol=1e-4
        )
        if way == "frozen":
            continue
        expected = by_autograd(blocks, 1, taped.inputs[1], dense)
        expected[:, :2] = 0
        torch.testing.assert_close(dense_of(tiling, entered, 20), expected, atol=1e-4, rtol=1e-4)


def test_padding_stays_zero():
    blocks = take_blocks(make("llama"))
    taped = tape_context(blocks, TOKENS, 1)
    tiling = plan_tiles([19, 9, 3], most_rows=1000, waste=5.0)
    dense = torch.randn(3, 20, 32)
    rows = rows_of(tiling, dense)
    padding = rows.abs().sum(-1) == 0
    assert padding.any()
    space = Workspace(torch.device("cpu"), torch.float32)
    backward_of(blocks, 0, taped, space).apply(rows, tiling)
    assert not rows[padding].any()


def test_buffers_are_taken_again():
    space = Workspace(torch.device("cpu"), torch.float32)
    first = space.take("a", 4, 5)
    assert space.take("a", 2, 3).data_ptr() == first.data_ptr()
    larger = space.take("a", 5, 5)
    assert larger.shape == (5, 5)
    assert larger.untyped_storage().nbytes() == 100
    assert space.take("a", 4, 5).data_ptr() == larger.data_ptr()
    assert space.take("b", 1).data_ptr() != larger.data_ptr()
