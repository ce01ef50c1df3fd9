"""How much of the model runs for the effects on the decision, counted in the rehearsal's prompts.

A latent is ablated from where it first fires in a prompt, and on the layers above its own; where it
does not fire nothing runs. Knows nothing of rates.
"""

from dataclasses import dataclass

import numpy as np

from glassbox.pathways.corpus.activations import Activations
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.integration.looks import expected_directions, looks_of


@dataclass(frozen=True)
class DecisionRuns:
    """What one prompt takes, on average, in tokens times blocks."""

    clean: float
    """Runs with nothing changed, for one look at all latents."""
    ablated: float
    """Runs with each latent ablated once."""

    def of_prompt(self, n_latents: int, n_random: int) -> float:
        """Return what all looks at all latents take in one prompt, tokens times blocks.

        Args:
            n_latents: Latents of the study.
            n_random: Random directions of each latent's last look.
        """
        n_runs = 1 + expected_directions(n_latents, n_random)
        return len(looks_of(n_latents, n_random)) * self.clean + n_runs * self.ablated


def decision_runs(
    found: Activations, corpus: Corpus, *, n_layers: int, by_blocks: bool
) -> DecisionRuns:
    """Return what effects on the decision run in one prompt.

    Args:
        found: What all latents of the study do in the rehearsal's texts.
        corpus: Those texts.
        n_layers: Blocks of the model.
        by_blocks: Whether its blocks are known by heart. Of other models a clean run goes along
            with every latent, and the blocks above it are run over the whole prompt.
    """
    is_prompt = (corpus.prompt_owner == np.arange(len(corpus))) & (corpus.n_prompt > 0)
    n_prompt = corpus.n_prompt.astype(np.int64)
    fires = is_prompt[found.document] & (found.position < n_prompt[found.document])
    document, position = found.document[fires].astype(np.int64), found.position[fires]
    # Entries come in the order of the text: the first of a latent in a document is where it begins.
    pairs = document * len(found.latents) + found.latent[fires]
    _, first = np.unique(pairs, return_index=True)
    lengths = n_prompt[document[first]]
    n_tokens = lengths - position[first] if by_blocks else lengths
    layers = np.array([each.layer for each in found.latents])
    n_above = n_layers - 1 - layers[found.latent[fires][first]]
    n_prompts = max(1, int(is_prompt.sum()))
    clean = n_prompt[is_prompt] if by_blocks else lengths
    return DecisionRuns(
        clean=float(clean.sum()) * n_layers / n_prompts,
        ablated=float((n_tokens * n_above).sum()) / n_prompts,
    )
