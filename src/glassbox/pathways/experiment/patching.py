"""Holding latents at a value, many rows in one batch, and letting the model answer.

The delta form: ``(value - f) * decoder row`` is added to the residual stream at the patched
places, which keeps what the SAE does not explain. One latent is patched in a row, so f there is
that of the clean run. Source: Marks et al. 2024, "Sparse feature circuits", section 3.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.model.devices import in_float64
from glassbox.engine.states.taps import Taps
from glassbox.pathways.experiment.clean_run import CleanRun, run_columns
from glassbox.pathways.experiment.conditions import Kind
from glassbox.pathways.experiment.means import LatentReading
from glassbox.types import HookPoint


@dataclass(frozen=True, eq=False)
class PatchedRow:
    """One prompt with one latent held at a value."""

    row: int
    """Prompt in the grid."""
    reading: LatentReading | None
    """The latent; None patches nothing."""
    value: Kind | None
    """Kind whose mean it is held at."""
    factor: float
    """What that mean is multiplied by."""
    draws: Float[np.ndarray, " steps"]
    """Uniform numbers in [0, 1), one for each new token."""


@dataclass(frozen=True, eq=False)
class Sampling:
    """How answers are written."""

    temperature: float
    max_new_tokens: int
    end_ids: frozenset[int]
    """Tokens that end an answer; they are not part of it."""


@dataclass(frozen=True, eq=False)
class Answered:
    """What came of one row."""

    tokens: tuple[int, ...]
    """The sampled answer, without the token that ended it."""
    logits: Float[Tensor, " d_vocab"]
    """Of its first token."""


def answer_rows(
    model: Any, taps: Taps, clean: CleanRun, rows: Sequence[PatchedRow], sampling: Sampling
) -> list[Answered]:
    """Return the answers to some rows, run as one batch."""
    places = torch.tensor([each.row for each in rows])
    if all(each.reading is None for each in rows):
        logits, cache = clean.logits[places], None
    else:
        with patched(taps, clean, rows):
            logits, cache = run_columns(model, clean, places, clean.grid.first_patched)
    written = _write(model, clean, places, cache, logits, rows, sampling)
    return [Answered(tuple(tokens), logits[at]) for at, tokens in enumerate(written)]


@contextmanager
def patched(taps: Taps, clean: CleanRun, rows: Sequence[PatchedRow]) -> Iterator[None]:
    """Add each row's patch to the output of its latent's layer while the block lasts."""
    by_layer: dict[int, list[int]] = {}
    for at, each in enumerate(rows):
        if each.reading is not None:
            by_layer.setdefault(each.reading.latent.layer, []).append(at)
    with ExitStack() as stack:
        for layer, members in by_layer.items():
            width = clean.residuals[layer].shape[-1]
            deltas = torch.zeros(
                (len(rows), clean.grid.tokens.shape[1] - clean.grid.first_patched, width),
                device=clean.logits.device,
            )
            for at in members:
                deltas[at] = delta_of(clean, rows[at])

            def act(x: Tensor, deltas: Tensor = deltas) -> Tensor:
                return x + deltas.to(x.dtype)

            module = taps.module(HookPoint(layer, "resid_post"))
            stack.enter_context(taps.hooked(module, False, act))
        yield


def delta_of(clean: CleanRun, row: PatchedRow) -> Float[Tensor, "columns d_model"]:
    """Return what a patch adds to the residual stream, from the first patched column on."""
    reading = row.reading
    assert reading is not None
    assert row.value is not None
    means = reading.means[row.value]
    span = clean.grid.span[row.row, clean.grid.first_patched :].to(reading.activations.device)
    wanted = torch.where(span, row.factor * means.span, reading.activations[row.row])
    wanted[-1] = row.factor * means.last
    change = wanted - reading.activations[row.row]
    return change[:, None] * reading.w_dec


def _write(
    model: Any,
    clean: CleanRun,
    places: Tensor,
    cache: Any,
    logits: Float[Tensor, "n d_vocab"],
    rows: Sequence[PatchedRow],
    sampling: Sampling,
) -> list[list[int]]:
    """Return the sampled tokens of each row; rows that have ended leave the batch."""
    written: list[list[int]] = [[] for _ in rows]
    going = list(range(len(rows)))
    present = clean.grid.present[places].long().to(logits.device)
    positions = clean.grid.positions[places, -1].to(logits.device)
    for step in range(sampling.max_new_tokens):
        draws = np.array([rows[at].draws[step] for at in going])
        chosen = sample(logits, draws, sampling.temperature)
        stays = [place for place, token in enumerate(chosen) if token not in sampling.end_ids]
        for place in stays:
            written[going[place]].append(chosen[place])
        if not stays or step + 1 == sampling.max_new_tokens:
            break
        keep = torch.tensor(stays, device=logits.device)
        going = [going[place] for place in stays]
        if cache is None:
            cache = clean.cache_of(places.to(logits.device)[keep], clean.grid.tokens.shape[1])
        elif len(stays) < len(chosen):
            cache.batch_select_indices(keep)
        present = torch.cat([present[keep], torch.ones_like(present[keep, :1])], 1)
        positions = positions[keep] + 1
        tokens = torch.tensor([chosen[place] for place in stays], device=logits.device)
        with torch.inference_mode():
            output = model(
                input_ids=tokens[:, None], attention_mask=present,
                position_ids=positions[:, None], past_key_values=cache, use_cache=True,
                logits_to_keep=1,
            )  # fmt: skip
        logits, cache = output.logits[:, -1].float(), output.past_key_values
    return written


def sample(
    logits: Float[Tensor, "n d_vocab"], draws: Float[np.ndarray, " n"], temperature: float
) -> list[int]:
    """Return one token of each row: where the cumulated probabilities pass its uniform number.

    Rows with the same number choose alike wherever their probabilities allow it.
    """
    cumulated = (in_float64(logits) / temperature).softmax(-1).cumsum(-1)
    wanted = torch.from_numpy(draws).to(cumulated)[:, None] * cumulated[:, -1:]
    found = torch.searchsorted(cumulated, wanted, right=True).squeeze(1)
    return found.clamp_max(logits.shape[1] - 1).tolist()
