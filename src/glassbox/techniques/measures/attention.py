"""Attention weights in numbers: patterns of a text, and figures about heads. Draws nothing."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from glassbox.errors import InvalidValue
from glassbox.techniques.measures.anatomy import Anatomy
from glassbox.techniques.measures.encoding import batch_of, encode

Heads = Float[np.ndarray, "n_layers n_heads"]


def weights_and_figures(
    model: Any, tokenizer: Any, text: str
) -> tuple[
    tuple[str, ...], Float[np.ndarray, "n_layers n_heads query key"], Heads, Heads, Heads, Heads
]:
    """Return tokens, weights, and mean weight on previous, first and same token, and entropy.

    Raises:
        InvalidValue: A text of a single token, which has nothing to look at.
    """
    batch = encode(model, tokenizer, [text])
    if batch.lengths[0] < 2:
        raise InvalidValue("tokens of the text", batch.lengths[0], "2 or more")
    ran = Anatomy(model).run(batch, attentions=True, last_only=True)
    weights = torch.stack([layer[0].float() for layer in ran.attentions])
    previous = weights.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=-1)
    first = weights[..., 1:, 0].mean(dim=-1)
    itself = weights.diagonal(dim1=-2, dim2=-1)[..., 1:].mean(dim=-1)
    entropy = torch.special.entr(weights).sum(dim=-1).mean(dim=-1)
    arrays = [each.cpu().numpy() for each in (weights, previous, first, itself, entropy)]
    shown = list(batch.shown[0])
    visible = arrays[0][:, :, shown][:, :, :, shown]
    return batch.tokens[0], visible, arrays[1], arrays[2], arrays[3], arrays[4]


def induction(
    model: Any, tokenizer: Any, *, n_tokens: int, n_sequences: int, seed: int
) -> tuple[Heads, float, float]:
    """Return each head's weight on what followed a token before, and surprisals of both halves.

    Sequences are random tokens written twice, after the tokenizer's first token where it has one.
    The surprisals (nats per token) leave out the token between the halves.

    Raises:
        InvalidValue: Fewer than 2 tokens or no sequence.
    """
    if n_tokens < 2 or n_sequences < 1:
        raise InvalidValue("n_tokens, n_sequences", (n_tokens, n_sequences), "from 2, and from 1")
    generator = torch.Generator().manual_seed(seed)
    special = set(tokenizer.all_special_ids)
    usual = torch.tensor([each for each in range(len(tokenizer)) if each not in special])
    drawn = torch.randint(len(usual), (n_sequences, n_tokens), generator=generator)
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    rows = [[*start, *row, *row] for row in usual[drawn].tolist()]
    batch = batch_of(model, tokenizer, rows)
    ran = Anatomy(model).run(batch, attentions=True)
    # A token of the second half looks at the one after its first appearance.
    strip = [layer.diagonal(offset=1 - n_tokens, dim1=-2, dim2=-1) for layer in ran.attentions]
    heads = torch.stack([each[..., len(start) + 1 :].float().mean(dim=(0, -1)) for each in strip])
    logprobs = ran.logits[:, :-1].float().log_softmax(dim=-1)
    surprisal = -logprobs.gather(-1, batch.ids[:, 1:, None])[..., 0]
    second = surprisal[:, -(n_tokens - 1) :]
    first = surprisal[:, -(2 * n_tokens - 1) : -n_tokens]
    return heads.cpu().numpy(), float(first.mean()), float(second.mean())
