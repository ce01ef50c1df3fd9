"""Tiny random models of every architecture of the table, and the library's own answers."""

import copy
from functools import cache
from typing import Any

import torch
from tokenizers import processors
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    Olmo2Config,
    OlmoConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen2Config,
    StableLmConfig,
    Starcoder2Config,
)

from glassbox.testing import tiny_loaded
from glassbox.testing.tiny import ARCHITECTURES, CONTEXT, D_VOCAB, tiny_tokenizer

_SHARED: dict[str, Any] = {
    "vocab_size": D_VOCAB, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": CONTEXT, "bos_token_id": 0,
    "eos_token_id": 1, "pad_token_id": 1,
}  # fmt: skip
_GROUPED = _SHARED | {"num_key_value_heads": 2}

MORE: dict[str, PretrainedConfig] = {
    "gemma": GemmaConfig(**_GROUPED, head_dim=8),
    "gemma2": Gemma2Config(**_GROUPED, head_dim=8, sliding_window=9),
    "olmo": OlmoConfig(**_GROUPED),
    "olmo2": Olmo2Config(**_GROUPED),
    "phi3": Phi3Config(**_GROUPED),
    "qwen2": Qwen2Config(**_GROUPED),
    "stablelm": StableLmConfig(**_GROUPED, use_parallel_residual=True),
    "starcoder2": Starcoder2Config(**_GROUPED),
}
"""Architectures of the table that ``glassbox.testing`` does not make."""

EVERY = sorted({*ARCHITECTURES, *MORE})
"""Names of all of them."""


@cache
def _made(architecture: str) -> Any:
    if architecture in ARCHITECTURES:
        model = tiny_loaded(architecture).model
    else:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(MORE[architecture], dtype=torch.float32)
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(3.0)
        model.requires_grad_(False).eval()
    # Norms and biases start as ones and zeros, which would hide a forgotten one.
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def ending(tokenizer: Any) -> Any:
    """Return a tokenizer that also adds ``</s>`` behind a text, as some do."""
    made = copy.deepcopy(tokenizer)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return made


def world(architecture: str) -> tuple[Any, Any]:
    """Return a model of its own, and a tokenizer that adds ``<s>``."""
    return copy.deepcopy(_made(architecture)), tiny_tokenizer()
