import numpy as np
import pytest

from glassbox.errors import InvalidValue
from glassbox.pathways.association.associating import KEPT, associate
from glassbox.pathways.sections import TokensSection
from glassbox.stats.effects.token_association import association_p
from glassbox.stats.multiple_testing import benjamini_hochberg
from tests.pathways.association.worlds import (
    CONDITIONS,
    at_random,
    corpus_of_texts,
    firing_on,
    in_runs,
    on_token,
    word_corpus,
    word_texts,
)

STRICT = TokensSection(q=0.01, n_permutations=50)
CORPUS = word_corpus(n=120, n_prompts=40)


def _called(found, *, condition="all", offset=0):
    rows = found.rows
    number = found.conditions.index(condition)
    keep = rows.significant & (rows.condition == number) & (rows.offset == offset)
    return {(int(c), int(t)) for c, t in zip(rows.latent[keep], rows.token_id[keep], strict=True)}


def test_planted_associations_are_recovered_and_nothing_else():
    rules = [on_token(5), at_random(), on_token(9), in_runs(), on_token(2, 0.6)]
    found = associate(firing_on(CORPUS, rules), CORPUS, STRICT)
    assert _called(found) == {(0, 5), (2, 9), (4, 2)}


def test_a_latent_that_fires_one_token_late_is_found_at_the_token_before():
    found = associate(firing_on(CORPUS, [on_token(5, offset=-1)]), CORPUS, STRICT)
    assert _called(found, offset=-1) == {(0, 5)}
    assert (0, 5) not in _called(found, offset=0) | _called(found, offset=1)


def test_an_association_of_one_condition_is_found_there_only():
    def rule(tokens, places, rng):
        return (tokens[places] == 4) & CORPUS.in_condition(CONDITIONS[0])[places] | (
            rng.random(len(places)) < 0.02
        )

    found = associate(firing_on(CORPUS, [rule]), CORPUS, STRICT)
    assert (0, 4) in _called(found, condition=CONDITIONS[0])
    # A prompt belongs to both conditions, if both answered it.
    only = CORPUS.in_condition(CONDITIONS[1]) & ~CORPUS.in_condition(CONDITIONS[0])
    assert only.any()
    both = associate(firing_on(CORPUS, [lambda t, p, r: only[p] & (t[p] == 4)]), CORPUS, STRICT)
    assert _called(both, condition=CONDITIONS[1]) == {(0, 4)}
    assert not _called(both, condition=CONDITIONS[0])


def test_shuffled_firing_is_silent():
    n_called = 0
    for seed in range(10):
        rules = [at_random(0.05), in_runs(), at_random(0.2), in_runs(20, 0.01)] * 2
        found = associate(
            firing_on(CORPUS, rules, seed), CORPUS, TokensSection(q=0.05, n_permutations=50)
        )
        n_called += sum(family.n_associated for family in found.families)
    # Ninety families at a false discovery rate of 0.05.
    assert n_called <= 4


def test_texts_that_hang_together_fool_fishers_test_and_not_the_turns():
    # Each text has a favourite word, which stands in a third of it, and each latent fires along
    # half of a text here and there: in positions they meet, in texts they do not.
    rng = np.random.default_rng(0)
    texts = []
    for prompt, response in word_texts(n=60, n_prompts=60, d_vocab=20, length=60, seed=1):
        words = np.array(response)
        words[rng.random(len(words)) < 0.35] = rng.integers(5, 20)
        texts.append((prompt, tuple(words.tolist())))
    corpus = corpus_of_texts(texts)
    n_fisher = n_turned = 0
    for seed in range(5):
        found = associate(
            firing_on(corpus, [in_runs(30, 0.004)] * 6, seed),
            corpus,
            TokensSection(q=0.05, offsets=(0,), n_permutations=50),
        )
        n_fisher += found.families[0].n_fisher
        n_turned += found.families[0].n_associated
    assert n_fisher > 20
    assert n_turned == 0


def test_rows_are_the_tests_of_their_tables():
    found = associate(
        firing_on(CORPUS, [on_token(5), on_token(1, 0.3), at_random(0.1)]), CORPUS, STRICT
    )
    rows = found.rows
    assert len(rows) > 0
    assert rows.p == pytest.approx(
        association_p(rows.n_both, rows.n_latent, rows.n_token, rows.n_positions), rel=1e-9
    )
    assert (rows.q >= rows.p).all()
    assert (rows.q_shift >= np.maximum(rows.p, rows.p_shift)).all()
    assert (rows.n_both <= np.minimum(rows.n_latent, rows.n_token)).all()
    assert (rows.pmi > 0).all()
    assert (rows.log_odds > 0).all()
    assert (rows.activation_mean > 0).all()
    assert (rows.significant == (rows.q_shift <= STRICT.q)).all()
    families = {(each.condition, each.offset) for each in found.families}
    assert families == {(c, o) for c in ("all", *CONDITIONS) for o in (-1, 0, 1)}


@pytest.mark.parametrize("q", [0.01, 0.2, 0.9])
def test_a_family_is_corrected_over_every_pair_of_latent_and_token(q):
    rules = [on_token(5), on_token(1, 0.3), at_random(0.1), in_runs(), at_random(0.02)]
    activations = firing_on(CORPUS, rules)
    settings = TokensSection(q=q, offsets=(0,), n_permutations=0)
    found = associate(activations, CORPUS, settings)
    # One table for each pair, met or not: slow, and nothing left out.
    places = np.flatnonzero(CORPUS.is_counted)
    words = CORPUS.tokens[places]
    common = [t for t in np.unique(words) if (words == t).sum() >= settings.min_count]
    at = {(int(d), int(p)): i for i, (d, p) in enumerate(
        zip(CORPUS.document_of[places], CORPUS.position_of[places], strict=True)
    )}  # fmt: skip
    pairs, tables = [], []
    for latent in range(len(rules)):
        mine = activations.entries_of(latent)
        fires = np.zeros(len(places), dtype=bool)
        for d, p in zip(activations.document[mine], activations.position[mine], strict=True):
            fires[at[int(d), int(p)]] = True
        for token in common:
            both = int((fires & (words == token)).sum())
            pairs.append((latent, int(token)))
            tables.append((both, int(fires.sum()), int((words == token).sum()), len(places)))
    both, fires, token, total = (np.array(column) for column in zip(*tables, strict=True))
    p = association_p(both, fires, token, total)
    adjusted = benjamini_hochberg(np.where(both * total > fires * token, p, 1.0))
    expected = {pair: value for pair, value in zip(pairs, adjusted, strict=True) if value <= q}
    rows = found.rows
    kept = [
        ((int(c), int(t)), float(value))
        for c, t, value, n in zip(rows.latent, rows.token_id, rows.q, rows.condition, strict=True)
        if n == 0
    ]
    assert found.families[0].n_fisher == len(expected) > 0
    assert found.families[0].n_tests == len(pairs)
    assert kept
    assert all(value == pytest.approx(expected[pair], rel=1e-9) for pair, value in kept)


def test_each_latent_keeps_its_strongest_tokens():
    # One latent fires on half of a large vocabulary.
    corpus = word_corpus(n=400, n_prompts=400, d_vocab=80)
    found = associate(
        firing_on(corpus, [lambda t, p, r: t[p] % 2 == 0]),
        corpus,
        TokensSection(q=0.05, offsets=(0,), n_permutations=0),
    )
    of_all = found.rows.condition == 0
    assert of_all.sum() == KEPT < found.families[0].n_fisher
    assert (np.diff(found.rows.p[of_all]) >= 0).all()


def test_the_same_settings_give_the_same_rows():
    activations = firing_on(CORPUS, [on_token(5), in_runs()])
    one, two = (associate(activations, CORPUS, STRICT) for _ in range(2))
    assert np.array_equal(one.rows.q_shift, two.rows.q_shift)
    assert one.families == two.families


def test_a_silent_latent_and_a_silent_world_are_no_trouble():
    silent = [at_random(0.0)]
    found = associate(firing_on(CORPUS, [on_token(5), *silent]), CORPUS, STRICT)
    assert {latent for latent, _ in _called(found)} == {0}
    nothing = associate(firing_on(CORPUS, silent), CORPUS, STRICT)
    assert len(nothing.rows) == 0
    assert nothing.families[0].n_tests == 0


def test_activations_of_another_corpus_are_refused():
    activations = firing_on(CORPUS, [on_token(5)])
    with pytest.raises(InvalidValue, match="corpus"):
        associate(activations, word_corpus(seed=9), STRICT)


def test_progress_counts_families():
    seen = []
    associate(firing_on(CORPUS, [on_token(5)]), CORPUS, STRICT, progress=lambda *x: seen.append(x))
    assert seen == [(number, 9) for number in range(1, 10)]
