"""Vectors added to the residual stream: made from two kinds of texts, added while the model writes.

Source: Turner et al. 2023 (addition at one layer); Rimsky et al. 2024 (mean difference).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.techniques.measures.anatomy import Anatomy, Spot
from glassbox.techniques.measures.encoding import encode, next_token, require_texts
from glassbox.techniques.measures.generation import continuation, write_on

AT_ONCE = 16
"""Texts of one forward pass."""


def states_of(
    anatomy: Anatomy, tokenizer: Any, texts: Sequence[str], spots: Sequence[Spot], position: str
) -> Float[np.ndarray, "n_spots n_texts d_model"]:
    """Return one state for each text at each place: its last token's, or the mean over tokens.

    The mean counts every token that the tokenizer gives, a begin-of-text token too, but none of a
    hidden system prompt.

    Raises:
        InvalidValue: A position that is neither ``last`` nor ``mean``, or a text without a token.
    """
    if position not in ("last", "mean"):
        raise InvalidValue("position", position, "last, mean")
    found = []
    for start in range(0, len(texts), AT_ONCE):
        batch = encode(anatomy.model, tokenizer, texts[start : start + AT_ONCE])
        seen = anatomy.run(batch, read=spots, last_only=True).seen
        states = torch.stack([seen[spot].float() for spot in spots])
        if position == "last":
            found.append(states[:, torch.arange(len(batch.ids)), batch.last])
        else:
            weight = torch.zeros_like(batch.mask, dtype=states.dtype)
            for row, places in enumerate(batch.shown):
                if not places:
                    raise InvalidValue("texts", "", "each at least one token")
                weight[row, list(places)] = 1.0 / len(places)
            found.append(torch.einsum("stpd,tp->std", states, weight))
    return torch.cat(found, dim=1).cpu().numpy()


def contrasted(
    model: Any,
    tokenizer: Any,
    positive: Sequence[str],
    negative: Sequence[str],
    layer: int,
    position: str,
) -> tuple[
    int, Float[np.ndarray, " d_model"], float, Float[np.ndarray, " n_positive"],
    Float[np.ndarray, " n_negative"],
]:  # fmt: skip
    """Return layer, vector, mean norm of the states, and where the texts lie along the vector.

    Raises:
        InvalidValue: One text where a list of them belongs.
        NotEnoughData: No positive or no negative text.
        InvalidHookPoint: No such layer.
    """
    for texts in (positive, negative):
        require_texts(texts)
    if not positive or not negative:
        raise NotEnoughData("A steering vector (texts of each kind)", 0, 1)
    anatomy = Anatomy(model)
    spot = Spot(anatomy.layer(layer))
    states = states_of(anatomy, tokenizer, [*positive, *negative], [spot], position)[0]
    upper, lower = states[: len(positive)], states[len(positive) :]
    vector = upper.mean(axis=0) - lower.mean(axis=0)
    middle = (upper.mean(axis=0) + lower.mean(axis=0)) / 2
    reach = float(vector @ vector) / 2 or 1.0
    norm = float(np.linalg.norm(states, axis=1).mean())
    places = [(each - middle) @ vector / reach for each in (upper, lower)]
    return spot.layer, vector, norm, places[0], places[1]


def swept(
    model: Any,
    tokenizer: Any,
    prompt: str,
    where: tuple[int, Float[np.ndarray, " d_model"]],
    coefficients: Sequence[float],
    target: str | None,
    max_new_tokens: int,
) -> tuple[tuple[str, ...], Float[np.ndarray, " n"]]:
    """Return continuations and the target's probabilities (NaN without one), a row a coefficient.

    Raises:
        InvalidValue: No coefficients, one that is not finite, or a vector of another width.
        InvalidHookPoint: No such layer.
    """
    if not coefficients or not all(math.isfinite(each) for each in coefficients):
        raise InvalidValue("coefficients", tuple(coefficients), "one or more finite numbers")
    anatomy, (layer, vector) = Anatomy(model), where
    if vector.shape != (anatomy.d_model,):
        raise InvalidValue("shape of the vector", vector.shape, f"({anatomy.d_model},)")
    batch = encode(model, tokenizer, [prompt])
    direction = torch.as_tensor(vector, dtype=torch.float32, device=model.device)
    # Named, for numbers of NumPy's would make it float64.
    sizes = torch.tensor(coefficients, dtype=torch.float32, device=model.device)
    shift = sizes[:, None, None] * direction

    def add(values: Tensor) -> Tensor:
        return values + shift.to(values.dtype)

    rows = len(coefficients)
    many = batch.repeated(rows)
    spot = Spot(anatomy.layer(layer))
    probs = np.full(rows, np.nan)
    if target is not None:
        logits = anatomy.run(many, write={spot: add}, last_only=True).logits[:, -1].float()
        token = next_token(tokenizer, prompt, target)
        probs = logits.softmax(dim=-1)[:, token].cpu().double().numpy()
    with anatomy.writing({spot: add}):
        written = write_on(model, tokenizer, batch, n_rows=rows, max_new_tokens=max_new_tokens)
    ids = batch.ids[0].tolist()
    return tuple(continuation(tokenizer, ids, each) for each in written), probs
