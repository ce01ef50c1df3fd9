"""Which tokens a latent's decoder row speaks for: the model's own norm and head, applied to it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.states.taps import Taps
from glassbox.pathways.integration.values import LensToken
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.rows import LatentRows

CHUNK_LOGITS: Final = 8_000_000
"""Logits held at once: 32 MB in float32."""

Decode = Callable[[int], str]
"""The text of one token id."""


def logit_lens(
    model: Any, rows: Mapping[int, LatentRows], decode: Decode, *, n_tokens: int = 8
) -> dict[LatentId, tuple[tuple[LensToken, ...], tuple[LensToken, ...]]]:
    """Return the tokens that each latent's decoder row raises and lowers most.

    The logits are those the model's head gives for the final norm of the decoder row alone, less
    those for nothing at all and less their mean over the vocabulary. What later blocks make of
    the row is not in them.

    Args:
        model: The lent causal language model.
        rows: The latents, by layer.
        decode: The text of a token id.
        n_tokens: Tokens at either end.

    Raises:
        UnsupportedModel: The model's final norm is not known by name.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    """
    norm, head = Taps(model).final_norm, model.get_output_embeddings()
    n_vocabulary, width = head.weight.shape
    size = max(1, CHUNK_LOGITS // n_vocabulary)
    found = {}
    with torch.inference_mode():
        nothing = head(norm(head.weight.new_zeros(1, width)))
        for layer, chosen in rows.items():
            for start in range(0, len(chosen), size):
                part = chosen.w_dec[start : start + size].to(head.weight.device, head.weight.dtype)
                logits = (head(norm(part)) - nothing).float()
                logits -= logits.mean(dim=-1, keepdim=True)
                for index, row in zip(
                    chosen.indices[start : start + size].tolist(), logits, strict=True
                ):
                    found[LatentId(layer, index)] = (
                        _best(row, decode, n_tokens, largest=True),
                        _best(row, decode, n_tokens, largest=False),
                    )
    return found


def capped(model: Any, logits: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return logits as the model gives them: through its soft cap, where it has one.

    Source: Gemma Team 2024, "Gemma 2", section 2.
    """
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _best(row: Tensor, decode: Decode, n_tokens: int, *, largest: bool) -> tuple[LensToken, ...]:
    values, places = row.topk(min(n_tokens, len(row)), largest=largest)
    return tuple(
        LensToken(decode(place), place, value)
        for place, value in zip(places.tolist(), values.tolist(), strict=True)
    )
