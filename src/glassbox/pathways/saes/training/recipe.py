"""What an SAE is trained with. Knows nothing of models or files."""

from dataclasses import dataclass
from typing import Literal

from glassbox.errors import InvalidValue

SaeKind = Literal["batchtopk", "topk"]
"""How latents are limited in training: ``k`` a token on average over a batch, or ``k`` of every
token. The first becomes one threshold at the end, which a few rows can be read with."""


@dataclass(frozen=True)
class SaeRecipe:
    """Sizes and rates; the defaults are those of the embedded model's SAEs."""

    d_sae: int = 512
    """Latents."""
    k: int = 16
    """Active latents a token; on average, for ``batchtopk``."""
    kind: SaeKind = "batchtopk"
    """How latents are limited."""
    n_tokens: int = 2_000_000
    """Tokens seen in training, repetitions included."""
    batch_tokens: int = 1024
    """Tokens to one step of the optimiser."""
    chunk_tokens: int = 32_768
    """Tokens whose residuals are in memory, and shuffled, at a time."""
    learning_rate: float = 2e-3
    """Peak; linear warm-up over the first 2 % of the steps, linear decay over the last 30 %."""
    aux_k: int = 64
    """Dead latents that learn to predict the error. Source: Gao et al. 2024, appendix A.2."""
    aux_weight: float = 1 / 32
    """Weight of that loss. Source: ibid."""
    dead_after_tokens: int = 100_000
    """Tokens without firing after which a latent counts as dead."""
    max_length: int = 256
    """Longest document, tokens; longer ones are cut."""
    eval_tokens: int = 20_000
    """Tokens of held-out documents that the metrics are computed on."""
    seed: int = 0
    """Of weights and order."""

    @property
    def n_steps(self) -> int:
        """Steps of the optimiser."""
        return max(1, self.n_tokens // self.batch_tokens)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm_up, decay = max(1, self.n_steps // 50), max(1, round(self.n_steps * 0.3))
        rising = min(1.0, (step + 1) / warm_up)
        return self.learning_rate * rising * min(1.0, (self.n_steps - step) / decay)


def require_usable(recipe: SaeRecipe) -> None:
    """Return if all numbers of a recipe are within their ranges.

    Raises:
        InvalidValue: One is not.
    """
    least = {
        "d_sae": 2, "k": 1, "n_tokens": 1, "batch_tokens": 2, "aux_k": 1, "dead_after_tokens": 1,
        "max_length": 2, "eval_tokens": 1, "seed": 0,
    }  # fmt: skip
    for name, smallest in least.items():
        if getattr(recipe, name) < smallest:
            raise InvalidValue(name, getattr(recipe, name), f"{smallest} or more")
    if recipe.kind not in ("batchtopk", "topk"):
        raise InvalidValue("kind", recipe.kind, "batchtopk or topk")
    if recipe.k >= recipe.d_sae:
        raise InvalidValue("k", recipe.k, f"less than the {recipe.d_sae} latents")
    if recipe.chunk_tokens < recipe.batch_tokens:
        raise InvalidValue(
            "chunk_tokens", recipe.chunk_tokens, f"{recipe.batch_tokens} (a batch) or more"
        )
    if not recipe.learning_rate > 0 or not recipe.aux_weight >= 0:
        raise InvalidValue(
            "learning_rate, aux_weight",
            (recipe.learning_rate, recipe.aux_weight),
            "a rate above 0 and a weight of 0 or more",
        )
