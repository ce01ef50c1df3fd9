"""A small Llama written for fast float32 training on two cores, and its way to and from the files.

Weights map one to one onto ``transformers.LlamaForCausalLM`` (tied embeddings); attention is plain
batched matrix multiplication, which is faster than the fused kernel for the backward pass on a
CPU. Knows nothing of data.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM

from recipes.tiny.tokenizer import BOS_ID, EOS_ID, MAX_POSITIONS, PAD_ID, VOCABULARY_SIZE

NORM_EPS = 1e-5
ROPE_THETA = 10_000.0
MASKED = -1e9
EMBEDDING_STD = 0.05


@dataclass(frozen=True)
class Shape:
    """Sizes of the model."""

    d_model: int = 128
    d_feed_forward: int = 352
    n_layers: int = 8
    n_heads: int = 4
    d_vocab: int = VOCABULARY_SIZE


class RootMeanSquareNorm(nn.Module):
    """Root-mean-square normalisation with a gain."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """The normalised residual stream."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPS) * self.weight


class Block(nn.Module):
    """One transformer layer with fused projections."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.d_model
        self.n_heads = shape.n_heads
        self.attention_norm = RootMeanSquareNorm(d)
        self.mlp_norm = RootMeanSquareNorm(d)
        self.query_key_value = nn.Linear(d, 3 * d, bias=False)
        self.attention_out = nn.Linear(d, d, bias=False)
        self.gate_up = nn.Linear(d, 2 * shape.d_feed_forward, bias=False)
        self.down = nn.Linear(shape.d_feed_forward, d, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch pos d_model"],
        cos: Float[Tensor, "pos d_head"],
        sin: Float[Tensor, "pos d_head"],
        mask: Float[Tensor, "pos pos"],
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream after this layer."""
        batch, pos, d = x.shape
        heads = self.query_key_value(self.attention_norm(x))
        q, k, v = heads.view(batch, pos, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        logits = q @ k.transpose(-1, -2) * (1.0 / math.sqrt(q.shape[-1])) + mask
        mixed = torch.softmax(logits, -1) @ v
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(batch, pos, d))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        out: Tensor = x + self.down(functional.silu(gate) * up)
        return out


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class LeanLlama(nn.Module):
    """A decoder of ``shape.n_layers`` blocks with tied embeddings."""

    cos: Tensor
    sin: Tensor
    mask: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.d_vocab, shape.d_model)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.norm = RootMeanSquareNorm(shape.d_model)
        self._initialise()
        d_head = shape.d_model // shape.n_heads
        frequencies = ROPE_THETA ** (-torch.arange(0, d_head, 2).float() / d_head)
        angles = torch.outer(torch.arange(MAX_POSITIONS).float(), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        mask = torch.full((MAX_POSITIONS, MAX_POSITIONS), MASKED).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def _initialise(self) -> None:
        """Unit-variance projections; what is added to the stream is small, by depth."""
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        depth = (2 * self.shape.n_layers) ** -0.5
        for name, parameter in self.blocks.named_parameters():
            if parameter.dim() > 1:
                shrink = depth if "attention_out" in name or "down" in name else 1.0
                nn.init.normal_(parameter, std=shrink * parameter.shape[1] ** -0.5)

    def states(self, token_ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream after the final norm."""
        pos = token_ids.shape[1]
        x = self.embedding(token_ids)
        for block in self.blocks:
            x = block(x, self.cos[:pos], self.sin[:pos], self.mask[:pos, :pos])
        out: Tensor = self.norm(x)
        return out

    def forward(self, token_ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits of the next token at every position."""
        return self.states(token_ids) @ self.embedding.weight.t()


def llama_config(shape: Shape) -> LlamaConfig:
    """The configuration under which transformers computes the same function."""
    return LlamaConfig(
        vocab_size=shape.d_vocab,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_feed_forward,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        max_position_embeddings=MAX_POSITIONS,
        rms_norm_eps=NORM_EPS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=True,
        attention_bias=False,
        mlp_bias=False,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
    )


def to_transformers(model: LeanLlama) -> dict[str, Tensor]:
    """The weights under the names of ``LlamaForCausalLM``."""
    weights = {
        "model.embed_tokens.weight": model.embedding.weight.detach(),
        "lm_head.weight": model.embedding.weight.detach(),
        "model.norm.weight": model.norm.weight.detach(),
    }
    for number, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        prefix = f"model.layers.{number}"
        q, k, v = block.query_key_value.weight.detach().chunk(3)
        gate, up = block.gate_up.weight.detach().chunk(2)
        weights |= {
            f"{prefix}.input_layernorm.weight": block.attention_norm.weight.detach(),
            f"{prefix}.post_attention_layernorm.weight": block.mlp_norm.weight.detach(),
            f"{prefix}.self_attn.q_proj.weight": q,
            f"{prefix}.self_attn.k_proj.weight": k,
            f"{prefix}.self_attn.v_proj.weight": v,
            f"{prefix}.self_attn.o_proj.weight": block.attention_out.weight.detach(),
            f"{prefix}.mlp.gate_proj.weight": gate,
            f"{prefix}.mlp.up_proj.weight": up,
            f"{prefix}.mlp.down_proj.weight": block.down.weight.detach(),
        }
    return weights


def from_transformers(weights: dict[str, Tensor], shape: Shape) -> LeanLlama:
    """The model with the weights of a ``LlamaForCausalLM``, in float32."""
    model = LeanLlama(shape)
    with torch.no_grad():
        model.embedding.weight.copy_(weights["model.embed_tokens.weight"])
        model.norm.weight.copy_(weights["model.norm.weight"])
        for number, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            prefix = f"model.layers.{number}"
            names = {
                block.attention_norm.weight: ("input_layernorm",),
                block.mlp_norm.weight: ("post_attention_layernorm",),
                block.query_key_value.weight: tuple(f"self_attn.{x}_proj" for x in "qkv"),
                block.attention_out.weight: ("self_attn.o_proj",),
                block.gate_up.weight: ("mlp.gate_proj", "mlp.up_proj"),
                block.down.weight: ("mlp.down_proj",),
            }
            for parameter, parts in names.items():
                parameter.copy_(torch.cat([weights[f"{prefix}.{p}.weight"] for p in parts]))
    return model


def save_model(model: LeanLlama, folder: Path) -> None:
    """Weights as bfloat16 safetensors with configuration, as ``save_pretrained`` writes them."""
    target = LlamaForCausalLM(llama_config(model.shape))
    target.load_state_dict(to_transformers(model))
    target.generation_config = GenerationConfig(
        bos_token_id=BOS_ID, eos_token_id=EOS_ID, pad_token_id=PAD_ID, do_sample=False
    )
    target.bfloat16().save_pretrained(str(folder))


def load_model(folder: Path, shape: Shape | None = None) -> LeanLlama:
    """The saved bfloat16 weights in a float32 model."""
    saved = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    return from_transformers(dict(saved.state_dict()), shape or Shape()).eval()
