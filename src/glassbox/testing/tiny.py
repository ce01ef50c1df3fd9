"""Real engines in a blink: two layers of seeded random weights and a tokenizer built in code.

Nothing is read from disk or net. The weights are larger than a usual initialisation, so that
attention, positions and masks matter to the answer; what the answer says means nothing.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from glassbox.engine.model.load import LoadedModel, quiet_library
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import UnknownName

D_MODEL = 32
N_LAYERS = 2
CONTEXT = 256
WEIGHT_SCALE = 3.0

_SPECIAL = ("<s>", "</s>")
_MERGES = (
    "Ġ t", "Ġ a", "h e", "i n", "r e", "o n", "Ġt he", "e r", "Ġ s", "Ġ w", "n d", "Ġ o",
    "e s", "o r", "i s", "e n", "Ġ b", "Ġ p", "Ġ n", "a n", "Ġ c", "o u", "Ġ f", "a l",
    "a r", "e d", "in g", "o s", "v e", "Ġ m", "t i", "Ġp os", "Ġn e", "g a", "ti ve", "Ġpos i",
    "Ġposi tive", "Ġne ga", "Ġnega tive", "l y", "Ġ d", "Ġ l",
)  # fmt: skip
D_VOCAB = len(_SPECIAL) + 256 + len(_MERGES)

_SHARED: dict[str, Any] = {
    "vocab_size": D_VOCAB,
    "hidden_size": D_MODEL,
    "intermediate_size": 64,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
_GROUPED = _SHARED | {"num_key_value_heads": 2, "head_dim": 8}

ARCHITECTURES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_GROUPED),
    "mistral": lambda: MistralConfig(**_GROUPED, sliding_window=12),
    "qwen3": lambda: Qwen3Config(**_GROUPED),
    "gemma3": lambda: Gemma3TextConfig(
        **_GROUPED, sliding_window=9, layer_types=["sliding_attention", "full_attention"]
    ),
    "phi": lambda: PhiConfig(**_SHARED),
    "gpt2": lambda: GPT2Config(
        vocab_size=D_VOCAB, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=4, n_positions=CONTEXT,
        bos_token_id=0, eos_token_id=1,
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**_SHARED),
}  # fmt: skip
"""Configurations by name; mistral and gemma3 have windows shorter than a sentence."""


def tiny_engine(
    architecture: str = "llama",
    seed: int = 0,
    *,
    batch_tokens: int | None = None,
    chat_template: str | None = None,
    prefix_cache_bytes: int = 2**20,
) -> ResidentEngine:
    """Return a real engine over a random model with 32 dimensions and about 300 tokens.

    Args:
        architecture: One of ``ARCHITECTURES``.
        seed: Of the weights.
        batch_tokens: Most tokens in one forward pass; None takes the device's default.
        chat_template: Jinja template of the tokenizer; None makes it a base model.
        prefix_cache_bytes: Memory for states of prompt prefixes; 0 keeps none.

    Raises:
        UnknownName: No such architecture.
    """
    loaded = tiny_loaded(architecture, seed, chat_template=chat_template)
    return ResidentEngine(loaded, batch_tokens=batch_tokens, prefix_cache_bytes=prefix_cache_bytes)


def tiny_loaded(
    architecture: str = "llama", seed: int = 0, *, chat_template: str | None = None
) -> LoadedModel:
    """Return the model and tokenizer of ``tiny_engine``, for a test that changes them first.

    Raises:
        UnknownName: No such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise UnknownName("architecture", architecture, sorted(ARCHITECTURES))
    tokenizer = tiny_tokenizer(chat_template=chat_template)
    identity = f"{architecture} {seed} {chat_template}"
    return LoadedModel(
        model=_random_model(ARCHITECTURES[architecture](), seed),
        tokenizer=tokenizer,
        name=f"tiny-{architecture}",
        digest=hashlib.sha256(identity.encode()).hexdigest(),
        context=CONTEXT,
    )


def tiny_tokenizer(*, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer with a few merges; " positive" and " negative" are one token.

    It adds ``<s>`` in front of a text, as many models' tokenizers do.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [(left, right) for left, right in (merge.split(" ") for merge in _MERGES)]
    pieces = [*_SPECIAL, *letters, *(left + right for left, right in merges)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=chat_template,
    )


def _random_model(config: PretrainedConfig, seed: int) -> PreTrainedModel:
    # The caller's random state is left as it was.
    with torch.random.fork_rng(devices=[]), quiet_library(), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(WEIGHT_SCALE)
    assert isinstance(model, PreTrainedModel)
    model.requires_grad_(False)
    model.eval()
    return model
