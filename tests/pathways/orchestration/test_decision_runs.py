"""Where ablations before the decision begin: counted in a corpus, held against the meter's runs."""

import numpy as np
import pytest

from glassbox.pathways.corpus.activations import sorted_activations
from glassbox.pathways.corpus.documents import CorpusCounts, corpus_of
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.decision_runs import DecisionRuns, decision_runs

N_LAYERS = 5
LATENTS = (LatentId(1, 7), LatentId(3, 2), LatentId(4, 0))
TEXTS = [
    # Two responses to one prompt, another prompt, and a response without any.
    ((0, 5, 6, 7, 8, 9), (10, 11)),
    ((0, 5, 6, 7, 8, 9), (12,)),
    ((0, 4, 3), (10,)),
    ((), (13, 14)),
]
FIRINGS = [
    # Document, position, latent.
    (0, 2, 0), (0, 4, 0), (0, 5, 1), (0, 6, 2),  # the last one in the response
    (1, 6, 0), (2, 1, 2), (2, 2, 0), (3, 1, 1),
]  # fmt: skip


def corpus():
    counts = CorpusCounts(*[0] * 8)
    return corpus_of(TEXTS, [{"safe_baseline": 1}] * 4, special_ids=[0], counts=counts)


def activations(firings=FIRINGS):
    document, position, latent = np.array(firings, dtype=np.int64).reshape(-1, 3).T
    value = np.ones(len(firings), np.float32)
    return sorted_activations(LATENTS, document, position, latent, value, corpus_digest="")


def test_runs_begin_where_a_latent_first_fires_in_the_prompt():
    found = decision_runs(activations(), corpus(), n_layers=N_LAYERS, by_blocks=True)
    # Above layer 1 are three blocks, above layer 3 one, above layer 4 none.
    assert found == DecisionRuns(
        clean=(6 + 3) * N_LAYERS / 2,
        ablated=((6 - 2) * 3 + (6 - 5) * 1 + (3 - 2) * 3 + (3 - 1) * 0) / 2,
    )


def test_without_known_blocks_each_latent_takes_a_clean_run_and_whole_prompts():
    found = decision_runs(activations(), corpus(), n_layers=N_LAYERS, by_blocks=False)
    assert found == DecisionRuns(
        clean=(6 + 6 + 3 + 3) * N_LAYERS / 2, ablated=(6 * 3 + 6 * 1 + 3 * 3 + 3 * 0) / 2
    )


@pytest.mark.parametrize("by_blocks", [True, False])
def test_where_nothing_fires_nothing_runs(by_blocks):
    found = decision_runs(activations([]), corpus(), n_layers=N_LAYERS, by_blocks=by_blocks)
    assert found == DecisionRuns(clean=22.5 if by_blocks else 0, ablated=0)
