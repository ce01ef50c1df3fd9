"""Where a latent fires most: pieces of text with the activation of every token in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glassbox.pathways.corpus.activations import Activations
from glassbox.pathways.corpus.documents import Corpus
from glassbox.types import TokenIds

BEFORE = 24
"""Tokens shown before the strongest one."""

AFTER = 8
"""Tokens shown after it."""


@dataclass(frozen=True, eq=False)
class TopContext:
    """A piece of text around a latent's strongest firing in one document."""

    document_id: int
    """Document of the corpus."""
    start: int
    """Position of the first token shown."""
    token_ids: TokenIds
    """Tokens shown, in order."""
    activations: Float[np.ndarray, " n"]
    """The latent's activation on each; 0 where it is silent or the position does not count."""
    peak: int
    """Place of the strongest token among those shown."""
    conditions: tuple[str, ...]
    """Conditions under which this text was logged; a prompt's are those of all its responses."""
    part: str
    """Whether the strongest token is in the ``prompt`` or the ``response``."""


def top_contexts(
    activations: Activations, corpus: Corpus, column: int, n: int
) -> tuple[TopContext, ...]:
    """Return the pieces of text with a latent's strongest firings, one a document, no two alike.

    Args:
        activations: Of the corpus.
        corpus: The texts.
        column: The latent, as a column of the activations.
        n: Most contexts.
    """
    entries = activations.entries_of(column)
    documents, values = activations.document[entries], activations.value[entries]
    order = np.lexsort((entries, -values))
    found: list[TopContext] = []
    seen: set[int] = set()
    shown: set[tuple[int, TokenIds]] = set()
    for place in order:
        if len(found) == n:
            break
        document = int(documents[place])
        if document in seen:
            continue
        seen.add(document)
        position = int(activations.position[entries[place]])
        context = _around(activations, corpus, column, document, position)
        if (context.peak, context.token_ids) not in shown:
            shown.add((context.peak, context.token_ids))
            found.append(context)
    return tuple(found)


def activations_along(
    activations: Activations, corpus: Corpus, columns: Sequence[int], document_id: int
) -> Float[np.ndarray, "n_columns n_tokens"]:
    """Return what some latents do along a whole document; 0 on positions that do not count.

    A prompt that an earlier document had first shows what was read there.
    """
    length = int(corpus.lengths[document_id])
    along = np.zeros((len(columns), length), dtype=np.float32)
    place = np.full(len(activations.latents), -1)
    place[list(columns)] = np.arange(len(columns))
    owner = int(corpus.prompt_owner[document_id])
    n_prompt = int(corpus.n_prompt[document_id])
    for source in {document_id, owner}:
        entries = activations.entries_in(source)
        position = activations.position[entries]
        row = place[activations.latent[entries]]
        keep = (row >= 0) & ((position < n_prompt) | (source == document_id))
        along[row[keep], position[keep]] = activations.value[entries][keep]
    return along


def _around(
    activations: Activations, corpus: Corpus, column: int, document: int, position: int
) -> TopContext:
    tokens = corpus.token_ids(document)
    start, stop = max(0, position - BEFORE), min(len(tokens), position + AFTER + 1)
    along = activations_along(activations, corpus, [column], document)[0]
    in_prompt = position < corpus.n_prompt[document]
    same = corpus.prompt_owner == document if in_prompt else np.arange(len(corpus)) == document
    logged = corpus.n_logged[same].sum(0)
    return TopContext(
        document_id=document,
        start=start,
        token_ids=tokens[start:stop],
        activations=along[start:stop],
        peak=position - start,
        conditions=tuple(
            name for name, count in zip(corpus.conditions, logged, strict=True) if count
        ),
        part="prompt" if in_prompt else "response",
    )
