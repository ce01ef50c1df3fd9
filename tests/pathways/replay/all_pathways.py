"""Every pathway from some latents, whatever gradients would say: for exhaustive replays."""

from collections.abc import Iterable

import numpy as np

from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.text_pathways import TextPathways


def pathways_of_sources(context: Context, sources: Iterable[LatentId]) -> TextPathways:
    """Return all pathways from some latents to a text's targets, without predictions."""
    pairs = [
        (target, source.layer, source.index)
        for source in sorted(set(sources))
        for target, each in enumerate(context.targets)
        if each.latent.layer > source.layer
    ]
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    n = len(pairs)
    return TextPathways(
        context, columns[:, 0], columns[:, 1], columns[:, 2],
        np.full(n, np.nan, np.float32), np.ones(n, bool), np.zeros(n, np.int64), n,
    )  # fmt: skip
