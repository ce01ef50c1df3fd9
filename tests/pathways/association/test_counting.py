from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.pathways.association import counting
from glassbox.pathways.association.counting import count_pairs
from glassbox.pathways.association.rings import firings_of, rings_of
from tests.pathways.association.worlds import at_random, firing_on, on_token, word_corpus


def _by_hand(corpus, offset):
    """Each counted position with the token at the offset, found one at a time."""
    found = {}
    for span in corpus.spans():
        tokens = corpus.token_ids(span.document_id)
        excluded = corpus.excluded(span.document_id)
        stop = span.stop if span.part == "prompt" else len(tokens)
        for position in range(span.start, span.stop):
            other = position + offset
            if position in excluded or not 0 <= other < stop:
                continue
            if tokens[other] not in corpus.special_ids:
                found[span.document_id, position] = tokens[other]
    return found


@given(st.integers(0, 1000), st.integers(-3, 3), st.integers(1, 6))
def test_rings_hold_what_a_walk_through_the_texts_finds(seed, offset, min_count):
    corpus = word_corpus(n=12, n_prompts=5, seed=seed)
    rings = rings_of(corpus, offset, min_count=min_count)
    expected = _by_hand(corpus, offset)
    frequency = Counter(expected.values())
    found = {
        (int(corpus.document_of[flat]), int(corpus.position_of[flat])): (
            None if label < 0 else int(rings.vocabulary[label])
        )
        for flat, label in zip(rings.flat, rings.label, strict=True)
    }
    assert found == {
        place: token if frequency[token] >= min_count else None for place, token in expected.items()
    }
    assert rings.length.sum() == len(rings)
    assert (np.diff(rings.ring) >= 0).all()


@given(st.integers(0, 1000))
def test_turning_moves_positions_inside_their_ring_and_back(seed):
    rings = rings_of(word_corpus(n=8, seed=seed), 0, min_count=1)
    by = np.random.default_rng(seed).integers(0, rings.length)
    turned = rings.turned(by)
    assert sorted(turned.tolist()) == list(range(len(rings)))
    assert (rings.ring[turned] == rings.ring).all()
    back = rings.turned((rings.length - by) % rings.length)
    assert (back[turned] == np.arange(len(rings))).all()


@pytest.mark.parametrize("cells", [1, 50, 1 << 22])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_counts_are_those_of_a_walk_through_the_firings(cells, offset, monkeypatch):
    monkeypatch.setattr(counting, "TABLE_CELLS", cells)
    corpus = word_corpus(n=20, n_prompts=6)
    found = firing_on(corpus, [on_token(3), at_random(0.1), on_token(1, 0.5), at_random(0.0)])
    rings = rings_of(corpus, offset, min_count=2)
    firings = firings_of(rings, found, corpus)
    counts = count_pairs(rings, firings, np.ones(len(rings), dtype=bool), 4)
    tokens = _by_hand(corpus, offset)
    both, sums, fires = Counter(), Counter(), Counter()
    for document, position, column, value in zip(
        found.document, found.position, found.latent, found.value, strict=True
    ):
        token = tokens.get((int(document), int(position)))
        if token is not None:
            fires[int(column)] += 1
            if token in rings.vocabulary:
                both[int(column), token] += 1
                sums[int(column), token] += float(value)
    pairs = zip(counts.latent.tolist(), rings.vocabulary[counts.label].tolist(), strict=True)
    keys = list(pairs)
    assert dict(zip(keys, counts.n_both.tolist(), strict=True)) == both
    for key, total in zip(keys, counts.value_sum.tolist(), strict=True):
        assert total == pytest.approx(sums[key], rel=1e-5)
    assert counts.n_fires.tolist() == [fires[column] for column in range(4)]
    assert counts.n_positions == len(tokens)
    frequency = Counter(tokens.values())
    assert counts.n_token.tolist() == [frequency[token] for token in rings.vocabulary.tolist()]
