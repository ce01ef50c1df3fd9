"""The weights of Llama-like blocks, taken from a lent model without copying them.

A block here is RMSNorm, grouped-query attention with rotary positions, RMSNorm, SwiGLU, each
added to the stream. Models with anything else in a block are refused by name; the pathways then
go the slow way through the model's own modules. Knows nothing of SAEs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from glassbox.errors import UnsupportedModel

KNOWN_TYPES = ("llama", "mistral", "qwen2")
"""Values of ``model_type`` whose blocks are the ones written out here."""
_STATIC_ROTARY = ("default", "linear", "llama3", "yarn")
"""Rotary kinds whose frequencies do not depend on the length of the text."""


@dataclass(frozen=True, eq=False)
class Block:
    """One block's weights, each ``[out, in]`` as torch keeps them: views, not copies."""

    attention_norm: Float[Tensor, " d"]
    query: Float[Tensor, "n_query d"]
    key: Float[Tensor, "n_key d"]
    value: Float[Tensor, "n_key d"]
    output: Float[Tensor, "d n_query"]
    query_bias: Float[Tensor, " n_query"] | None
    key_bias: Float[Tensor, " n_key"] | None
    value_bias: Float[Tensor, " n_key"] | None
    mlp_norm: Float[Tensor, " d"]
    gate: Float[Tensor, "ff d"]
    up: Float[Tensor, "ff d"]
    down: Float[Tensor, "d ff"]
    window: int | None
    """Positions that a query sees, itself included; None is all before it."""


@dataclass(frozen=True, eq=False)
class ModelBlocks:
    """All blocks of one model, with the embedding before them."""

    blocks: tuple[Block, ...]
    embedding: Float[Tensor, "vocab d"]
    inverse_frequencies: Float[Tensor, " half"]
    rotary_scale: float
    """Factor on cosines and sines; 1 but for some ways to stretch a context."""
    n_heads: int
    n_kv_heads: int
    head_dim: int
    epsilon: float
    """Of both norms."""
    context: int
    """Most positions that the model takes."""

    @property
    def n_layers(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.embedding.shape[1]

    @property
    def d_feed_forward(self) -> int:
        """Width inside the feed-forward part."""
        return self.blocks[0].gate.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights, in which matrices are multiplied."""
        return self.embedding.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    @property
    def parameters_per_block(self) -> int:
        """Numbers in one block's matrices: what each token is multiplied by."""
        block = self.blocks[0]
        parts = (block.query, block.key, block.value, block.output)
        return sum(part.numel() for part in (*parts, block.gate, block.up, block.down))


def take_blocks(model: nn.Module) -> ModelBlocks:
    """Return the blocks of a model of the Hugging Face library, sharing its weights.

    Args:
        model: A causal language model, or its trunk, in evaluation mode.

    Raises:
        UnsupportedModel: Its blocks hold something that is not written out here.
    """
    config: Any = getattr(model, "config", None)
    kind = getattr(config, "model_type", type(model).__name__)
    if kind not in KNOWN_TYPES:
        raise UnsupportedModel(
            f"The blocks of a model of type {kind!r} are not known by heart. "
            f"Known: {', '.join(KNOWN_TYPES)}."
        )
    _require_plain(config)
    trunk: Any = getattr(model, "model", model)
    rotary = trunk.rotary_emb
    return ModelBlocks(
        blocks=tuple(_take_block(layer, _window(layer, config)) for layer in trunk.layers),
        embedding=trunk.embed_tokens.weight.detach(),
        inverse_frequencies=rotary.inv_freq.detach().float(),
        rotary_scale=float(rotary.attention_scaling),
        n_heads=int(config.num_attention_heads),
        n_kv_heads=int(config.num_key_value_heads),
        head_dim=int(
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        ),
        epsilon=float(config.rms_norm_eps),
        context=int(config.max_position_embeddings),
    )


def _require_plain(config: Any) -> None:
    """Refuse what a known type may be configured to do and the blocks here do not."""
    rotary: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    kind = rotary.get("rope_type", "default")
    wrong = [
        reason
        for holds, reason in (
            (config.hidden_act not in ("silu", "swish"), f"activation {config.hidden_act!r}"),
            (kind not in _STATIC_ROTARY, f"rotary positions of kind {kind!r}"),
            (bool(getattr(config, "mlp_bias", False)), "a bias in the feed-forward part"),
        )
        if holds
    ]
    if wrong:
        raise UnsupportedModel(
            f"The model's blocks have {', '.join(wrong)}, which is not known by heart."
        )


def _window(layer: Any, config: Any) -> int | None:
    """Return a layer's window: its own where layers differ (Qwen2), else the model's (Mistral)."""
    attention = layer.self_attn
    if hasattr(attention, "sliding_window"):
        window: int | None = attention.sliding_window
        return window
    return getattr(config, "sliding_window", None) if config.model_type == "mistral" else None


def _take_block(layer: Any, window: int | None) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    if getattr(attention.o_proj, "bias", None) is not None:
        raise UnsupportedModel("The model's attention adds a bias behind its heads: not known.")
    linear = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    for part in (*linear, mlp.gate_proj, mlp.up_proj, mlp.down_proj):
        if type(part) is not nn.Linear:
            raise UnsupportedModel(
                f"A block holds a {type(part).__name__} where a plain linear layer was expected; "
                "quantised or adapted weights have to be merged first."
            )
    query, key, value, output = (part.weight.detach() for part in linear)
    biases = [None if part.bias is None else part.bias.detach() for part in linear[:3]]
    return Block(
        attention_norm=layer.input_layernorm.weight.detach(),
        query=query,
        key=key,
        value=value,
        output=output,
        query_bias=biases[0],
        key_bias=biases[1],
        value_bias=biases[2],
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        gate=mlp.gate_proj.weight.detach(),
        up=mlp.up_proj.weight.detach(),
        down=mlp.down_proj.weight.detach(),
        window=window,
    )
