"""How much arithmetic and how many bytes each part of a study takes; counted, not measured.

One multiplication with its addition counts as two operations (FLOP). Norms, rotations, softmax and
activation functions are left out: together below 1 % of a block at the widths that matter. Knows
nothing of rates: ``forecast`` turns counts into seconds.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a Llama-like model."""

    name: str
    """What it is called in tables."""
    n_layers: int
    """Blocks."""
    d_model: int
    """Width of the residual stream."""
    d_feed_forward: int
    """Width inside the feed-forward part."""
    n_heads: int
    """Query heads."""
    n_kv_heads: int
    """Heads of keys and values."""
    d_head: int
    """Width of one head."""
    d_vocab: int
    """Tokens of the vocabulary."""
    itemsize: int = 2
    """Bytes of one weight."""

    @property
    def block_parameters(self) -> int:
        """Numbers in one block's matrices."""
        heads = 2 * self.n_heads + 2 * self.n_kv_heads
        return self.d_model * (heads * self.d_head + 3 * self.d_feed_forward)

    @property
    def weights_bytes(self) -> int:
        """Bytes of the blocks, the embedding and the output head."""
        numbers = self.n_layers * self.block_parameters + 2 * self.d_vocab * self.d_model
        return numbers * self.itemsize

    def forward_flop(self, n_layers: int, n_tokens: int, *, first: int = 0) -> int:
        """Return the operations of some blocks over the positions ``first … n_tokens - 1``.

        The logits are never computed. Every position attends to those before it and itself.
        """
        if n_tokens <= first or n_layers <= 0:
            return 0
        matrices = 2 * self.block_parameters * (n_tokens - first)
        return n_layers * (matrices + self._attention_flop(first, n_tokens))

    def vjp_flop(self, n_layers: int, n_tokens: int) -> int:
        """Return the operations of one cotangent going down through some blocks.

        The matrices once, transposed; four products in the attention where the forward pass has
        two. Source: Baydin et al. 2018, Automatic differentiation in machine learning, section 3.2.
        """
        if n_tokens <= 0 or n_layers <= 0:
            return 0
        matrices = 2 * self.block_parameters * n_tokens
        return n_layers * (matrices + 2 * self._attention_flop(0, n_tokens))

    def _attention_flop(self, first: int, end: int) -> int:
        pairs = end * (end + 1) // 2 - first * (first + 1) // 2
        return 4 * self.n_heads * self.d_head * pairs

    @classmethod
    def of_config(cls, config: Any, *, name: str, itemsize: int) -> "ModelShape":
        """Return the sizes in a Hugging Face configuration of a Llama-like model."""
        n_heads = int(config.num_attention_heads)
        return cls(
            name=name,
            n_layers=int(config.num_hidden_layers),
            d_model=int(config.hidden_size),
            d_feed_forward=int(getattr(config, "intermediate_size", 0) or 4 * config.hidden_size),
            n_heads=n_heads,
            n_kv_heads=int(getattr(config, "num_key_value_heads", None) or n_heads),
            d_head=int(getattr(config, "head_dim", None) or config.hidden_size // n_heads),
            d_vocab=int(config.vocab_size),
            itemsize=itemsize,
        )


LLAMA_3_1_8B: Final = ModelShape("Llama-3.1-8B", 32, 4096, 14336, 32, 8, 128, 128256)
"""Source: config.json of meta-llama/Llama-3.1-8B; bfloat16."""


@dataclass(frozen=True)
class ContextShape:
    """One text and the targets that are looked at in it."""

    n_tokens: int
    """Its length."""
    targets: tuple[tuple[int, int], ...]
    """Layer and position of each."""


@dataclass(frozen=True)
class ReplayShape:
    """One run with a source changed."""

    n_tokens: int
    """Positions up to the last that is read; those behind are not run."""
    layer: int
    """Layer of the source; the blocks above it are run."""
    position: int
    """Where the source is changed; the positions before are shared with the clean run."""
    last_layer: int
    """Deepest layer that is read."""


def sweep_flop(
    model: ModelShape, contexts: Iterable[ContextShape], *, lowest_source: int = 0
) -> int:
    """Return the operations of all upstream gradients by one downward sweep a context.

    A forward pass to the deepest target, each block once more on the way down (only block inputs
    are kept), and each target's cotangent through the blocks between it and the lowest source,
    over the positions that can reach it.
    """
    total = 0
    for context in contexts:
        deepest = max((layer for layer, _ in context.targets), default=0)
        n_blocks = deepest - lowest_source
        total += model.forward_flop(deepest + 1, context.n_tokens)
        total += model.forward_flop(n_blocks, context.n_tokens)
        for layer, position in context.targets:
            total += model.vjp_flop(layer - lowest_source, position + 1)
    return total


def literal_flop(model: ModelShape, contexts: Iterable[ContextShape], *, d_sae: int) -> int:
    """Return the operations of the study's plan, one target after another.

    For each a forward pass with all SAEs in the graph, and a backward pass to the activations.
    """
    total = 0
    for context in contexts:
        sae = 4 * model.d_model * d_sae * context.n_tokens
        for layer, _ in context.targets:
            total += model.forward_flop(layer + 1, context.n_tokens) + (layer + 1) * sae
            total += model.vjp_flop(layer + 1, context.n_tokens) + (layer + 1) * sae
    return total


def replay_flop(model: ModelShape, runs: Iterable[ReplayShape]) -> int:
    """Return the operations of runs of the blocks above a source, from its position on."""
    return sum(
        model.forward_flop(run.last_layer - run.layer, run.n_tokens, first=run.position)
        for run in runs
    )


def runs_of_source(
    *, doses: int, null: int, texts: int, close: int | None, shared: float = 1.0
) -> float:
    """Return how many runs a source has in one text, on average over its texts.

    The first dose in all of them; the other doses and the random directions in those that are
    looked at closely.

    Args:
        doses: Ways in which it is changed.
        null: Random directions that stand in for it.
        texts: Texts of each pathway.
        close: How many of them are looked at closely; None is all.
        shared: Pathways of the source that one text serves.

    Source of what sharing leaves: the greedy cover takes at most 1 + ln(shared) times as many
    texts as would do (Chvátal 1979, Math. Oper. Res. 4(3)).
    """
    share = 1.0 if close is None else min(1.0, close / texts * (1 + math.log(shared)))
    return 1 + (doses - 1 + null) * share


def corpus_flop(model: ModelShape, lengths: Iterable[int], latents: Mapping[int, int]) -> int:
    """Return the operations of one pass over a corpus that reads some latents of each layer."""
    deepest = max(latents, default=-1)
    rows = 2 * model.d_model * sum(latents.values())
    return sum(model.forward_flop(deepest + 1, n) + rows * n for n in lengths)
