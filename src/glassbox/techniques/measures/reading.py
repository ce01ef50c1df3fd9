"""Surprisals of tokens and lengths of the residual stream, of many texts in one forward pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from glassbox.techniques.measures.anatomy import Anatomy, Spot
from glassbox.techniques.measures.encoding import encode, pieces

Row = Float[np.ndarray, " n_pos"]
Surprisal = tuple[tuple[str, ...], Row, Row, tuple[str, ...]]


def surprisals(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[Surprisal]:
    """Return tokens, surprisals and entropies (nats), and the token expected instead, of each text.

    The first token of a text is foretold by nothing: its numbers are NaN. Works with any model,
    inside the table or not.

    Raises:
        InvalidValue: No texts, or one without any token.
        TextTooLong: A text over the model's context.
    """
    batch = encode(model, tokenizer, texts)
    with torch.no_grad():
        output = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)
    found = []
    for row, (tokens, length) in enumerate(zip(batch.tokens, batch.lengths, strict=True)):
        ids, shown = batch.ids[row, 1:length], list(batch.shown[row])
        # One text's distributions at a time, in float32: all of them can be larger than the model.
        logprobs = output.logits[row, : length - 1].float().log_softmax(dim=-1)
        own = -logprobs.gather(1, ids[:, None])[:, 0]
        spread = torch.special.entr(logprobs.exp()).sum(dim=-1)
        numbers = [np.array([np.nan, *each.tolist()], np.float32) for each in (own, spread)]
        expected = ("", *pieces(tokenizer, logprobs.argmax(dim=-1).tolist()))
        words = tuple(expected[place] for place in shown)
        found.append((tokens, numbers[0][shown], numbers[1][shown], words))
    return found


def lengths(
    model: Any, tokenizer: Any, texts: Sequence[str]
) -> list[tuple[tuple[str, ...], Float[np.ndarray, "n_rows n_pos"]]]:
    """Return tokens, and L2 norms of what enters the first layer and leaves each, of each text.

    Raises:
        InvalidValue: No texts, or one without any token.
        TextTooLong: A text over the model's context.
    """
    anatomy, batch = Anatomy(model), encode(model, tokenizer, texts)
    spots = [Spot(0, "resid_pre"), *anatomy.spots("resid_post")]
    seen = anatomy.run(batch, read=spots, last_only=True).seen
    norms = torch.stack([seen[spot].float().norm(dim=-1) for spot in spots], dim=1).cpu().numpy()
    return [
        (tokens, norms[row][:, list(batch.shown[row])]) for row, tokens in enumerate(batch.tokens)
    ]
