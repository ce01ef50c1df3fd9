"""Log-probabilities of continuations from one forward pass, with or without gradients.

The seam between a model and everything that scores or tunes it: inference and fitting run the same
code, except that inference may bring the states of a prefix computed before. Knows models and
token ids; knows nothing of batching, caching, adapters or labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassbox.engine.layout.attention import KeysTaken, KeyValue, PackedCall, attending
from glassbox.engine.layout.packing import common_prefix_length, pack_rows
from glassbox.engine.layout.trie import TokenTrie, build_trie
from glassbox.engine.model.blocks import blocks_of
from glassbox.engine.protocol import ScoringPath
from glassbox.engine.scoring.plain_forward import plain_read_logits
from glassbox.types import TokenIds

PrefixStates = Mapping[int, KeyValue]
"""Keys and values of a prefix by layer, after rotation."""

_NOTHING_AFTER = build_trie([(0,)])
"""A tree without nodes: only the end of the prompt is read."""


def continuation_logprobs(
    model: PreTrainedModel,
    prompts: Sequence[TokenIds],
    trie: TokenTrie,
    *,
    path: ScoringPath = "packed",
) -> Float[Tensor, "batch n_continuations"]:
    """Return differentiable log-probabilities (nats, float32) of continuations after prompts.

    The prompts' common prefix is part of the pass, so gradients reach the weights through it. The
    model runs in whatever mode (train, eval) and with whatever adapter it has.

    Args:
        model: The library's model, its linear layers possibly wrapped by PEFT.
        prompts: One batch; none empty.
        trie: Of the continuations.
        path: ``EngineInfo.scoring_path`` of the resident model.
    """
    return path_logprobs(read_logits(model, prompts, trie, path=path), trie)


def read_logits(
    model: PreTrainedModel,
    prompts: Sequence[TokenIds],
    trie: TokenTrie,
    *,
    path: ScoringPath = "packed",
    prefix: tuple[int, PrefixStates] | None = None,
) -> Float[Tensor, "batch n_reads d_vocab"]:
    """Return the logits after each prompt and after each node of the tree, in the model's dtype.

    Args:
        model: The library's model.
        prompts: One batch; none empty.
        trie: Of the continuations.
        path: Which of the two equal ways.
        prefix: Number of leading tokens that all prompts share, and their states; None computes
            the common prefix inside the pass.
    """
    if path == "plain":
        return plain_read_logits(model, prompts, trie)
    if prefix is None:
        n_prefix = common_prefix_length(prompts) if len(prompts) > 1 else 0
        pack = pack_rows(prompts, trie, n_prefix=n_prefix, prefix_inside=True)
        call = PackedCall(pack)
    else:
        pack = pack_rows(prompts, trie, n_prefix=prefix[0])
        call = PackedCall(pack, prefix=dict(prefix[1]))
    packed = packed_logits(model, call)
    given_order = torch.empty(len(prompts), dtype=torch.long)
    given_order[torch.from_numpy(pack.order)] = torch.arange(len(prompts))
    return packed[given_order.to(packed.device)]


def packed_logits(
    model: PreTrainedModel, call: PackedCall
) -> Float[Tensor, "n_rows n_reads d_vocab"]:
    """Return the logits at the read positions of a pack, in the pack's own order."""
    reads = torch.from_numpy(call.pack.reads.ravel()).to(model.device)
    blocks = blocks_of(model)
    last = None if blocks is None else blocks[-1]
    with attending(model), _reading_only(last, call, reads):
        logits = _forward(model, call, reads)
    return logits.view(*call.pack.reads.shape, -1)


def prefix_states(model: PreTrainedModel, prefix: TokenIds) -> PrefixStates:
    """Return the keys and values of each layer after a prefix of at least one token."""
    call = PackedCall(pack_rows([prefix], _NOTHING_AFTER), keep=True)
    with attending(model):
        _forward(model, call, 1)
    return call.kept


def _forward(model: PreTrainedModel, call: PackedCall, logits_to_keep: int | Tensor) -> Tensor:
    output = model(
        input_ids=torch.from_numpy(call.pack.tokens)[None].to(model.device),
        position_ids=torch.from_numpy(call.pack.positions)[None].to(model.device),
        use_cache=False,
        logits_to_keep=logits_to_keep,
        packed=call,
    )
    logits: Tensor = output.logits
    return logits[0]


def path_logprobs(
    logits: Float[Tensor, "batch n_reads d_vocab"], trie: TokenTrie
) -> Float[Tensor, "batch n_continuations"]:
    """Return the log-probability (nats, float32) of each continuation.

    log P(c | prompt) is the sum over the tokens of c of logit minus log-sum-exp over the whole
    vocabulary, each read after the tokens before it.
    """
    wide = logits.float()
    nodes, tokens = (
        torch.tensor(side, device=logits.device) for side in zip(*trie.edges, strict=True)
    )
    normaliser = torch.logsumexp(wide, dim=-1)
    edges = wide[:, nodes, tokens] - normaliser[:, nodes]
    padded = torch.cat([edges, edges.new_zeros(len(edges), 1)], dim=1)
    paths = torch.from_numpy(trie.path_matrix()).to(logits.device)
    return padded[:, paths].sum(dim=-1)


@contextmanager
def _reading_only(
    layer: nn.Module | None, call: PackedCall, reads: Int[Tensor, " n_reads"]
) -> Iterator[None]:
    """Let the last layer work only where something is read; its output elsewhere is zero.

    No later layer looks at the other positions. It is visited twice: until its attention has the
    keys and values of all positions, then whole, on the read positions alone.
    """
    if layer is None:
        yield
        return
    n_tokens = len(call.pack.tokens)

    def before(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if call.stage != "all":
            return None
        call.stage = "keys"
        with suppress(KeysTaken):
            module.forward(*args, **kwargs)
        call.stage = "reads"
        return _at(args, reads, n_tokens), _at(kwargs, reads, n_tokens)

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (_spread(output[0], reads, n_tokens), *output[1:])
        return _spread(output, reads, n_tokens)

    handles = (
        layer.register_forward_pre_hook(before, with_kwargs=True),
        layer.register_forward_hook(after),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _spread(hidden: Tensor, reads: Tensor, n_tokens: int) -> Tensor:
    # Models reshape to the length they were given, so the length is kept.
    whole = hidden.new_zeros(hidden.shape[0], n_tokens, *hidden.shape[2:])
    return whole.index_copy(1, reads, hidden)


def _at(value: Any, reads: Tensor, n_tokens: int) -> Any:
    """Return a layer's argument at the read positions, whatever it is nested in."""
    if isinstance(value, Tensor) and value.dim() > 1 and value.shape[1] == n_tokens:
        return value.index_select(1, reads)
    if isinstance(value, tuple):
        return tuple(_at(part, reads, n_tokens) for part in value)
    if isinstance(value, dict):
        return {name: _at(part, reads, n_tokens) for name, part in value.items()}
    return value
