"""When latents fire: histogram, top contexts and counts, from one pass over a corpus."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from glassbox.pathways.association import top_contexts as corpus_contexts
from glassbox.pathways.corpus.activations import Activations
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.integration.values import Histogram, TopContext
from glassbox.pathways.latents import LatentId

N_BINS: Final = 24
"""Bins of a histogram."""


@dataclass(frozen=True)
class Firings:
    """When one latent fires."""

    n_active: int
    """Positions."""
    active_share: float
    """Of all positions that count, in [0, 1]."""
    mean: float | None
    """Where it fires."""
    largest: float | None
    histogram: Histogram | None
    contexts: tuple[TopContext, ...]


def read_firings(
    activations: Activations,
    corpus: Corpus,
    latent: LatentId,
    text: Callable[[int], str],
    *,
    n_contexts: int = 10,
) -> Firings:
    """Return when a latent fires, with its strongest contexts, no two alike.

    Args:
        activations: Of all latents over the corpus.
        corpus: The one that was read.
        latent: Which latent.
        text: Text of a token id.
        n_contexts: Most contexts.

    Raises:
        UnknownName: The latent was not read.
    """
    column = activations.column(latent)
    values = activations.value[activations.entries_of(column)].astype(np.float64)
    n_counted = int(corpus.is_counted.sum())
    if not len(values):
        return Firings(0, 0.0, None, None, None, ())
    return Firings(
        n_active=len(values),
        active_share=len(values) / max(1, n_counted),
        mean=float(values.mean()),
        largest=float(values.max()),
        histogram=_histogram(values),
        contexts=tuple(
            _shown(each, text)
            for each in corpus_contexts.top_contexts(activations, corpus, column, n_contexts)
        ),
    )


def _histogram(values: Float[np.ndarray, " n"]) -> Histogram:
    counts, edges = np.histogram(values, bins=N_BINS, range=(0.0, float(values.max())))
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _shown(context: corpus_contexts.TopContext, text: Callable[[int], str]) -> TopContext:
    return TopContext(
        tokens=tuple(text(token) for token in context.token_ids),
        activations=tuple(float(value) for value in context.activations),
        peak=context.peak,
        condition=_condition(context.conditions),
        document=context.document_id,
        start=context.start,
    )


def _condition(names: Sequence[str]) -> str:
    """Return the one condition of a text, or how many there are; a prompt's are many."""
    return names[0] if len(names) == 1 else f"{len(names)} conditions" if names else ""
