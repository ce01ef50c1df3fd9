"""Directions of the residual stream that move the decision, and ones that do not.

Found by gradients through the model itself and checked by adding them and looking; no SAE takes
part. The decision is the logit of stopping minus that of going on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from glassbox.engine.states.taps import Taps
from glassbox.pathways.experiment.layout import PromptGrid
from glassbox.types import HookPoint

STEPS = {"span": 6, "last": 2}
"""Steps of the search for a direction that moves the decision, by place; where the decision is
read, the first gradient is nearly the answer."""

STEP_LENGTH = 0.7
"""Of a step, before the direction is made one unit long again."""

MOST_LOGIT = 4.0
"""Decisions beyond this are decided: the search does not push them further."""

_PASS_ROWS = 64
"""Prompts of one pass with gradients."""


@dataclass(frozen=True, eq=False)
class Bench:
    """A model on some prompts, with something added at some places."""

    model: Any
    taps: Taps
    grid: PromptGrid
    stop_ids: tuple[int, ...]
    """Tokens that begin "stop"."""
    continue_ids: tuple[int, ...]
    """Tokens that begin "continue"."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        found: torch.device = next(self.model.parameters()).device
        return found

    @property
    def is_safe(self) -> Bool[Tensor, " prompts"]:
        """Which prompts are safe ones."""
        return torch.arange(self.grid.n_prompts, device=self.device) % 2 == 0

    @property
    def towards_other(self) -> Float[Tensor, " prompts"]:
        """-1 for safe prompts, whose decision is to fall, and 1 for risky ones."""
        return torch.where(self.is_safe, -1.0, 1.0)

    def place(self, name: str) -> Bool[Tensor, "prompts columns"]:
        """Return the tokens of a place, ``span`` or ``last``."""
        if name == "span":
            return self.grid.span.to(self.device)
        last = torch.zeros_like(self.grid.span)
        last[:, -1] = True
        return last.to(self.device)

    def decide(
        self, rows: slice, adding: dict[int, Tensor] | None = None, *, gradients: bool = False
    ) -> Float[Tensor, " n"]:
        """Return the decision's logit for some prompts with tensors added after some layers."""
        grid = self.grid
        with self._added(adding or {}), torch.set_grad_enabled(gradients):
            logits = self.model(
                input_ids=grid.tokens[rows].to(self.device),
                attention_mask=grid.present[rows].long().to(self.device),
                position_ids=grid.positions[rows].to(self.device),
                use_cache=False,
                logits_to_keep=1,
            ).logits[:, -1].float()  # fmt: skip
        stop = torch.logsumexp(logits[:, list(self.stop_ids)], 1)
        go_on = torch.logsumexp(logits[:, list(self.continue_ids)], 1)
        return stop - go_on

    def passes(self) -> Iterator[slice]:
        """Yield rows that go through the model together."""
        for start in range(0, self.grid.n_prompts, _PASS_ROWS):
            yield slice(start, min(start + _PASS_ROWS, self.grid.n_prompts))

    def residuals(self, layers: tuple[int, ...]) -> dict[int, Float[Tensor, "prompts columns d"]]:
        """Return what some layers write, over all prompts, float32."""
        points = {layer: HookPoint(layer, "resid_post") for layer in layers}
        parts: dict[int, list[Tensor]] = {layer: [] for layer in layers}
        for rows in self.passes():
            with self.taps.tapped(points.values()) as seen:
                self.decide(rows)
            for layer, point in points.items():
                parts[layer].append(seen[point].float())
        return {layer: torch.cat(each) for layer, each in parts.items()}

    @contextmanager
    def _added(self, adding: dict[int, Tensor]) -> Iterator[None]:
        if not adding:
            yield
            return
        ((layer, delta),) = adding.items()
        module = self.taps.module(HookPoint(layer, "resid_post"))
        with self.taps.hooked(module, False, lambda x: x + delta.to(x.dtype)):
            yield


def moving_direction(
    bench: Bench, layer: int, place: str, length: float
) -> Float[Tensor, " d_model"]:
    """Return the unit vector that moves decisions most when added at a place after a layer.

    Taken away from safe prompts and added to risky ones, at the given length: a few steps of
    normalised gradient ascent on how far decisions move towards the other kind's.
    """
    where = bench.place(place).float()
    direction: Tensor | None = None
    for _ in range(STEPS[place]):
        total = torch.zeros((), device=bench.device)
        for rows in bench.passes():
            signed = bench.towards_other[rows, None, None] * where[rows][..., None]
            start = torch.zeros(
                bench.model.config.get_text_config().hidden_size, device=bench.device
            )
            own = (start if direction is None else direction * length).requires_grad_(True)
            logit = bench.decide(rows, {layer: signed * own}, gradients=True)
            moved = (bench.towards_other[rows] * logit.clamp(-MOST_LOGIT, MOST_LOGIT)).sum()
            total = total + torch.autograd.grad(moved, own)[0]
        step = functional.normalize(total, dim=0)
        direction = (
            step
            if direction is None
            else functional.normalize(direction.detach() + STEP_LENGTH * step, dim=0)
        )
    assert direction is not None
    return direction.detach()


def idle_directions(
    bench: Bench,
    layer: int,
    place: str,
    read: tuple[int, Float[Tensor, " d_model"]] | None,
    n: int,
) -> Float[Tensor, "n d_model"]:
    """Return orthonormal directions along which decisions, and a later reading, change least.

    The ends of the spectrum of the gradients' second moment.

    Args:
        bench: Model and prompts.
        layer: After which layer.
        place: ``span`` or ``last``.
        read: A later layer and a direction of it that must not change either, at the last token.
        n: How many directions.
    """
    width = bench.model.config.get_text_config().hidden_size
    moments = torch.zeros(2, width, width, device=bench.device)
    where = bench.place(place)
    for rows in bench.passes():
        n_rows = rows.stop - rows.start
        delta = torch.zeros(
            (n_rows, bench.grid.tokens.shape[1], width), device=bench.device, requires_grad=True
        )
        kept: dict[str, Tensor] = {}
        points = [] if read is None else [HookPoint(read[0], "resid_post")]
        with bench.taps.tapped(points) as seen:
            logit = bench.decide(rows, {layer: delta}, gradients=True)
            if read is not None:
                kept["read"] = (seen[points[0]][:, -1].float() @ read[1]).sum()
        wanted = [logit.sum(), *kept.values()]
        for number, value in enumerate(wanted):
            is_last = number + 1 == len(wanted)
            (gradient,) = torch.autograd.grad(value, delta, retain_graph=not is_last)
            chosen = gradient[where[rows]]
            moments[number] += chosen.T @ chosen
    whole = sum(each / each.trace().clamp_min(1e-12) for each in moments)
    assert isinstance(whole, Tensor)
    # Ascending: the first are the idlest. On the processor, where the result is the same again.
    vectors: Tensor = torch.linalg.eigh(whole.cpu().double()).eigenvectors
    return vectors[:, :n].T.float().to(bench.device)


def fit_reading(
    residuals: Float[Tensor, "tokens d"], wanted: Bool[Tensor, " tokens"]
) -> tuple[Float[Tensor, " d"], float]:
    """Return weights and bias of a logistic reading that is above 0 on the wanted tokens.

    Source: logistic regression with a small ridge, by Newton's method (Hastie et al., section
    4.4.1).
    """
    x = residuals.cpu().double()
    mean, spread = x.mean(0), x.std().clamp_min(1e-12)
    design = torch.cat([(x - mean) / spread, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    target = wanted.cpu().double()
    ridge = torch.full((design.shape[1],), 1e-3 * len(x), dtype=x.dtype)
    ridge[-1] = 1e-9
    weights = torch.zeros(design.shape[1], dtype=x.dtype)
    for _ in range(25):
        prob = (design @ weights).sigmoid()
        gradient = design.T @ (prob - target) + ridge * weights
        curvature = (design * (prob * (1 - prob))[:, None]).T @ design + ridge.diag()
        step = torch.linalg.solve(curvature, gradient)
        weights = weights - step
        if float(step.norm()) < 1e-8 * float(weights.norm()) + 1e-12:
            break
    direction = weights[:-1] / spread
    bias = float(weights[-1] - direction @ mean)
    return direction.float().to(residuals.device), bias


def centred_reading(
    safe: Float[Tensor, "n d"], risky: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, " d"], float]:
    """Return the unit difference of two means, and the bias that puts 0 half way between them."""
    difference = safe.mean(0) - risky.mean(0)
    direction = functional.normalize(difference, dim=0)
    middle = (safe.mean(0) + risky.mean(0)) / 2
    return direction, -float(direction @ middle)
