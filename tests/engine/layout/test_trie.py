import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.layout.trie import build_trie
from glassbox.engine.scoring.forward import path_logprobs
from glassbox.errors import InvalidValue

D_VOCAB = 4

continuations = st.lists(
    st.lists(st.integers(0, D_VOCAB - 1), min_size=1, max_size=4).map(tuple),
    min_size=1,
    max_size=8,
    unique=True,
)


def node_paths(trie):
    paths = [()]
    for token, parent in zip(trie.node_tokens, trie.node_parents, strict=True):
        paths.append((*paths[parent], token))
    return paths


@given(continuations)
def test_nodes_are_exactly_what_some_continuation_goes_on_after(wanted):
    trie = build_trie(wanted)
    paths = node_paths(trie)
    assert set(paths[1:]) == {c[:end] for c in wanted for end in range(1, len(c))}
    assert len(set(paths)) == len(paths)
    assert trie.node_depths == tuple(len(path) for path in paths[1:])
    assert trie.depth == max(map(len, wanted))


@given(continuations)
def test_a_node_sees_itself_and_what_leads_to_it(wanted):
    trie = build_trie(wanted)
    paths = node_paths(trie)[1:]
    seen = trie.ancestry()
    for node, path in enumerate(paths):
        for other, beginning in enumerate(paths):
            assert seen[node, other] == (path[: len(beginning)] == beginning)


@given(continuations, st.integers(0, 2**32 - 1))
def test_sums_along_the_tree_equal_brute_force(wanted, seed):
    trie = build_trie(wanted)
    logits = np.random.default_rng(seed).normal(size=(3, 1 + trie.n_nodes, D_VOCAB))
    paths = node_paths(trie)
    found = path_logprobs(torch.from_numpy(logits).float(), trie)
    for row in range(3):
        for column, tokens in enumerate(wanted):
            total = 0.0
            for at, token in enumerate(tokens):
                after = logits[row, paths.index(tokens[:at])]
                total += after[token] - math.log(sum(math.exp(x) for x in after))
            assert found[row, column].item() == pytest.approx(total, abs=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_all_continuations_of_one_length_sum_to_one(seed):
    wanted = [(a, b) for a in range(D_VOCAB) for b in range(D_VOCAB)]
    trie = build_trie(wanted)
    logits = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1 + D_VOCAB, D_VOCAB)))
    assert path_logprobs(logits, trie).exp().sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("wanted", "match"),
    [([], "one or more"), ([(1,), ()], "one or more"), ([(1, 2), (3,), (1, 2)], "distinct")],
)
def test_unusable_continuations_are_refused(wanted, match):
    with pytest.raises(InvalidValue, match=match):
        build_trie(wanted)
