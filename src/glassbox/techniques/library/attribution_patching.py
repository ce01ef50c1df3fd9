"""Attribution patching: activation patching to first order, in one backward pass."""

from dataclasses import dataclass
from typing import Any

from glassbox.techniques.library.activation_patching import PatchingEffects
from glassbox.techniques.measures.views import View
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class ForetoldEffects(PatchingEffects):
    """The effects of patching as a gradient foretells them; no patch was tried."""

    def view(self) -> View:
        """Return a heat map of layers and positions (or heads)."""
        tried = super().view()
        note = f"Foretold by the gradient, not tried. {tried.note}"
        return View(f"Attribution patching of {self.site}", tried.panels, note)


@technique(title="Attribution patching", paper="Nanda 2023; Syed et al. 2023, arXiv 2310.10348")
def attribution_patching(
    model: Any, tokenizer: Any, clean: str, corrupted: str, answer: str,
    against: str | None = None, site: str = "resid_pre",
) -> ForetoldEffects:  # fmt: skip
    """The effects of activation patching as the gradient at the corrupted run foretells them.

    Three forward passes and a backward one, whatever the number of places; good for small changes
    and for heads, rough where much changes at once, such as ``resid_pre`` of early layers.

    Args:
        clean: Prompt that the model answers.
        corrupted: Prompt of as many tokens that it answers otherwise.
        answer: Text whose first token is measured; a word needs its space, as in ' Athens'.
        against: Text whose first token's logit is taken off; without it, log-probability.
        site: resid_pre, attn_out, mlp_out, resid_post or heads.
    """
    from glassbox.techniques.measures.interventions import attribution

    both = (clean, corrupted), site, (answer, against)
    return ForetoldEffects(*attribution(model, tokenizer, *both))
