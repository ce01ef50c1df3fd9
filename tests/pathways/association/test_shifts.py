import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.pathways.association import shifts
from glassbox.pathways.association.counting import count_pairs
from glassbox.pathways.association.rings import firings_of, rings_of
from glassbox.pathways.association.shifts import Pairs, bounds, permutation_p, shift_p
from tests.pathways.association.worlds import at_random, firing_on, in_runs, on_token, word_corpus


def _world(seed=0, n=16, rules=None, min_count=3):
    corpus = word_corpus(n=n, n_prompts=n, length=12, d_vocab=12, seed=seed)
    rules = rules or [on_token(3, 0.6), at_random(0.1), in_runs(4, 0.05), on_token(7, 0.3)]
    found = firing_on(corpus, rules, seed)
    rings = rings_of(corpus, 0, min_count=min_count)
    firings = firings_of(rings, found, corpus)
    counts = count_pairs(rings, firings, np.ones(len(rings), dtype=bool), len(rules))
    return rings, firings, Pairs(counts.latent, counts.label, counts.n_both)


def _exact(rings, firings, latent, label, observed):
    """The tail over all turns of all rings: a convolution of what each ring can show."""
    fires = np.zeros(len(rings), dtype=bool)
    fires[firings.where[firings.latent == latent]] = True
    stands = rings.label == label
    total = np.ones(1)
    for start, length in zip(rings.start, rings.length, strict=True):
        ring = slice(start, start + length)
        counts = [int((np.roll(fires[ring], r) & stands[ring]).sum()) for r in range(length)]
        total = np.convolve(total, np.bincount(counts) / length)
    return float(total[observed:].sum())


@settings(max_examples=12)
@given(st.integers(0, 1000))
def test_the_bound_holds_for_every_pair(seed):
    rings, firings, pairs = _world(seed)
    for latent, label, n_both, bound in zip(
        pairs.latent, pairs.label, pairs.n_both, bounds(rings, firings, pairs), strict=True
    ):
        assert bound >= _exact(rings, firings, latent, label, n_both) * (1 - 1e-9)


def test_random_turns_agree_with_all_turns():
    rings, firings, pairs = _world(3)
    p = permutation_p(rings, firings, pairs, n_permutations=3000, seed=1)
    exact = np.array(
        [
            _exact(rings, firings, *each)
            for each in zip(pairs.latent, pairs.label, pairs.n_both, strict=True)
        ]
    )
    # Settled after ten hits, a p-value has a relative error of about a third.
    assert (np.abs(np.log(np.maximum(p, 1e-3) / np.maximum(exact, 1e-3))) < 1.3).all()
    assert np.abs(np.mean(np.log(np.maximum(p, 1e-3) / np.maximum(exact, 1e-3)))) < 0.25


@settings(max_examples=12)
@given(st.integers(0, 1000))
def test_some_rings_turn_as_they_do_among_all(seed):
    rings, _, _ = _world(seed)
    draw = np.random.default_rng(seed)
    keep = draw.random(len(rings.length)) < 0.5
    by = draw.integers(0, rings.length)
    some, inside = rings.at(keep), keep[rings.ring]
    assert len(some) == inside.sum()
    # Each of their positions comes to stand where it does among all, its token with it.
    moved = rings.turned(by)[inside]
    assert np.array_equal(some.flat[some.turned(by[keep])], rings.flat[moved])
    assert np.array_equal(some.label[some.turned(by[keep])], rings.label[moved])
    for ring, (start, length) in enumerate(zip(some.start, some.length, strict=True)):
        assert (some.ring[start : start + length] == ring).all()


def test_latents_tested_together_or_apart_have_the_same_p(monkeypatch):
    rings, firings, pairs = _world(5)
    together = permutation_p(rings, firings, pairs, n_permutations=60, seed=2)
    apart = np.concatenate(
        [
            permutation_p(
                rings, firings.at(firings.latent == each), pairs.at(pairs.latent == each),
                n_permutations=60, seed=2,
            )
            for each in np.unique(pairs.latent)
        ]
    )  # fmt: skip
    assert np.array_equal(together, apart)
    monkeypatch.setattr(shifts, "TABLE_CELLS", 1)
    monkeypatch.setattr(shifts, "PARTS", 1)
    assert np.array_equal(permutation_p(rings, firings, pairs, n_permutations=60, seed=2), apart)
    bound = bounds(rings, firings, pairs)
    monkeypatch.undo()
    assert bound == pytest.approx(bounds(rings, firings, pairs))


def test_the_p_value_is_the_bound_where_turns_cannot_show_it():
    rings, firings, pairs = _world(1, n=40, rules=[on_token(3, 1.0, 0.0), at_random(0.1)])
    p = shift_p(rings, firings, pairs, n_permutations=99, seed=0)
    bound = bounds(rings, firings, pairs)
    planted = (pairs.latent == 0) & (bound < 0.01)
    assert planted.any()
    assert (p[planted] == bound[planted]).all()
    assert (p[~planted] >= 0.01).all()
    assert (shift_p(rings, firings, pairs, n_permutations=0, seed=0) == bound).all()


def test_p_values_of_random_turns_are_those_of_chance():
    # Firing at random: a p-value of at most a comes with a probability of at most about a.
    found = []
    for seed in range(12):
        rings, firings, pairs = _world(seed, rules=[at_random(0.1), in_runs(5, 0.04)] * 3)
        p = permutation_p(rings, firings, pairs, n_permutations=100, seed=seed)
        found.append(p)
    p = np.concatenate(found)
    assert len(p) > 300
    for level in (0.05, 0.1, 0.25):
        assert (p <= level).mean() < 1.5 * level
