"""The arithmetic of the affine lens: least squares towards the last layer, then Adam on divergence.

States are those after each block; the last block's need no map. Knows no files and no views.

Source: Belrose et al. 2023 (loss and parametrisation); Din et al. 2023 (least squares).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.model.devices import in_float64
from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.techniques.measures.anatomy import Anatomy, Spot
from glassbox.techniques.measures.encoding import encode, pieces, require_texts

LEARNING_RATE: Final = 1e-3
"""Of Adam; maps begin at the least squares solution, so steps are small."""
BATCH: Final = 256
"""Positions of one step."""
CHUNK: Final = 1024
"""Positions whose logits are held at once when a lens is measured."""

Rows = Float[Tensor, "n d_model"]


def fitted(
    model: Any, tokenizer: Any, texts: Sequence[str], *, ridge: float, n_steps: int
) -> tuple[
    Float[np.ndarray, "n_maps d_model d_model"], Float[np.ndarray, "n_maps d_model"],
    Float[np.ndarray, " n_maps"], Float[np.ndarray, " n_maps"],
]:  # fmt: skip
    """Return weights, biases, and mean divergences with and without the maps.

    Raises:
        InvalidValue: A ridge or number of steps below 0.
        NotEnoughData: Fewer tokens than half the width of the model.
    """
    if ridge < 0 or n_steps < 0:
        raise InvalidValue("ridge and n_steps", (ridge, n_steps), "0 or more each")
    anatomy = Anatomy(model)
    states = _states(anatomy, tokenizer, texts)
    final = states[-1]
    if len(final) < anatomy.d_model // 2:
        raise NotEnoughData("An affine lens (tokens)", len(final), anatomy.d_model // 2)
    weights, biases, with_map, without = [], [], [], []
    for layer in states[:-1]:
        weight, bias = _least_squares(layer, final, ridge)
        weight, bias = _descended(anatomy, layer, final, weight, bias, n_steps)
        weights.append(weight)
        biases.append(bias)
        with_map.append(_divergence(anatomy, layer @ weight + bias, final).mean())
        without.append(_divergence(anatomy, layer, final).mean())
    arrays = [torch.stack(each).cpu().numpy() for each in (weights, biases, with_map, without)]
    return arrays[0], arrays[1], arrays[2], arrays[3]


def applied(
    model: Any,
    tokenizer: Any,
    text: str,
    weight: Float[np.ndarray, "n_maps d_model d_model"],
    bias: Float[np.ndarray, "n_maps d_model"],
) -> tuple[
    tuple[str, ...], tuple[tuple[str, ...], ...], Float[np.ndarray, "n_layers n_pos"],
    Float[np.ndarray, "n_layers n_pos"],
]:  # fmt: skip
    """Return tokens, best tokens, their log-probabilities, and divergences from the answer.

    Raises:
        InvalidValue: A lens of another model's shape.
    """
    anatomy = Anatomy(model)
    needed = (anatomy.n_layers - 1, anatomy.d_model, anatomy.d_model)
    if weight.shape != needed:
        raise InvalidValue("shape of the lens", weight.shape, f"{needed} for this model")
    batch = encode(model, tokenizer, [text])
    states = _states(anatomy, tokenizer, [text])
    best, logprobs, gaps = [], [], []
    with torch.no_grad():
        for number, layer in enumerate(states):
            mapped = layer
            if number < len(weight):
                matrix, shift = (torch.as_tensor(each[number]).to(layer) for each in (weight, bias))
                mapped = layer @ matrix + shift
            top = _logprobs(anatomy, mapped).max(dim=-1)
            best.append(pieces(tokenizer, top.indices.tolist()))
            logprobs.append(top.values)
            gaps.append(_divergence(anatomy, mapped, states[-1]))
    shown = list(batch.shown[0])
    words = tuple(tuple(layer[place] for place in shown) for layer in best)
    stacked = [torch.stack(each).cpu().numpy() for each in (logprobs, gaps)]
    return batch.tokens[0], words, stacked[0][:, shown], stacked[1][:, shown]


def _states(anatomy: Anatomy, tokenizer: Any, texts: Sequence[str]) -> list[Rows]:
    """Return the states after each block at all positions of all texts, float32."""
    spots = anatomy.spots("resid_post")
    found: dict[Spot, list[Tensor]] = {spot: [] for spot in spots}
    require_texts(texts)
    for text in texts:
        batch = encode(anatomy.model, tokenizer, [text])
        ran = anatomy.run(batch, read=spots)
        anatomy.require_read_out(ran.seen[spots[-1]], ran.logits)
        for spot in spots:
            found[spot].append(ran.seen[spot][0].float())
    if not texts:
        raise NotEnoughData("An affine lens (texts)", 0, 1)
    return [torch.cat(found[spot]) for spot in spots]


def _least_squares(layer: Rows, final: Rows, ridge: float) -> tuple[Tensor, Tensor]:
    """Return the affine map from a layer to the last, pulled towards leaving things as they are."""
    middle, end = layer.mean(dim=0), final.mean(dim=0)
    x, change = in_float64(layer - middle), in_float64(final - end - (layer - middle))
    gram = x.T @ x
    pull = max(ridge, 1e-9) * gram.diagonal().mean()
    identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = identity + torch.linalg.solve(gram + pull * identity, x.T @ change)
    weight = weight.float().to(layer.device)
    return weight, end - middle @ weight


def _descended(
    anatomy: Anatomy, layer: Rows, final: Rows, weight: Tensor, bias: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(mode=False), torch.enable_grad():
        fit = [each.clone().requires_grad_() for each in (weight, bias)]
        adam = torch.optim.Adam(fit, lr=LEARNING_RATE)
        generator = torch.Generator().manual_seed(0)
        for _ in range(n_steps):
            rows = torch.randperm(len(layer), generator=generator)[:BATCH].to(layer.device)
            loss = _gap(anatomy, layer[rows] @ fit[0] + fit[1], final[rows]).mean()
            # Of these alone: the model's own weights may take gradients, and keep theirs.
            for each, gradient in zip(fit, torch.autograd.grad(loss, fit), strict=True):
                each.grad = gradient
            adam.step()
    return fit[0].detach(), fit[1].detach()


def _divergence(anatomy: Anatomy, mapped: Rows, final: Rows) -> Float[Tensor, " n"]:
    with torch.no_grad():
        return torch.cat([_gap(anatomy, *each) for each in _chunks(mapped, final)])


def _chunks(*rows: Rows) -> Iterator[tuple[Rows, ...]]:
    return zip(*(each.split(CHUNK) for each in rows), strict=True)


def _gap(anatomy: Anatomy, mapped: Rows, final: Rows) -> Float[Tensor, " n"]:
    answer = _logprobs(anatomy, final)
    return (answer.exp() * (answer - _logprobs(anatomy, mapped))).sum(dim=-1)


def _logprobs(anatomy: Anatomy, states: Rows) -> Float[Tensor, "n d_vocab"]:
    states = states.to(anatomy.model.dtype)
    return anatomy.read_out(states).log_softmax(dim=-1)
