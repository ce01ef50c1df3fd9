"""Cotangents that enter the sweep: a block's derivative for targets that stand behind it.

Right behind its own layer a target's cotangent is one vector at one position. Until attention
spreads it, only that one row is worth multiplying: most of a block is skipped.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.pathways.blocks.backward import Backward, Place, places_of, turn_into
from glassbox.pathways.blocks.tiles import Strip, Tiling


def enter(
    backward: Backward,
    vectors: Float[Tensor, "targets d"],
    tiling: Tiling,
    out: Float[Tensor, "rows d"],
) -> None:
    """Write the cotangents of a block's input, given one vector a target behind the block.

    Args:
        backward: The block's derivative.
        vectors: Cotangents of the block's output at each target's own position; overwritten.
        tiling: The targets' cones; none ends before the first position that matters.
        out: Rows of the tiling, overwritten.
    """
    block = backward.block
    ends = torch.tensor(tiling.ends, device=vectors.device)
    backward.through_mlp(vectors, [Place(slice(None), ends, 1)])
    heads = vectors @ block.output
    sums = _attention(backward, heads, ends)
    at_end = heads @ block.query if backward.way == "total" else None
    own = tiling.row_of(np.arange(len(tiling.ends)), np.asarray(tiling.ends))
    out.zero_()
    out[torch.as_tensor(own, device=out.device)] = vectors
    for strip in tiling.strips:
        normed = backward.from_keys(strip, sums)
        if at_end is not None:
            inside = _ends_in(tiling.ends, strip)
            rows = torch.as_tensor(own[inside] - strip.rows.start, device=out.device)
            normed.index_add_(0, rows, at_end[inside])
        backward.through_norm(out[strip.rows], normed, backward.attention_norm, places_of(strip))


def _ends_in(ends: Sequence[int], strip: Strip) -> slice:
    """Return which targets end inside a strip: consecutive ones, as they are sorted."""
    positions = -np.asarray(ends)
    stop, start = strip.tiles[0].stop, strip.tiles[-1].start
    first, last = np.searchsorted(positions, (1 - stop, 1 - start))
    return slice(int(first), int(last))


def _attention(
    backward: Backward, heads: Float[Tensor, "targets n_query"], ends: Tensor
) -> tuple[Tensor, Tensor]:
    """Turn cotangents of heads' outputs into those of queries; return keys' and values'.

    Each target has one query, at its end.
    """
    tape = backward.tape
    n_kv, n_group, _, head = tape.query.shape
    n, stop = len(ends), int(ends[0]) + 1
    given = heads.view(n, n_kv, n_group, head).permute(1, 2, 0, 3)
    queries = tape.query[:, :, ends]
    distance = ends[:, None] - torch.arange(stop, device=ends.device)
    hidden = distance < 0 if tape.window is None else (distance < 0) | (distance >= tape.window)
    logits = (queries @ tape.key[:, None, :stop].transpose(-1, -2)).float()
    probs = logits.masked_fill_(hidden, -torch.inf).softmax(-1).to(heads.dtype)
    values = _by_key(probs, given)
    if backward.way == "frozen":
        return values, values
    slopes = given @ tape.value[:, None, :stop].transpose(-1, -2)
    slopes.sub_((given * tape.heads[:, :, ends]).sum(-1, keepdim=True)).mul_(probs)
    keys = _by_key(slopes, queries)
    by_query = slopes @ (tape.key[:, None, :stop] * head**-0.5)
    rows = heads.view(n, n_kv, n_group, head)
    turn_into(by_query.permute(2, 0, 1, 3), rows, backward.table(ends, 2))
    return keys, values


def _by_key(
    weights: Float[Tensor, "n_kv group targets keys"],
    vectors: Float[Tensor, "n_kv group targets head"],
) -> Float[Tensor, "n_kv keys targets head"]:
    """Return, by key, the weighted sum over the heads that share it."""
    summed = weights.permute(0, 2, 3, 1) @ vectors.permute(0, 2, 1, 3)
    return summed.transpose(1, 2)
