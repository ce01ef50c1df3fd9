"""Models whose vocabulary is padded beyond their tokenizer's: what has no text is never written."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from glassbox.engine.model.load import LoadedModel
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.testing.tiny import CONTEXT, D_VOCAB, tiny_tokenizer

N_PADDING = 84
ROTATIONS = {
    "packed": {"rope_type": "default", "rope_theta": 10000.0},
    "plain": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
}


def padded_engine(path):
    config = LlamaConfig(
        vocab_size=D_VOCAB + N_PADDING, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT,
        rope_parameters=ROTATIONS[path], bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        # As if the padding were the best guess everywhere.
        model.get_output_embeddings().weight[D_VOCAB:] *= 5
    model.requires_grad_(False).eval()
    return ResidentEngine(LoadedModel(model, tiny_tokenizer(), path, "cd" * 32, CONTEXT))


@pytest.mark.parametrize("path", sorted(ROTATIONS))
def test_a_token_without_a_text_is_never_written(path):
    engine = padded_engine(path)
    assert engine.info.scoring_path == path
    assert engine.codec.n_tokens == D_VOCAB
    samplings = [
        Sampling(max_tokens=20, temperature=temperature, top_k=top_k, seed=seed, stop_at_end=False)
        for seed, (temperature, top_k) in enumerate([(0.0, None), (1.0, None), (2.0, 40)])
    ]
    prompt = (5, 6, D_VOCAB + 3)
    answers = engine.generate([Request(prompt, sampling=each) for each in samplings])
    for sampling, answer in zip(samplings, answers, strict=True):
        assert max(answer.tokens.token_ids) < D_VOCAB
        read = engine.generate([Request(prompt, response=answer.tokens.token_ids)])[0]
        # What the model thought is told of its whole vocabulary.
        np.testing.assert_allclose(answer.tokens.logprobs, read.tokens.logprobs, atol=1e-4, rtol=0)
        np.testing.assert_allclose(
            answer.tokens.entropies, read.tokens.entropies, atol=1e-4, rtol=0
        )
        if sampling.temperature:
            assert (answer.tokens.sampled_logprobs > answer.tokens.logprobs).any()
    engine.close()
