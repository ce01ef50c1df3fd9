"""One pass over all prompts with nothing patched: residuals where patches go, caches, next token.

Everything that a patched run needs of the unpatched one is kept here: below the patched layer,
and before the first patched column, both are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from glassbox.engine.states.taps import Taps
from glassbox.errors import NonFiniteOutput, UnsupportedModel
from glassbox.pathways.experiment.layout import PromptGrid
from glassbox.pathways.halving import by_halves
from glassbox.types import HookPoint

CACHE_TOLERANCE = 2e-3
"""Largest difference of logits between a run on kept keys and values and a whole one, float32.

Wider number formats than bfloat16 stay far below; for half precision it is multiplied by 100.
"""


@dataclass(frozen=True, eq=False)
class CleanRun:
    """What the model does with the prompts as they are."""

    grid: PromptGrid
    logits: Float[Tensor, "prompts d_vocab"]
    """Of the token after each prompt, float32."""
    residuals: Mapping[int, Float[Tensor, "prompts columns d_model"]]
    """By layer, from the first patched column on."""
    cache: Any
    """The library's cache of keys and values over all columns."""

    def cache_of(self, rows: Int[Tensor, "n"], n_columns: int) -> Any:
        """Return a cache of some prompts' first columns; the caller may append to it."""
        copy = type(self.cache)()
        for layer, kept in enumerate(self.cache.layers):
            copy.update(
                kept.keys[rows, :, :n_columns].contiguous(),
                kept.values[rows, :, :n_columns].contiguous(),
                layer,
            )
        return copy


def run_clean(model: Any, taps: Taps, grid: PromptGrid, layers: Sequence[int]) -> CleanRun:
    """Return what a pass over all prompts leaves behind; out of memory, passes over halves of them.

    Args:
        model: The lent causal language model.
        taps: Its layers.
        grid: The prompts.
        layers: Blocks whose output is kept.

    Raises:
        UnsupportedModel: The model keeps no keys and values that can be given back to it.
        NonFiniteOutput: The model computed NaN or infinity.
        OutOfMemory: Even one prompt does not fit.
    """
    device = next(model.parameters()).device
    kind = _kind_of_cache(model, grid.tokens[:1, -1:].to(device))
    points = {layer: HookPoint(layer, "resid_post") for layer in layers}

    def run(rows: range) -> _Part:
        """Return what a pass over some prompts leaves behind."""
        at = slice(rows.start, rows.stop)
        with torch.inference_mode(), taps.tapped(points.values()) as seen:
            output = model(
                input_ids=grid.tokens[at].to(device),
                attention_mask=grid.present[at].long().to(device),
                position_ids=grid.positions[at].to(device),
                past_key_values=kind(),
                use_cache=True,
                logits_to_keep=1,
            )
            residuals = {
                layer: seen[point][:, grid.first_patched :].clone()
                for layer, point in points.items()
            }
        return _Part(output.logits[:, -1].float(), residuals, output.past_key_values)

    parts = by_halves(
        range(grid.n_prompts),
        run,
        too_much=lambda _: "One prompt of the experiment does not fit the device's memory.",
    )
    whole = next(parts)
    for part in parts:
        whole.append(part)
    if not bool(whole.logits.isfinite().all()):
        raise NonFiniteOutput("The model answers NaN or infinity to a prompt of the experiment.")
    clean = CleanRun(grid, whole.logits, whole.residuals, whole.cache)
    _require_same_from_cache(model, clean)
    return clean


@dataclass(eq=False)
class _Part:
    """What a pass over some prompts leaves behind, as in ``CleanRun``."""

    logits: Float[Tensor, "prompts d_vocab"]
    residuals: dict[int, Float[Tensor, "prompts columns d_model"]]
    cache: Any

    def append(self, other: "_Part") -> None:
        """Take over the prompts of another part, a layer at a time, which it then has no more."""
        with torch.inference_mode():
            self.logits = torch.cat([self.logits, other.logits])
            for layer in self.residuals:
                more = other.residuals.pop(layer)
                self.residuals[layer] = torch.cat([self.residuals[layer], more])
            for mine, its in zip(self.cache.layers, other.cache.layers, strict=True):
                mine.keys = torch.cat([mine.keys, its.keys])
                mine.values = torch.cat([mine.values, its.values])
                its.reset()


def _kind_of_cache(model: Any, token: Tensor) -> Any:
    """Return the class of the model's cache, which without a configuration keeps everything."""
    with torch.inference_mode():
        kept = model(input_ids=token, use_cache=True).past_key_values
    if not hasattr(kept, "layers") or not all(hasattr(each, "keys") for each in kept.layers):
        raise UnsupportedModel(
            f"{type(model).__name__} keeps no keys and values by layer ({type(kept).__name__}), "
            "which the patching experiment needs."
        )
    return type(kept)


def _require_same_from_cache(model: Any, clean: CleanRun) -> None:
    """Return if the end of the prompts, run on the kept beginning, gives the same logits.

    Raises:
        UnsupportedModel: It does not.
    """
    gap = 0.0
    # One at a time: together they might not fit, where halves of the prompts did.
    for row in range(min(4, clean.grid.n_prompts)):
        again, _ = run_columns(model, clean, torch.tensor([row]), clean.grid.first_patched)
        gap = max(gap, float((again[0] - clean.logits[row]).abs().max()))
    is_half = next(model.parameters()).dtype in (torch.bfloat16, torch.float16)
    if gap > CACHE_TOLERANCE * (100 if is_half else 1):
        raise UnsupportedModel(
            f"{type(model).__name__} answers otherwise from kept keys and values (logits differ "
            f"by {gap:.3g}), so that patched runs cannot share a prompt's beginning."
        )


def run_columns(
    model: Any, clean: CleanRun, rows: Int[Tensor, "n"], start: int
) -> tuple[Float[Tensor, "n d_vocab"], Any]:
    """Return the logits after some prompts run from a column on, and their cache.

    Hooks that stand on the model act on these columns.
    """
    grid = clean.grid
    device = clean.logits.device
    cache = clean.cache_of(rows.to(device), start) if start else type(clean.cache)()
    with torch.inference_mode():
        output = model(
            input_ids=grid.tokens[rows, start:].to(device),
            attention_mask=grid.present[rows].long().to(device),
            position_ids=grid.positions[rows, start:].to(device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
    return output.logits[:, -1].float(), output.past_key_values
