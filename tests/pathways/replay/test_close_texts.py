import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.close_texts import choose_close_texts
from glassbox.pathways.replay.text_pathways import TextPathways

TEXTS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=12, unique=True),
    min_size=1,
    max_size=7,
)


def text(document_id, pairs, below=(), at=9, start=0):
    """A text that holds pathways from sources on layer 1 to targets on layer 3, by index."""
    everything = [*pairs, *below]
    targets = sorted({target for target, _ in everything})
    context = make_context(document_id, [1] * 10, [(LatentId(3, each), at) for each in targets])
    places = {each.latent.index: place for place, each in enumerate(context.targets)}
    n = len(everything)
    return TextPathways(
        context,
        np.array([places[target] for target, _ in everything], np.int64),
        np.ones(n, np.int64),
        np.array([source for _, source in everything], np.int64),
        np.ones(n, np.float32),
        np.arange(n) < len(pairs),
        np.full(n, start, np.int64),
        n,
    )


def close_pairs(wanted):
    targets = wanted.context.targets
    return {
        (targets[place].latent.index, source)
        for place, source, close in zip(
            wanted.target.tolist(), wanted.source_index.tolist(), wanted.close, strict=True
        )
        if close
    }


@given(TEXTS, st.integers(1, 3), st.integers(0, 3))
def test_every_pathway_has_as_many_close_texts_as_asked_or_as_it_has(given_pairs, n, seed):
    texts = [text(number * 3, pairs) for number, pairs in enumerate(given_pairs)]
    plan = choose_close_texts(texts, n, seed=seed)
    found = [close_pairs(plan.mark(each)) for each in texts]
    for pair in {each for pairs in given_pairs for each in pairs}:
        held = sum(pair in pairs for pairs in given_pairs)
        assert sum(pair in each for each in found) == min(n, held)
    for own, pairs in zip(found, given_pairs, strict=True):
        assert own <= set(pairs)


@given(TEXTS, st.integers(1, 2))
def test_the_order_of_the_texts_and_their_pathways_changes_nothing(given_pairs, n):
    texts = [text(number, pairs) for number, pairs in enumerate(given_pairs)]
    again = [text(number, pairs[::-1]) for number, pairs in enumerate(given_pairs)][::-1]
    plan, other = choose_close_texts(texts, n), choose_close_texts(again, n)
    for each in texts:
        assert close_pairs(plan.mark(each)) == close_pairs(other.mark(each))


def test_a_text_that_serves_many_targets_of_a_source_is_preferred():
    texts = [text(number, [(number, 0)]) for number in range(4)]
    together = text(9, [(number, 0) for number in range(4)])
    for seed in range(5):
        plan = choose_close_texts([*texts, together], 1, seed=seed)
        assert close_pairs(plan.mark(together)) == {(number, 0) for number in range(4)}
        assert not any(close_pairs(plan.mark(each)) for each in texts)


def test_of_texts_that_serve_as_many_the_one_with_the_shortest_run_is_taken():
    far, late, near = text(0, [(0, 0)]), text(1, [(0, 0)], start=7), text(2, [(0, 0)], at=1)
    for seed in range(5):
        plan = choose_close_texts([far, late, near], 1, seed=seed)
        assert [bool(plan.mark(each).close.any()) for each in (far, late, near)] == [
            False, False, True,
        ]  # fmt: skip
    # One run for two pathways may be twice as long as one of two runs, not more.
    for at, shared in ((2, False), (1, False), (5, True)):
        apart = [text(1, [(0, 0)], at=at), text(2, [(1, 0)], at=at)]
        both = text(3, [(0, 0), (1, 0)], at=9)
        plan = choose_close_texts([*apart, both], 1)
        assert (close_pairs(plan.mark(both)) == {(0, 0), (1, 0)}) == shared


def test_between_texts_that_serve_alike_the_seed_decides():
    texts = [text(number, [(0, 0)]) for number in range(6)]
    chosen = {
        next(number for number in range(6) if close_pairs(plan.mark(texts[number])))
        for plan in (choose_close_texts(texts, 1, seed=seed) for seed in range(40))
    }
    assert len(chosen) > 3


def test_the_sample_below_the_cut_is_always_close_and_takes_no_pathways_place():
    first, second = text(0, [(0, 0)], below=[(1, 2), (2, 0)]), text(1, [(0, 0)], below=[(2, 0)])
    plan = choose_close_texts([first, second], 1)
    kept = [(0, 0) in close_pairs(plan.mark(each)) for each in (first, second)]
    assert sum(kept) == 1
    assert close_pairs(plan.mark(first)) >= {(1, 2), (2, 0)}
    assert close_pairs(plan.mark(second)) >= {(2, 0)}


def test_none_is_every_text_and_a_text_without_pathways_has_none():
    texts = [text(number, [(0, 0), (1, number)]) for number in range(4)]
    plan = choose_close_texts(texts, None)
    assert all(plan.mark(each).close.all() for each in texts)
    assert choose_close_texts([], 1).by_document == {}
    assert len(plan.mark(text(7, [])).close) == 0


@pytest.mark.parametrize("n", [1, 2])
def test_a_target_that_stands_twice_in_a_text_is_close_at_both_places(n):
    context = make_context(4, [1, 2, 3], [(LatentId(3, 0), 1), (LatentId(3, 0), 2)])
    twice = TextPathways(
        context, np.array([0, 1]), np.ones(2, np.int64), np.zeros(2, np.int64),
        np.ones(2, np.float32), np.ones(2, bool), np.zeros(2, np.int64), 2,
    )  # fmt: skip
    assert choose_close_texts([twice], n).mark(twice).close.all()
