import numpy as np
import pytest

from glassbox.errors import UnknownName
from glassbox.pathways.corpus.activations import sorted_activations
from glassbox.pathways.corpus.documents import CorpusCounts, corpus_of
from glassbox.pathways.integration.firings import read_firings
from glassbox.pathways.latents import LatentId

FIRES, SILENT = LatentId(1, 4), LatentId(2, 5)


@pytest.fixture
def world():
    corpus = corpus_of(
        [((0, 5, 6, 7), (8, 9)), ((0, 5, 6, 7), (9, 9)), ((0, 6, 6, 6), (8,))],
        [{"safe_baseline": 1}, {"risky_baseline": 2}, {"safe_baseline": 1}],
        special_ids=(0,), counts=CorpusCounts(4, 1, 0, 0, 0, 0, 0, 0),
    )  # fmt: skip
    places = [(0, 2, 1.0), (0, 4, 3.0), (1, 5, 2.0), (2, 1, 0.5)]
    activations = sorted_activations(
        (FIRES, SILENT), np.array([p[0] for p in places]), np.array([p[1] for p in places]),
        np.zeros(4, dtype=np.int32), np.array([p[2] for p in places], dtype=np.float32),
        corpus_digest=corpus.digest,
    )  # fmt: skip
    return activations, corpus


def test_counts_are_over_positions_that_count(world):
    activations, corpus = world
    found = read_firings(activations, corpus, FIRES, lambda token: f"t{token}")
    assert found.n_active == 4
    assert found.active_share == pytest.approx(4 / corpus.is_counted.sum())
    assert (found.mean, found.largest) == pytest.approx((1.625, 3.0))
    assert sum(found.histogram.counts) == 4
    assert found.histogram.edges[0] == 0
    assert found.histogram.edges[-1] == pytest.approx(3.0)


def test_contexts_come_strongest_first_with_the_activation_of_every_token(world):
    activations, corpus = world
    found = read_firings(activations, corpus, FIRES, lambda token: f"t{token}", n_contexts=2)
    first, second = found.contexts
    assert first.document == 0
    assert first.tokens[first.peak] == "t8"
    assert first.activations == pytest.approx((0, 0, 1.0, 0, 3.0, 0))
    assert first.condition == "safe_baseline"
    # The prompt's activation was read in the document that owns it.
    assert second.activations == pytest.approx((0, 0, 1.0, 0, 0, 2.0))


def test_a_silent_latent_has_neither_histogram_nor_contexts(world):
    found = read_firings(*world, SILENT, str)
    assert (found.n_active, found.mean, found.histogram, found.contexts) == (0, None, None, ())
    with pytest.raises(UnknownName, match="L9-9"):
        read_firings(*world, LatentId(9, 9), str)
