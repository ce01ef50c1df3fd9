"""A logit as a sum of what the parts of a model write into the residual stream.

Exact but for rounding once the final norm's scale is held, and in sandwiched blocks that of the
norm after attention. Draws nothing.

Source: Elhage et al. 2021, "A mathematical framework for transformer circuits".
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.states.taps import NAMES
from glassbox.errors import UnsupportedModel
from glassbox.techniques.measures.anatomy import Anatomy, Spot, frozen_norm
from glassbox.techniques.measures.encoding import encode, next_token, pieces

TOLERANCE = {torch.float32: 2e-3, torch.float16: 0.1, torch.bfloat16: 0.5}
"""Largest difference between the sum of the parts and the logit, per 10 of its summands' size."""

Layers = Float[np.ndarray, " n_layers"]


def attributed(
    model: Any, tokenizer: Any, prompt: str, answer: str, against: str | None
) -> tuple[
    str, str | None, float, float, Float[np.ndarray, "n_layers n_heads"], Layers, Layers, float
]:
    """Return target, contrast, logit, and what embedding, heads, biases, mlps, constants add.

    Raises:
        UnsupportedModel: The parts do not add up to the logit.
        InvalidValue: An answer that begins no new token.
    """
    anatomy = Anatomy(model)
    batch = encode(model, tokenizer, [prompt])
    ids = [next_token(tokenizer, prompt, each) for each in (answer, against) if each is not None]
    layers = range(anatomy.n_layers)
    end = Spot(anatomy.n_layers - 1, "resid_post")
    spots = [Spot(0, "resid_pre"), end]
    spots += [Spot(layer, part) for layer in layers for part in ("attn_out", "heads", "mlp_out")]
    ran = anatomy.run(batch, read=spots, last_only=True)
    anatomy.require_read_out(ran.seen[end][:, -1:], ran.logits)
    at = {spot: values[0, -1] for spot, values in ran.seen.items()}
    with torch.no_grad():
        norm = frozen_norm(anatomy.final_norm, at[end])
        direction, bias = _direction(anatomy, ids)

        def adds(part: Tensor) -> Tensor:
            return norm.linear(part.float()) @ direction

        heads = torch.stack([adds(_heads(anatomy, layer, at)) for layer in layers])
        attention = torch.stack([adds(at[Spot(layer, "attn_out")]) for layer in layers])
        mlp = torch.stack([adds(at[Spot(layer, "mlp_out")]) for layer in layers])
        embedding = adds(at[Spot(0, "resid_pre")])
        constant = norm.bias @ direction + bias
        own = norm_of(anatomy, at[end]) @ direction + bias
    _require_sum(anatomy, [embedding[None], attention, mlp, constant[None]], own)
    names = pieces(tokenizer, ids)
    per_head, rest, per_mlp = (
        each.cpu().numpy() for each in (heads, attention - heads.sum(dim=1), mlp)
    )
    contrast = names[1] if against is not None else None
    sums = float(own), float(embedding)
    return names[0], contrast, *sums, per_head, rest, per_mlp, float(constant)


def norm_of(anatomy: Anatomy, state: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """Return what the final norm makes of a state, float32."""
    normed: Tensor = anatomy.final_norm(state[None])[0]
    return normed.float()


def _direction(anatomy: Anatomy, ids: list[int]) -> tuple[Float[Tensor, " d_model"], Tensor]:
    """Return the unembedding's row of the target less that of the contrast, and the same of bias.

    Found by what the module says of unit vectors' span: its weight, whatever holds it, is linear.
    """
    weight, bias = anatomy.unembedding.weight, getattr(anatomy.unembedding, "bias", None)
    assert isinstance(weight, Tensor)
    sign = torch.tensor([1.0, -1.0][: len(ids)], device=weight.device)
    direction = sign @ weight[ids].float()
    level = sign @ bias[ids].float() if isinstance(bias, Tensor) else sign.new_zeros(())
    return direction, level


def _heads(
    anatomy: Anatomy, layer: int, at: dict[Spot, Tensor]
) -> Float[Tensor, "n_heads d_model"]:
    """Return what each head of a layer adds to the residual stream.

    The projection is asked for each head alone, so that it may be of any class and carry an
    adapter; what it gives for nothing at all is its bias.
    """
    values, projection = at[Spot(layer, "heads")], anatomy.projection(layer)
    alone = torch.zeros(anatomy.n_heads + 2, values.numel(), device=values.device).to(values)
    width = values.numel() // anatomy.n_heads
    for head in range(anatomy.n_heads):
        part = slice(head * width, (head + 1) * width)
        alone[head, part] = values[part]
    alone[-1] = values
    projected: Tensor = projection(alone[None])[0].float()
    heads, whole = projected[:-2] - projected[-2], projected[-1]
    added = at[Spot(layer, "attn_out")].float()
    if torch.allclose(whole, added, rtol=1e-3, atol=1e-3 * float(added.abs().max())):
        return heads
    # In sandwiched blocks a norm stands between the projection and the stream.
    norm = anatomy.norm_after_attention(layer)
    return frozen_norm(norm, whole.to(values)).linear(heads)


def _require_sum(anatomy: Anatomy, parts: list[Tensor], own: Tensor) -> None:
    every = torch.cat(parts)
    gap = float((every.sum() - own).abs())
    allowed = TOLERANCE.get(anatomy.model.dtype, TOLERANCE[torch.bfloat16])
    if not gap <= allowed * max(1.0, float(every.abs().sum()) / 10):
        raise UnsupportedModel(
            f"{type(anatomy.model).__name__}: the parts' shares miss its logit by {gap:.2g}, so "
            f"they would mislead. Models whose parts are known: {', '.join(NAMES)}."
        )
