"""The batch's choice of tokens against the obvious one-row version, which sorts everything."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.batching import sampling as module
from glassbox.engine.batching.plain_generation import choose, sampled_logprobs
from glassbox.engine.batching.sampling import Ask, choose_tokens
from glassbox.engine.requests import Sampling

TEMPERATURES = st.sampled_from([0.3, 0.7, 1.0, 2.0])


def assert_kept_alike(logits, sampling, found):
    """Assert that a row keeps what the full sort keeps, but for a sum that rounds at the edge."""
    expected = sampled_logprobs(logits, sampling)
    probs = expected.exp()
    if not torch.equal(found.isfinite(), expected.isfinite()):
        ranked = torch.softmax(logits / sampling.temperature, 0).sort(descending=True).values
        ranked = ranked[: sampling.top_k] / ranked[: sampling.top_k].sum()
        edges = (ranked.double().cumsum(0) - sampling.top_p).abs()
        assert edges.min() < 1e-5
        return
    torch.testing.assert_close(found.exp(), probs, atol=1e-5, rtol=1e-4)


@given(data=st.data())
def test_the_filters_keep_what_the_full_sort_keeps(data):
    # Few distinct logits: most tokens are as probable as many others.
    n = data.draw(st.integers(1, 5))
    d_vocab = data.draw(st.integers(1, 40))
    seed, n_best = data.draw(st.integers(0, 2**16)), data.draw(st.integers(1, 12))
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randint(-3, 3, (n, d_vocab), generator=draw).float()
    samplings = [
        Sampling(
            temperature=data.draw(TEMPERATURES),
            top_p=data.draw(st.sampled_from([1.0, 0.999, 0.77, 0.31, 1e-6])),
            top_k=data.draw(st.sampled_from([None, 1, 3, 10, 11, 39, 1000])),
        )
        for _ in range(n)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "N_BEST", n_best)
        found = module._sampled_logprobs(logits, samplings)
    for row, sampling in enumerate(samplings):
        assert_kept_alike(logits[row], sampling, found[row])


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.999])
@pytest.mark.parametrize("top_k", [None, 50, 1024, 1025, 3000])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_large_vocabularies_are_filtered_alike_however_flat(top_p, top_k, spread):
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 5000, generator=draw) * spread
    sampling = Sampling(temperature=1.0, top_p=top_p, top_k=top_k)
    found = module._sampled_logprobs(logits, [sampling] * 4)
    for row in range(4):
        assert_kept_alike(logits[row], sampling, found[row])


def test_of_equally_probable_tokens_the_lower_ids_are_kept():
    logits = torch.zeros(1, 3000)
    for n in (1, 7, 1024, 1025):
        found = module._sampled_logprobs(logits, [Sampling(temperature=1.0, top_k=n)])
        assert found.isfinite().nonzero()[:, 1].tolist() == list(range(n))
    halves = module._sampled_logprobs(logits[:, :4], [Sampling(temperature=1.0, top_p=0.5)])
    assert halves.isfinite().tolist() == [[True, True, False, False]]


def test_only_rows_that_keep_much_are_sorted(monkeypatch):
    sizes, cut = [], module._cut

    def counting(scaled, most, reach, n_best):
        sizes.append((len(scaled), n_best))
        return cut(scaled, most, reach, n_best)

    monkeypatch.setattr(module, "_cut", counting)
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    peaked = Sampling(temperature=0.1, top_p=0.95)
    flat = Sampling(temperature=5.0, top_p=0.95)
    module._sampled_logprobs(logits, [peaked, flat, Sampling(temperature=1.0, top_k=40)])
    assert sizes == [(3, module.N_BEST), (1, 5000)]


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-38, 1e-45, 1e-300])
def test_a_tiny_temperature_is_greedy_and_made_of_numbers(temperature):
    logits = torch.tensor([[40.0, -30.0, 41.0, 0.5], [-3e38, 3e38, 0.0, 3e38]])
    sampling = Sampling(temperature=temperature, top_p=0.9)
    found = choose_tokens(logits, [Ask(sampling, uniform=0.3)] * 2)
    assert found.token_ids == [2, 1]
    assert found.finite.all()
    assert np.isfinite(found.numbers).all()
    np.testing.assert_array_equal(found.numbers[0, 2:], [0.0, 0.0])
    assert choose(logits[0], sampling, random.Random(0)) == 2
    assert choose(logits[1], sampling, random.Random(0)) in (1, 3)


def test_tokens_that_cannot_come_are_no_damage():
    logits = torch.tensor([[1.0, 2.0, -torch.inf, 0.5]])
    for ask in (
        Ask(Sampling(temperature=0.0)),
        Ask(Sampling(temperature=1.0, top_p=0.9), uniform=0.99),
        Ask(Sampling(), given=1),
    ):
        found = choose_tokens(logits, [ask])
        assert found.finite.all()
        expected = torch.softmax(logits[0, [0, 1, 3]], 0)
        entropy = float(-(expected * expected.log()).sum())
        assert found.numbers[0, 1] == pytest.approx(entropy, abs=1e-6)
        assert found.token_ids != [2]
    assert not choose_tokens(logits, [Ask(Sampling(), given=2)]).finite.any()


@pytest.mark.parametrize("damage", [torch.nan, torch.inf])
def test_damage_is_seen_in_its_row_alone(damage):
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    logits[1, 7] = damage
    asks = [Ask(Sampling(temperature=1.0, top_p=0.9), uniform=0.5)] * 3
    assert choose_tokens(logits, asks).finite.tolist() == [True, False, True]


@given(seed=st.integers(0, 2**16), uniform=st.floats(0, 1, exclude_max=True))
def test_a_draw_is_the_one_row_versions(seed, uniform):
    class Once(random.Random):
        def random(self):
            return uniform

    logits = torch.randn(2, 300, generator=torch.Generator().manual_seed(seed)) * 3
    sampling = Sampling(temperature=0.8, top_p=0.9, top_k=40)
    found = choose_tokens(logits, [Ask(sampling, uniform=uniform)] * 2).token_ids
    for row, token in enumerate(found):
        probs = sampled_logprobs(logits[row], sampling).exp().double().cumsum(0)
        if (probs - uniform * probs[-1]).abs().min() > 1e-5:
            assert token == choose(logits[row], sampling, Once())
