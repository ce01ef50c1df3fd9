"""Texts drawn from a Zipf-like vocabulary, and latents that fire on purpose or at random."""

import numpy as np

from glassbox.pathways.corpus.activations import sorted_activations
from glassbox.pathways.corpus.documents import CorpusCounts, corpus_of
from glassbox.pathways.latents import LatentId

CONDITIONS = ("risky_baseline", "safe_baseline")
NO_COUNTS = CorpusCounts(0, 0, 0, 0, 0, 0, 0, 0)


def word_texts(n=60, n_prompts=20, d_vocab=40, length=30, seed=0):
    """Prompts of 10 tokens behind a BOS, shared by responses of about ``length``."""
    rng = np.random.default_rng(seed)
    common = 1 / np.arange(1, d_vocab + 1)
    common /= common.sum()

    def words(size):
        return tuple((1 + rng.choice(d_vocab, size, p=common)).tolist())

    prompts = [(0, *words(10)) for _ in range(n_prompts)]
    return [(prompts[i % n_prompts], words(int(rng.integers(5, length)))) for i in range(n)]


def corpus_of_texts(texts):
    logged = [{CONDITIONS[i % 2]: 1} for i in range(len(texts))]
    return corpus_of(texts, logged, special_ids=[0], counts=NO_COUNTS)


def word_corpus(**options):
    return corpus_of_texts(word_texts(**options))


def firing_on(corpus, rules, seed=0):
    """Activations of one latent for each rule: a function of (tokens, counted places, random)."""
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(corpus.is_counted)
    where, latent = [], []
    for column, rule in enumerate(rules):
        fires = places[rule(corpus.tokens, places, rng)]
        where.append(fires)
        latent.append(np.full(len(fires), column))
    at = np.concatenate(where)
    return sorted_activations(
        tuple(LatentId(1, 10 * column) for column in range(len(rules))),
        corpus.document_of[at],
        corpus.position_of[at],
        np.concatenate(latent),
        rng.gamma(2.0, size=len(at)) + 0.1,
        corpus_digest=corpus.digest,
    )


def on_token(token, hit=0.9, noise=0.01, offset=0):
    """Fires where ``token`` stands at an offset from it, and now and then elsewhere."""

    def rule(tokens, places, rng):
        other = np.clip(places + offset, 0, len(tokens) - 1)
        return (tokens[other] == token) & (rng.random(len(places)) < hit) | (
            rng.random(len(places)) < noise
        )

    return rule


def at_random(share=0.05):
    return lambda tokens, places, rng: rng.random(len(places)) < share


def in_runs(run=8, share=0.02):
    """Fires in runs, as latents do that follow a subject."""

    def rule(tokens, places, rng):
        starts = rng.random(len(places)) < share
        return np.convolve(starts, np.ones(run))[: len(places)] > 0

    return rule
