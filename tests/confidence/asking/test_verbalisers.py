import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.confidence.asking.prompts import PromptBuilder
from glassbox.confidence.asking.verbalisers import (
    class_logprobs,
    group_continuations,
    label_mass,
    label_probs,
    tokenise_verbalisers,
)
from glassbox.confidence.labels import LabelSet, default_labels
from glassbox.errors import InvalidLabels, InvalidValue, NonFiniteOutput
from tests.confidence.text_world import BpeCodec, TableCodec


def label_set(**verbalisers: tuple[str, ...]) -> LabelSet:
    return LabelSet(
        classes=tuple(verbalisers), verbalisers=tuple(verbalisers.values()), instruction="Say."
    )


class Anchor:
    adds_special = True

    def __init__(self, anchor: str) -> None:
        self.anchor = anchor


DEPTH = 4
TOKENS = 3


class TinyModel:
    """An explicit autoregressive model: a distribution for every context of up to four tokens."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.next = {
            context: rng.dirichlet(np.full(TOKENS, 0.5))
            for depth in range(DEPTH)
            for context in itertools.product(range(TOKENS), repeat=depth)
        }

    def prob(self, ids: tuple[int, ...]) -> float:
        return float(np.prod([self.next[ids[:i]][token] for i, token in enumerate(ids)]))

    def outputs(self):
        for ids in itertools.product(range(TOKENS), repeat=DEPTH):
            yield ids, self.prob(ids)


def class_of_output(output, owner):
    """The class of the longest continuation that the output begins with."""
    for length in range(len(output), 0, -1):
        if output[:length] in owner:
            return owner[output[:length]]
    return None


token_sequences = st.lists(
    st.lists(st.integers(0, TOKENS - 1), min_size=1, max_size=DEPTH).map(tuple),
    min_size=2,
    max_size=10,
    unique=True,
)


@given(token_sequences, st.integers(0, 1000), st.data())
def test_class_probabilities_equal_those_counted_over_every_output(sequences, seed, data):
    n_classes = data.draw(st.integers(1, len(sequences)))
    classes = [f"c{i}" for i in range(n_classes)]
    owner = {ids: i % n_classes for i, ids in enumerate(sequences)}
    verbalisers = group_continuations(
        classes, [[ids for ids, own in owner.items() if own == i] for i in range(n_classes)]
    )
    model = TinyModel(seed)
    values = np.log([[model.prob(ids) for ids in verbalisers.continuations]])
    expected = np.zeros(n_classes)
    for output, prob in model.outputs():
        own = class_of_output(output, owner)
        if own is not None:
            expected[own] += prob
    found = class_logprobs(values, verbalisers)
    # A class whose events are all but used up keeps the smallest remainder instead of nothing.
    np.testing.assert_allclose(np.exp(found[0]), expected, atol=2e-6)
    assert label_mass(found)[0] <= 1 + 1e-5
    np.testing.assert_allclose(label_probs(found).sum(), 1)


@given(token_sequences)
def test_structure(sequences):
    halves = sequences[::2], sequences[1::2]
    found = group_continuations(["a", "b"], halves)
    assert len(set(found.continuations)) == len(found.continuations)
    flat = sorted(itertools.chain.from_iterable(found.groups))
    assert flat == list(range(len(found.continuations)))
    owner = {i: which for which, group in enumerate(found.groups) for i in group}
    for outer, inner in found.nested.items():
        for each in inner:
            start = found.continuations[outer]
            assert found.continuations[each][: len(start)] == start
            assert len(found.continuations[each]) > len(start)
            assert owner[each] != owner[outer]
        for one, other in itertools.permutations(inner, 2):
            short = found.continuations[one]
            assert found.continuations[other][: len(short)] != short, "only the nearest are listed"
    dropped = {*halves[0], *halves[1]} - set(found.continuations)
    for ids in dropped:
        own = next(i for i, half in enumerate(halves) if ids in half)
        assert any(ids[:n] in halves[own] for n in range(1, len(ids))), "covered by its own class"


def test_sport_and_sports():
    # 1 = "sport", 2 = "s": the longer one belongs to another class and is taken off the shorter.
    found = group_continuations(["single", "many"], [[(1,)], [(1, 2)]])
    assert found.nested == {0: (1,)}
    classes = class_logprobs(np.log([[0.5, 0.2]]), found)
    np.testing.assert_allclose(np.exp(classes), [[0.3, 0.2]])
    np.testing.assert_allclose(label_mass(classes), [0.5])
    np.testing.assert_allclose(label_probs(classes), [[0.6, 0.4]])


def test_longer_one_of_the_same_class_is_dropped():
    found = group_continuations(["sport", "work"], [[(1,), (1, 2)], [(3,)]])
    assert found.continuations == ((1,), (3,))
    assert found.nested == {}


def test_three_deep_with_classes_in_turn():
    found = group_continuations(["a", "b"], [[(1,), (1, 2, 3)], [(1, 2)]])
    assert found.continuations == ((1,), (1, 2, 3), (1, 2))
    assert found.nested == {0: (2,), 2: (1,)}
    classes = class_logprobs(np.log([[0.8, 0.1, 0.3]]), found)
    np.testing.assert_allclose(np.exp(classes), [[0.5 + 0.1, 0.2]])


def test_rounding_never_makes_a_class_impossible():
    found = group_continuations(["a", "b"], [[(1,)], [(1, 2)]])
    values = np.array([[-10.0, -9.999999]], dtype=np.float32)
    classes = class_logprobs(values, found)
    assert np.isfinite(classes).all()
    assert label_probs(classes)[0, 0] < 1e-5


def test_values_that_are_no_logprobs():
    found = group_continuations(["a", "b"], [[(1,)], [(2,)]])
    with pytest.raises(NonFiniteOutput, match="Row 1 has a log-probability that is NaN"):
        class_logprobs(np.array([[-1.0, -2.0], [np.nan, -1.0]]), found)
    with pytest.raises(NonFiniteOutput, match="Row 0: the model gives no class any probability"):
        class_logprobs(np.full((1, 2), -np.inf), found)
    with pytest.raises(InvalidValue, match="columns is 3; allowed: 2"):
        class_logprobs(np.zeros((1, 3)), found)
    one_dead = class_logprobs(np.array([[-np.inf, -1.0]]), found)
    np.testing.assert_allclose(label_probs(one_dead), [[0, 1]])


def test_far_tails_keep_their_ratio():
    found = group_continuations(["a", "b"], [[(1,)], [(2,)]])
    classes = class_logprobs(np.array([[-2000.0, -2000.0 + np.log(3)]]), found)
    np.testing.assert_allclose(label_probs(classes), [[0.25, 0.75]])


def test_tokens_in_the_context_of_the_prompt():
    codec = BpeCodec()
    labels = default_labels(["positive", "negative"])
    prompts = PromptBuilder(labels, codec, 200)
    found = tokenise_verbalisers(labels, prompts, codec)
    assert found == prompts.verbalisers
    assert found.set_aside == ()
    assert len(found.continuations) == 8
    for ids, text in zip(found.continuations, found.texts, strict=True):
        assert codec.decode(ids) == text
    (whole,) = codec.encode([prompts.render("x") + " positive"])
    assert whole[-1:] == found.continuations[found.texts.index(" positive")]
    assert found.n_longest == max(map(len, found.continuations))


def test_variants_that_merge_with_the_prompt_are_set_aside():
    codec = BpeCodec(words_apart=False)
    labels = default_labels(["positive", "negative"])
    start, joined = codec.encode(["Label:", "Label: positive"])
    assert joined[: len(start)] != start, "this tokenizer joins characters across the border"
    with pytest.raises(InvalidLabels, match="no verbaliser that the model can answer with"):
        tokenise_verbalisers(label_set(a=(" positive",), b=(" negative",)), Anchor("Label:"), codec)
    found = tokenise_verbalisers(labels, Anchor("Label:"), codec)
    assert " positive" in found.set_aside
    assert "Positive" in found.texts


def test_labels_without_tokens_and_with_the_same():
    codec = TableCodec({"A": 1, ":": 2, "x": 3, "y": 4})
    with pytest.raises(InvalidLabels, match=r"'b' has no verbaliser .*'ü', ' ö' gives no tokens"):
        tokenise_verbalisers(label_set(a=("x",), b=("ü", " ö")), Anchor("A:"), codec)
    with pytest.raises(
        InvalidLabels, match="'a' and 'b' have a verbaliser of the same tokens, \\[3"
    ):
        tokenise_verbalisers(label_set(a=("x", "y"), b=("x ",)), Anchor("A:"), codec)
    found = tokenise_verbalisers(label_set(a=("x", " x", "x ü"), b=("y",)), Anchor("A:"), codec)
    assert found.continuations == ((3,), (4,))
    assert found.texts == ("x", "y")
