"""A model that turns its keys otherwise once a call holds a long text: nobody else may notice."""

import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Phi3Config

from glassbox.engine.model.load import LoadedModel
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.testing.tiny import D_VOCAB, tiny_tokenizer
from glassbox.types import Capture, HookPoint

SWITCH = 16
"""Tokens up to which the model turns keys as it was first trained to."""
CONTEXT = 64
CONTINUATIONS = [(5,), (7, 9), (7, 8, 3), (8,)]
CLOSE = 1e-5


def long_model():
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0, 6.0, 9.0, 12.0]}
    rotation = {"rope_type": "longrope", "rope_theta": 10000.0, **factors}
    config = Phi3Config(
        vocab_size=D_VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT,
        original_max_position_embeddings=SWITCH, rope_parameters=rotation,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def engine():
    return ResidentEngine(LoadedModel(long_model(), tiny_tokenizer(), "long", "ab" * 32, CONTEXT))


def prompt(n, seed=1):
    draw = random.Random(seed)
    return tuple(draw.randrange(300) for _ in range(n))


def whole_pass(model, tokens):
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([tokens]), use_cache=False, output_hidden_states=True)
    return torch.log_softmax(output.logits[0, -1].float(), dim=-1), output.hidden_states


@pytest.mark.parametrize("n", [8, SWITCH - 2, SWITCH - 1, SWITCH, SWITCH + 1, 30])
def test_a_text_beside_longer_ones_is_scored_as_if_it_were_alone(engine, n):
    assert engine.info.scoring_path == "plain"
    alone = engine.logprobs([prompt(n)], CONTINUATIONS, top_k=3)
    beside = engine.logprobs([prompt(n), prompt(40, 2), prompt(5, 3)], CONTINUATIONS, top_k=3)
    np.testing.assert_allclose(beside.values[0], alone.values[0], atol=CLOSE, rtol=0)
    np.testing.assert_allclose(beside.entropy[0], alone.entropy[0], atol=CLOSE, rtol=0)
    model = long_model()
    for column, tokens in enumerate(CONTINUATIONS):
        own = [
            whole_pass(model, (*prompt(n), *tokens[:at]))[0][token]
            for at, token in enumerate(tokens)
        ]
        np.testing.assert_allclose(alone.values[0, column], sum(own), atol=1e-4, rtol=0)


def test_what_is_written_past_the_switch_is_what_whole_passes_would_write(engine):
    model, tokens, logprobs = long_model(), prompt(8), []
    for _ in range(30):
        distribution, _ = whole_pass(model, tokens)
        tokens = (*tokens, int(distribution.argmax()))
        logprobs.append(float(distribution.max()))
    capture = Capture((HookPoint(0),), ("none",), "all")
    sampling = Sampling(max_tokens=30, temperature=0, stop_at_end=False)
    found = engine.generate([Request(prompt(8), sampling=sampling, capture=capture)])[0]
    assert found.tokens.token_ids == tokens[8:]
    np.testing.assert_allclose(found.tokens.logprobs, logprobs, atol=1e-4, rtol=0)
    # The first block's states are those of the pass in which each token was read.
    assert found.states[0].n_positions == len(tokens) - 1
    for at in (SWITCH - 1, SWITCH, len(tokens) - 2):
        state = whole_pass(model, tokens[: at + 1])[1][1][0, -1].numpy()
        np.testing.assert_allclose(found.states[0].none[at], state, atol=1e-3, rtol=1e-4)
