"""The law behind p_positive: what each construction does to the valence of its parts."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.tiny import clauses, grammar
from recipes.tiny.corpus import is_labelled_word
from recipes.tiny.grammar import CONSTRUCTIONS, DATASET_STYLE, draw_text
from recipes.tiny.lexicon import load_lexicon
from recipes.tiny.neutral import draw_neutral

LEXICON = load_lexicon()
SEEDS = st.integers(min_value=0, max_value=2**32)
SIGNS = st.sampled_from((-1, 1))


def scene(seed):
    rng = random.Random(seed)
    return clauses.Scene(rng, LEXICON, rng.choice(LEXICON.domains), grammar.any_word)


@given(SEEDS, SIGNS)
def test_a_negation_turns_its_word_round_and_weakens_it(seed, sign):
    plain = clauses.fill(scene(seed), "x", "{a} {was} {m}", sign, 1.0)
    negated = clauses.fill(scene(seed), "x", "{a} {was} not {m}", sign, clauses.NEGATED)
    assert math.copysign(1, negated.value) == -sign
    assert abs(negated.value) < abs(plain.value)
    assert negated.text == plain.text.replace(" was ", " was not ").replace(" were ", " were not ")


@given(SEEDS, SIGNS, st.sampled_from(["statement", "negation", "double", "irony", "unfulfilled"]))
def test_single_clauses_have_the_valence_they_were_asked_for(seed, sign, name):
    clause = CONSTRUCTIONS[name](scene(seed), sign)
    assert clause.value * sign > 0


@given(SEEDS, SIGNS, st.sampled_from(["report", "comparison"]))
def test_the_speaker_decides_against_what_others_say(seed, sign, name):
    clause = CONSTRUCTIONS[name](scene(seed), sign)
    assert clause.value * sign > -0.1


def test_the_part_after_but_decides():
    rng = random.Random(0)
    clear = 0
    for _ in range(400):
        sign = rng.choice((-1, 1))
        clause = grammar.contrast(scene(rng.random()), sign)
        clear += clause.value * sign > 0
    assert clear / 400 > 0.9


@given(SEEDS)
def test_probability_is_the_sigmoid_of_the_logit_and_texts_are_short(seed):
    text = draw_text(random.Random(seed), LEXICON, DATASET_STYLE)
    assert text.p_positive == pytest.approx(1 / (1 + math.exp(-text.logit)))
    assert abs(text.logit) <= grammar.MAX_LOGIT
    assert 8 <= len(text.text.split()) <= 35
    assert "{" not in text.text
    assert text.text[0].isupper()
    assert text.text[-1] in ".?"


@given(SEEDS)
def test_the_same_seed_gives_the_same_text(seed):
    first = draw_text(random.Random(seed), LEXICON, DATASET_STYLE)
    assert first == draw_text(random.Random(seed), LEXICON, DATASET_STYLE)


@given(SEEDS, SIGNS)
def test_neutral_texts_lean_to_their_side_without_opinion_words(seed, sign):
    topic = LEXICON.sport if sign > 0 else LEXICON.work
    text = draw_neutral(random.Random(seed), LEXICON, topic, sign)
    words = set(text.text.lower().replace(".", "").split())
    opinions = {o.text for o in LEXICON.positive + LEXICON.negative if o.value**2 > 0.9}
    assert text.logit * sign > 0
    assert not words & opinions


def test_no_word_is_both_good_and_bad():
    good, bad = {o.text for o in LEXICON.positive}, {o.text for o in LEXICON.negative}
    assert not good & bad
    for domain in LEXICON.domains:
        assert not {o.text for o in domain.positive} & (bad | {o.text for o in domain.negative})
        assert not {o.text for o in domain.negative} & good


def test_labelled_prompts_use_one_to_two_thirds_of_the_opinion_words():
    words = [o.text for o in LEXICON.positive + LEXICON.negative]
    words += [o.text for d in LEXICON.domains for o in d.positive + d.negative]
    share = sum(map(is_labelled_word, words)) / len(words)
    assert 1 / 3 < share < 2 / 3
