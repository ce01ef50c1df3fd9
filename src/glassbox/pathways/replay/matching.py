"""Random directions to stand in for those of sources, and rows of many latents put together.

Knows nothing of effects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.saes.rows import LatentRows

POOL = 512
"""Random latents of each layer whose directions are drawn from."""


def draw_pool(
    dictionaries: Dictionaries, layers: Sequence[int], *, n: int = POOL, seed: int = 0
) -> dict[int, LatentRows]:
    """Return random rows of some layers' dictionaries; all of a small one.

    Rows that write nothing, as latents that died in training may, are left out: they have no
    direction.

    Args:
        dictionaries: Where to draw from.
        layers: Layers that have sources.
        n: Most rows of a layer.
        seed: Of the draw.
    """
    pool = {}
    for layer in sorted(set(layers)):
        reader = dictionaries.reader(layer)
        rng = np.random.default_rng((seed, layer))
        chosen = rng.choice(reader.d_sae, size=min(n, reader.d_sae), replace=False)
        rows = reader.read_rows(torch.from_numpy(np.sort(chosen).astype(np.int64)))
        pool[layer] = rows.select(rows.w_dec.any(dim=1).nonzero().flatten())
    return pool


def join_rows(*parts: Mapping[int, LatentRows]) -> dict[int, LatentRows]:
    """Return the rows of several mappings as one, each latent once, ascending."""
    joined = {}
    for layer in sorted({each for part in parts for each in part}):
        given = [part[layer] for part in parts if layer in part]
        indices = torch.cat([each.indices for each in given])
        _, first = np.unique(indices.numpy(), return_index=True)
        at = torch.from_numpy(first)
        one = given[0]
        alike = [each.to(one.w_enc.device, one.w_enc.dtype) for each in given]
        everything = replace(
            one,
            indices=indices,
            w_enc=torch.cat([each.w_enc for each in alike]),
            b_enc=torch.cat([each.b_enc for each in alike]),
            w_dec=torch.cat([each.w_dec for each in alike]),
            threshold=torch.cat([each.threshold for each in alike]),
        )
        joined[layer] = everything.select(at)
    return joined


def random_directions(
    source: LatentId, pool: Mapping[int, LatentRows], n: int, seed: tuple[int, ...]
) -> list[LatentId]:
    """Return random latents of a source's layer whose directions stand in for its own.

    Written at the source's positions and as long as its own direction is there, they are sources
    that match it in everything but the direction.

    Args:
        source: The latent that they stand in for; it is not among them.
        pool: The latents to draw from.
        n: How many; fewer where the pool is smaller.
        seed: Of the draw.
    """
    if source.layer not in pool:
        return []
    rng = np.random.default_rng((*seed, source.layer, source.index))
    others = [each for each in pool[source.layer].indices.tolist() if each != source.index]
    chosen = rng.choice(len(others), size=min(n, len(others)), replace=False)
    return [LatentId(source.layer, others[at]) for at in chosen.tolist()]
