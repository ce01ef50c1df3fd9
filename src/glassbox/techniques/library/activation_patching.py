"""Activation patching: which states of a clean run bring the answer back in a corrupted one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import View, by_layer
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class PatchingEffects:
    """By how much each part, taken from the clean run, moves the measure of the corrupted one."""

    site: str
    """What was replaced."""
    measured: str
    """The token, alone or against another: ``' Athens'``, ``' Athens' against ' Rome'``."""
    tokens: tuple[str, ...]
    """The corrupted text."""
    effect: Float[np.ndarray, "n_layers n_columns"]
    """Change of the measure; columns are positions, or with site ``heads`` heads."""
    clean: float
    """Measure of the clean run: difference of logits, or log-probability (nats)."""
    corrupted: float
    """The same of the corrupted run."""

    @property
    def recovered(self) -> Float[np.ndarray, "n_layers n_columns"]:
        """Effect as a share of the way from corrupted to clean: 1 brings the answer back."""
        return self.effect / (self.clean - self.corrupted or np.nan)

    def view(self) -> View:
        """Return a heat map of layers and positions (or heads)."""
        tokens = None if self.site == "heads" else self.tokens
        note = f"Answer {self.measured}: clean {self.clean:z.2f}, corrupted {self.corrupted:z.2f}."
        panel = by_layer("Share of the answer brought back", self.recovered, tokens)
        return View(f"Activation patching of {self.site}", (panel,), note)


@technique(title="Activation patching", paper="Meng et al. 2022, Locating and editing (ROME)")
def activation_patching(
    model: Any, tokenizer: Any, clean: str, corrupted: str, answer: str, against: str | None = None,
    site: str = "resid_pre", batch_size: int = 32,
) -> PatchingEffects:  # fmt: skip
    """The effect of every layer's states at every position (or head), put in one at a time.

    Args:
        clean, corrupted: Prompts of equally many tokens that the model answers differently.
        answer: Text whose first token is measured; a word needs its space, as in ' Athens'.
        against: Text whose first token's logit is taken off; none: log-probability.
        site: resid_pre, attn_out, mlp_out, resid_post or heads.
        batch_size: Places tried at once.
    """
    from glassbox.techniques.measures.interventions import patching

    both, answers = (clean, corrupted), (answer, against)
    return PatchingEffects(*patching(model, tokenizer, both, site, answers, batch_size))
