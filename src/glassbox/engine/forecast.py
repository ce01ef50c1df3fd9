"""How much memory a model would take, from its configuration alone; no weight is read.

Parameters are counted on a model without storage, so every architecture of the library counts.
What one step needs beside weights and keys is an estimate from above: feed-forward part, hidden
states kept for capture, logits. Knows nothing of how models are run.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from glassbox.engine.batching.slots import PLACES_STEP
from glassbox.engine.layout.batches import READ_LOGITS
from glassbox.engine.model.devices import DTYPES
from glassbox.engine.model.load import require_one_part, text_part
from glassbox.errors import CorruptArtifact, InvalidValue, UnsupportedModel, first_line

LAST_LAYERS = 8
"""Layers whose states are counted. Source: the source document, "last 8 layers extractable"."""

RUNTIME_BYTES = 800 * 2**20
"""Device context, kernels and the allocator's rounding; a guess from common CUDA builds."""

LOGIT_COPIES = 4
"""Float32 copies of the logits alive at once: raw, log-softmax, sampled, sorted."""

STEP_TOKENS = (32768, 16384, 8192, 4096, 2048, 1024, 512)
"""Sizes of a step that are tried, largest first."""


@dataclass(frozen=True)
class Load:
    """What the model is to do at the same time."""

    n_requests: int = 8
    """Requests running together."""
    n_tokens: int = 2048 + 256
    """Tokens of prompt and text of each."""
    n_layers: int = LAST_LAYERS
    """Layers whose hidden states are captured."""
    step_tokens: int = 2048
    """Most tokens in one forward pass (engine.batch_tokens)."""


@dataclass(frozen=True)
class Forecast:
    """Memory that a model would take, in bytes."""

    n_parameters: int
    """Parameters in all, shared ones once."""
    dtype: str
    """Number format of the weights."""
    load: Load
    """What was counted with; ``step_tokens`` as it came to fit."""
    token_bytes: int
    """Keys and values of one token."""
    weights_bytes: int
    """The weights."""
    keys_bytes: int
    """Keys and values of the running requests."""
    growing_bytes: int
    """The smaller tensor that they are copied from when the batch grows."""
    states_bytes: int
    """Hidden states of one step, in the model's format and in float32."""
    step_bytes: int
    """What a layer needs meanwhile."""
    logits_bytes: int
    """Logits at the positions that are read."""
    prefix_bytes: int
    """Kept prompt prefixes (engine.prefix_cache_bytes)."""
    runtime_bytes: int = RUNTIME_BYTES
    """What the device's own software takes."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        keys = self.keys_bytes + self.growing_bytes
        step = self.states_bytes + self.step_bytes + self.logits_bytes
        return self.weights_bytes + keys + step + self.prefix_bytes + self.runtime_bytes

    def most_requests(self, memory_bytes: int) -> int:
        """Return how many requests of that length fit a memory at a time; 0 where none does.

        A model that keeps no keys and values answers one at a time.
        """
        keys = self.keys_bytes + self.growing_bytes
        each = keys // self.load.n_requests
        left = memory_bytes - (self.total_bytes - keys)
        return max(0, left // each) if each else int(left >= 0)


def forecast(
    config: PretrainedConfig,
    *,
    dtype: str,
    load: Load | None = None,
    prefix_bytes: int = 256 * 2**20,
) -> Forecast:
    """Return the memory that a model of this configuration takes under a load.

    Args:
        config: The library's configuration.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        load: What it does; None takes the defaults.
        prefix_bytes: Memory for kept prompt prefixes.

    Raises:
        InvalidValue: Another number format, or a load of nothing.
        UnsupportedModel: No causal language model.
    """
    if dtype not in DTYPES:
        raise InvalidValue("dtype", dtype, ", ".join(DTYPES))
    load = load or Load()
    if min(load.n_requests, load.n_tokens, load.step_tokens) < 1 or load.n_layers < 0:
        raise InvalidValue("load", load, "1 or more requests, tokens and step tokens")
    text: Any = config.get_text_config()
    n_parameters = count_parameters(config)
    size = DTYPES[dtype].itemsize
    # Recurrent models have no heads, and keep no keys and values.
    d_model, n_heads = int(text.hidden_size), int(getattr(text, "num_attention_heads", None) or 0)
    kv_heads = int(getattr(text, "num_key_value_heads", None) or n_heads)
    d_head = int(getattr(text, "head_dim", None) or d_model // max(n_heads, 1))
    d_ff = int(getattr(text, "intermediate_size", None) or 4 * d_model)
    token_bytes = 2 * int(text.num_hidden_layers) * kv_heads * d_head * size if n_heads else 0
    places = -(-load.n_tokens // PLACES_STEP) * PLACES_STEP
    n_points = min(load.n_layers, int(text.num_hidden_layers))
    d_vocab = int(text.vocab_size)
    n_reads = load.n_requests + max(1, READ_LOGITS // d_vocab)
    return Forecast(
        n_parameters=n_parameters,
        dtype=dtype,
        load=load,
        token_bytes=token_bytes,
        weights_bytes=n_parameters * size,
        keys_bytes=load.n_requests * places * token_bytes,
        # The number of slots doubles.
        growing_bytes=load.n_requests // 2 * places * token_bytes,
        states_bytes=n_points * load.step_tokens * d_model * (size + 4),
        # Gate, up and their product; the stream, its norm and the queries; the norm in float32.
        step_bytes=load.step_tokens * ((3 * d_ff + 6 * d_model) * size + 2 * d_model * 4),
        logits_bytes=n_reads * d_vocab * 4 * LOGIT_COPIES,
        prefix_bytes=prefix_bytes,
    )


def fitted(
    config: PretrainedConfig,
    memory_bytes: int,
    *,
    dtype: str,
    load: Load | None = None,
    prefix_bytes: int = 256 * 2**20,
) -> Forecast:
    """Return the forecast with the largest step that fits a memory; the smallest where none does.

    Args:
        config: The library's configuration.
        memory_bytes: What there is.
        dtype: Number format of the weights.
        load: What it does; its ``step_tokens`` is the largest step tried.
        prefix_bytes: Memory for kept prompt prefixes.

    Raises:
        InvalidValue: As ``forecast``.
        UnsupportedModel: As ``forecast``.
    """
    load = load or Load()
    found = forecast(config, dtype=dtype, load=load, prefix_bytes=prefix_bytes)
    for step_tokens in STEP_TOKENS:
        if found.total_bytes <= memory_bytes:
            break
        if step_tokens < load.step_tokens:
            smaller = replace(load, step_tokens=step_tokens)
            found = forecast(config, dtype=dtype, load=smaller, prefix_bytes=prefix_bytes)
    return found


def count_parameters(config: PretrainedConfig) -> int:
    """Return the parameters of a model of this configuration, shared ones once.

    Raises:
        UnsupportedModel: No causal language model.
    """
    require_one_part(config, "This configuration")
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise UnsupportedModel(
            f"A {config.model_type!r} configuration makes no causal language model "
            f"({first_line(error)})."
        ) from error
    if _reads_ahead(model):
        raise UnsupportedModel(
            f"A {config.model_type!r} configuration makes no causal language model: each token "
            "looks at those that come later, as encoders' do. Choose a model that was made to "
            "write."
        )
    # Shared weights are one parameter only once they are tied, which from_config has done.
    return sum(parameter.numel() for parameter in model.parameters())


def read_config(file: Path) -> PretrainedConfig:
    """Return what a ``config.json`` says of a model that writes text.

    Raises:
        CorruptArtifact: It is no JSON.
        UnsupportedModel: A kind that the installed library does not know.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(file, trust_remote_code=False)
    except OSError as error:
        raise CorruptArtifact(file, first_line(error)) from error
    except (ValueError, KeyError) as error:
        raise UnsupportedModel(
            f"{file} is of a kind that the installed transformers does not know, or needs code of "
            f"its own, which is never run ({error})."
        ) from error
    return text_part(config)


def _reads_ahead(model: torch.nn.Module) -> bool:
    """Whether all attention of a model says that tokens look at later ones.

    The library makes causal models of encoders' configurations, too, which then write nonsense.
    Attention that says nothing shows it when the model is loaded.
    """
    said = {each.is_causal for each in model.modules() if hasattr(each, "is_causal")}
    return said == {False}
