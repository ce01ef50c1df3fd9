"""Entropy and damage, and a model whose vocabulary is padded with tokens that cannot come."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.batching import answering
from glassbox.engine.lens import LensRequest
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.model.distributions import entropy, require_finite
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import NonFiniteOutput
from glassbox.testing import tiny_loaded
from tests.engine.batch_world import plain_generation

N_PADDED = 150


@given(weights=st.lists(st.integers(0, 5), min_size=1, max_size=9).filter(any))
def test_entropy_is_that_of_the_tokens_that_can_come(weights):
    probs = torch.tensor(weights) / sum(weights)
    some = probs[probs > 0].double()
    found = entropy(probs.log())
    assert float(found) == pytest.approx(float(-(some * some.log()).sum()), abs=1e-6)
    assert float(found) >= 0


@pytest.mark.parametrize("damage", [torch.nan, torch.inf])
def test_a_damaged_row_has_no_entropy(damage):
    logits = torch.zeros(2, 5)
    logits[0, 1] = damage
    found = entropy(logits.log_softmax(-1))
    assert found.isnan().tolist() == [True, False]
    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        require_finite(np.zeros(2), found)
    require_finite(found[1], np.zeros(0), 1.0)


@pytest.fixture(params=["batched", "plain"])
def padded(request, monkeypatch):
    """Return an engine and its model; the last ids of the vocabulary never come."""
    world = tiny_loaded()
    d_vocab = world.model.config.vocab_size
    padding = torch.arange(d_vocab - N_PADDED, d_vocab)

    def pad(_module, _args, output):
        return output.index_fill(-1, padding, -torch.inf)

    if request.param == "plain":
        monkeypatch.setattr(answering, "choose_slots", lambda *_, **__: (None, "asked for"))
    world.model.get_output_embeddings().register_forward_hook(pad)
    engine = ResidentEngine(world)
    assert engine.info.scoring_path == "packed"
    assert (engine._answering._slots is None) == (request.param == "plain")
    yield engine, world
    engine.close()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_padded_vocabulary_is_scored_written_and_read_alike(padded, temperature):
    engine, world = padded
    prompt = (0, 9, 8, 7, 20)
    sampling = Sampling(
        max_tokens=5, temperature=temperature, seed=1, top_p=0.9, top_logprobs=4, stop_at_end=False
    )
    scored = engine.logprobs([prompt], [(5,)], top_k=1)
    (written,) = engine.generate([Request(prompt, sampling=sampling)])
    lens = engine.lens(LensRequest(prompt, (4,)))
    assert written.tokens.entropies[0] == pytest.approx(scored.entropy[0], abs=1e-4)
    assert lens.entropies[-1, 0] == pytest.approx(scored.entropy[0], abs=1e-4)
    assert max(written.tokens.token_ids) < world.model.config.vocab_size - N_PADDED
    alone = plain_generation(
        world.model,
        TokenizerCodec(world.tokenizer),
        Request(prompt, sampling=sampling),
        context=world.context,
    )
    assert alone.tokens.token_ids == written.tokens.token_ids
    np.testing.assert_allclose(
        alone.tokens.sampled_entropies, written.tokens.sampled_entropies, atol=1e-4
    )


def test_a_given_token_that_cannot_come_is_refused_alike(padded):
    engine, world = padded
    never = world.model.config.vocab_size - 1
    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        engine.generate([Request((0, 9), response=(never,))])
    with pytest.raises(NonFiniteOutput, match="NaN or infinity"):
        engine.logprobs([(0, 9)], [(never,)])
