"""One SAE in training: its loss, its step, and what it becomes.

Trained in units in which a centred residual has squared length ``d``; folded into raw units at
the end, with decoder rows of length 1. Source: Gao et al. 2024, "Scaling and evaluating sparse
autoencoders" (TopK, auxiliary loss); Bussmann et al. 2024, "BatchTopK sparse autoencoders".
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from glassbox.errors import NonFiniteOutput
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.pathways.saes.training.recipe import SaeRecipe

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Of Adam. Source: Kingma & Ba 2015, section 2."""

MOST_VALUES = 2**24
"""Activations that the threshold is set on, at most."""

_NAMES = ("w_enc", "b_enc", "w_dec", "b_dec")


@dataclass
class Progressing:
    """What the last step showed."""

    loss: float = float("nan")
    """Squared error per dimension, 1 for a reconstruction by the mean."""
    n_dead: int = 0
    """Latents that count as dead."""


class Trainee:
    """One SAE in training.

    Args:
        layer: Block whose output it reads.
        residuals: Some residuals, from which centre and scale are taken.
        recipe: Sizes and rates.
    """

    def __init__(self, layer: int, residuals: Float[Tensor, "tokens d"], recipe: SaeRecipe) -> None:
        self.layer = layer
        self.recipe = recipe
        self.seen = Progressing()
        width = residuals.shape[1]
        self.centre = residuals.mean(0)
        spread = (residuals - self.centre).square().sum(1).mean().sqrt()
        self.scale = (width**0.5 / spread).reshape(())
        generator = torch.Generator().manual_seed(recipe.seed * 1009 + layer)
        directions = torch.randn(recipe.d_sae, width, generator=generator)
        directions = functional.normalize(directions, dim=1).to(residuals.device)
        self.w_enc = directions.clone()
        self.b_enc = torch.zeros(recipe.d_sae, device=residuals.device)
        self.w_dec = directions
        self.b_dec = torch.zeros(width, device=residuals.device)
        self.moments = {
            name: (torch.zeros_like(getattr(self, name)), torch.zeros_like(getattr(self, name)))
            for name in _NAMES
        }
        self.idle = torch.zeros(recipe.d_sae, device=residuals.device)
        for name in _NAMES:
            getattr(self, name).requires_grad_(True)

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on, by name."""
        whole = {
            name: getattr(self, name).detach() for name in (*_NAMES, "centre", "scale", "idle")
        }
        for name, (first, second) in self.moments.items():
            whole |= {f"first.{name}": first, f"second.{name}": second}
        return whole

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to a state; raises ``KeyError`` or ``RuntimeError`` where it does not fit."""
        with torch.no_grad():
            for name, tensor in self.state().items():
                tensor.copy_(state[name])

    def step(self, step: int, residuals: Float[Tensor, "batch d"]) -> None:
        """Take one step of the optimiser.

        Raises:
            NonFiniteOutput: The loss became NaN or infinite.
        """
        x = (residuals - self.centre) * self.scale
        active = functional.linear(x - self.b_dec, self.w_enc, self.b_enc).relu()
        kept = self._limited(active)
        error = x - (kept @ self.w_dec + self.b_dec)
        loss = error.square().sum(1).mean() / x.shape[1]
        self.idle += len(x)
        self.idle[(kept.detach() > 0).any(0)] = 0
        is_dead = self.idle > self.recipe.dead_after_tokens
        n_dead = int(is_dead.sum())
        whole = loss
        if n_dead and self.recipe.aux_weight:
            whole = loss + self.recipe.aux_weight * self._of_dead(active, is_dead, error.detach())
        self.seen = Progressing(loss.item(), n_dead)
        if not torch.isfinite(whole):
            raise NonFiniteOutput(
                f"Step {step} of the SAE of layer {self.layer} gave loss {whole.item()}; lower the "
                f"learning rate (it is {self.recipe.learning_rate})."
            )
        gradients = torch.autograd.grad(whole, [getattr(self, name) for name in _NAMES])
        with torch.no_grad():
            self._adam(step, dict(zip(_NAMES, gradients, strict=True)))

    def _limited(self, active: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """Return the activations that are kept."""
        k = self.recipe.k
        if self.recipe.kind == "topk":
            values, places = active.topk(k, dim=1)
            return torch.zeros_like(active).scatter(1, places, values)
        flat = active.detach().flatten()
        below = flat.numel() - len(active) * k
        return active * (active > flat.kthvalue(below).values)

    def _of_dead(
        self,
        active: Float[Tensor, "batch n"],
        is_dead: Tensor,
        error: Float[Tensor, "batch d"],
    ) -> Float[Tensor, ""]:
        """Return how badly the dead latents predict the error, 1 for not at all."""
        columns = is_dead.nonzero().squeeze(1)
        alive = active[:, columns]
        values, places = alive.topk(min(self.recipe.aux_k, len(columns)), dim=1)
        sparse = torch.zeros_like(alive).scatter(1, places, values)
        missed = error - sparse @ self.w_dec[columns]
        return missed.square().sum() / error.square().sum().clamp_min(1e-12)

    def _adam(self, step: int, gradients: dict[str, Tensor]) -> None:
        # Only the part of a gradient that turns a decoder row counts: its length stays 1.
        rows = gradients["w_dec"]
        gradients["w_dec"] = rows - (rows * self.w_dec).sum(1, keepdim=True) * self.w_dec
        rate = self.recipe.rate(step)
        first_correction = 1 - BETAS[0] ** (step + 1)
        second_correction = 1 - BETAS[1] ** (step + 1)
        for name, gradient in gradients.items():
            first, second = self.moments[name]
            first.lerp_(gradient, 1 - BETAS[0])
            second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            divisor = (second / second_correction).sqrt_().add_(EPSILON)
            getattr(self, name).addcdiv_(first, divisor, value=-rate / first_correction)
        self.w_dec.div_(self.w_dec.norm(dim=1, keepdim=True))

    @torch.no_grad()
    def folded(self, residuals: Float[Tensor, "tokens d"], source: SaeSource) -> Sae:
        """Return the SAE in raw units.

        Args:
            residuals: What the threshold of ``batchtopk`` is set on: ``k`` latents a token on
                average are above it.
            source: What the SAE says of itself.
        """
        bias = self.b_enc - self.w_enc @ (self.b_dec + self.centre * self.scale)
        sae = Sae(
            layer=self.layer,
            # Encoder and decoder are scaled against each other: decoder rows of length 1.
            w_enc=self.w_enc.detach().clone(),
            b_enc=bias / self.scale,
            w_dec=self.w_dec.detach().clone(),
            b_dec=self.centre + self.b_dec.detach() / self.scale,
            threshold=torch.zeros(self.recipe.d_sae, device=bias.device),
            source=source,
            k=self.recipe.k if self.recipe.kind == "topk" else None,
        )
        if sae.k is None:
            some = residuals[: max(1, MOST_VALUES // self.recipe.d_sae)]
            values = sae.preactivations(some).relu().flatten()
            below = values.numel() - len(some) * self.recipe.k
            sae.threshold.fill_(float(values.kthvalue(below).values))
        return sae
