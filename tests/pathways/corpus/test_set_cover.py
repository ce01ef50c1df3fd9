import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.errors import InvalidValue, UnknownName
from glassbox.pathways.corpus.activations import sorted_activations
from glassbox.pathways.corpus.contexts import Context, Target, make_context
from glassbox.pathways.corpus.set_cover import TOP_SHARE, choose_contexts
from glassbox.pathways.latents import LatentId
from tests.pathways.corpus.worlds import logged_texts, word_corpus

CORPUS = word_corpus(logged_texts(50, n_prompts=50))


def _activations(seed, n_latents=6, density=0.2, corpus=CORPUS):
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(corpus.is_counted)
    fires = rng.random((len(places), n_latents)) < density
    token, column = np.nonzero(fires)
    at = places[token]
    return sorted_activations(
        tuple(LatentId(layer, 7) for layer in range(n_latents)),
        corpus.document_of[at],
        corpus.position_of[at],
        column,
        rng.gamma(2.0, size=len(at)) + 0.1,
        corpus_digest=corpus.digest,
    )


@given(st.integers(0, 10**6), st.integers(0, 4), st.integers(1, 4))
def test_each_target_gets_distinct_texts_where_it_really_fires(seed, top, spread):
    found = _activations(seed)
    choice = choose_contexts(found, CORPUS, top=top, spread=spread, seed=seed)
    fired = {
        (int(d), int(p), found.latents[c]): v
        for d, p, c, v in zip(
            found.document, found.position, found.latent, found.value, strict=True
        )
    }
    for latent in found.latents:
        places = [each for each in choice.places if each.latent == latent]
        assert len({each.document_id for each in places}) == len(places) <= top + spread
        assert len(places) + choice.missing.get(latent, 0) == top + spread
        for each in places:
            assert fired[each.document_id, each.position, latent] == pytest.approx(each.value)
    targets = {(c.document_id, t) for c in choice.contexts for t in c.targets}
    assert targets == {(p.document_id, Target(p.latent, p.position)) for p in choice.places}


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_the_top_texts_are_among_the_strongest(seed):
    found = _activations(seed)
    choice = choose_contexts(found, CORPUS, top=4, spread=0)
    for column, latent in enumerate(found.latents):
        entries = found.entries_of(column)
        peaks = {}
        for document, value in zip(found.document[entries], found.value[entries], strict=True):
            peaks[int(document)] = max(peaks.get(int(document), 0.0), float(value))
        fourth = sorted(peaks.values(), reverse=True)[3]
        places = [each for each in choice.places if each.latent == latent]
        assert len(places) == 4
        for each in places:
            assert each.value == pytest.approx(peaks[each.document_id])
            assert each.value >= TOP_SHARE * fourth - 1e-6


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_the_spread_covers_each_band_of_the_activations_once(seed):
    found = _activations(seed, density=0.4)
    choice = choose_contexts(found, CORPUS, top=0, spread=4)
    for column, latent in enumerate(found.latents):
        values = np.sort(found.value[found.entries_of(column)])
        places = sorted(
            (each for each in choice.places if each.latent == latent), key=lambda each: each.band
        )
        assert [each.band for each in places] == [0, 1, 2, 3]
        for each in places:
            rank = (np.searchsorted(values, np.float32(each.value)) + 0.5) / len(values)
            assert int(rank * 4) == each.band


@settings(max_examples=12)
@given(st.integers(0, 10**6))
def test_sharing_needs_fewer_texts_than_targets_alone_would(seed):
    found = _activations(seed, n_latents=8, density=0.4)
    together = choose_contexts(found, CORPUS)
    alone = {
        context.document_id
        for latent in found.latents
        for context in choose_contexts(found, CORPUS, [latent]).contexts
    }
    assert len(together.contexts) <= len(alone)
    assert not together.missing


def test_the_choice_is_the_same_every_time():
    found = _activations(3)
    assert choose_contexts(found, CORPUS) == choose_contexts(found, CORPUS)


def test_one_text_that_serves_all_is_taken_first():
    # Every target fires equally in document 5 and in one document of its own.
    latents = tuple(LatentId(0, index) for index in range(4))
    document = np.array([5, 5, 5, 5, 0, 1, 2, 3])
    found = sorted_activations(
        latents,
        document,
        np.ones(8, dtype=int),
        np.array([0, 1, 2, 3, 0, 1, 2, 3]),
        np.ones(8),
        corpus_digest=CORPUS.digest,
    )
    choice = choose_contexts(found, CORPUS, top=1, spread=0)
    assert [context.document_id for context in choice.contexts] == [5]
    assert len(choice.contexts[0].targets) == 4
    assert choice.to_json()["n_places"] == 4


def test_a_silent_target_is_said_to_lack_everything():
    latents = (LatentId(0, 1), LatentId(2, 2))
    found = sorted_activations(
        latents, np.array([4]), np.array([2]), np.array([0]), np.array([1.0]),
        corpus_digest=CORPUS.digest,
    )  # fmt: skip
    choice = choose_contexts(found, CORPUS)
    assert choice.missing == {latents[0]: 7, latents[1]: 8}


def test_what_cannot_be_is_refused():
    found = _activations(1)
    with pytest.raises(InvalidValue, match="not both 0"):
        choose_contexts(found, CORPUS, top=0, spread=0)
    with pytest.raises(UnknownName, match="L9-9"):
        choose_contexts(found, CORPUS, [LatentId(9, 9)])
    with pytest.raises(InvalidValue, match="corpus"):
        choose_contexts(found, word_corpus(logged_texts(3)))
    with pytest.raises(InvalidValue, match=r"position in \[0, 2\)"):
        Context(0, (1, 2), (Target(LatentId(0, 0), 2),))
    with pytest.raises(InvalidValue, match="not excluded"):
        make_context(0, (1, 2), [(LatentId(0, 0), 0)], excluded=[0])


def test_targets_are_distinct_and_in_the_order_of_layers():
    a, b = LatentId(3, 1), LatentId(1, 9)
    context = make_context(0, (5, 6, 7), [(a, 1), (b, 2), (a, 1), (b, 1)])
    assert context.targets == (Target(b, 1), Target(b, 2), Target(a, 1))
    assert (context.last_layer, context.last_position) == (3, 2)
