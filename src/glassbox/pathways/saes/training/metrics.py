"""What an SAE is worth, on documents that it has not seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from glassbox.engine.model.devices import beside_float64
from glassbox.engine.states.taps import Taps
from glassbox.pathways.saes.sae import Sae
from glassbox.pathways.saes.training.residuals import Batch
from glassbox.types import HookPoint


@dataclass(frozen=True)
class SaeMetrics:
    """Figures of one SAE on held-out tokens; beginnings and special tokens left out."""

    layer: int
    """Block whose output it reads."""
    l0: float
    """Active latents a token, on average."""
    explained_variance: float
    """1 - squared error / variance around the mean residual; at most 1."""
    dead_share: float
    """Latents that fired on none of these tokens, a fraction."""
    cross_entropy: float
    """Of the next token, nats, with the residual replaced by the reconstruction."""
    cross_entropy_clean: float
    """The same with nothing replaced."""
    cross_entropy_mean: float
    """The same with the residual replaced by its mean."""
    n_tokens: int
    """Tokens that these figures come from."""

    @property
    def recovered(self) -> float:
        """Share of the cross-entropy's rise under mean ablation that the SAE avoids; at most 1."""
        room = self.cross_entropy_mean - self.cross_entropy_clean
        return (self.cross_entropy_mean - self.cross_entropy) / room if room > 0 else float("nan")


def measure_saes(
    model: Any,
    taps: Taps,
    batches: Sequence[Batch],
    saes: Mapping[int, Sae],
    residuals: Mapping[int, Float[Tensor, "tokens d"]],
) -> list[SaeMetrics]:
    """Return the figures of some SAEs.

    Args:
        model: The lent model.
        taps: Its layers.
        batches: Held-out documents.
        saes: By layer.
        residuals: What the SAEs read on these documents, by layer.
    """
    clean = _cross_entropy(model, batches)
    found = []
    for layer, sae in sorted(saes.items()):
        x = residuals[layer]
        n_active = torch.zeros(sae.d_sae, dtype=torch.int64, device=x.device)
        wrong = 0.0
        for part in x.split(4096):
            active = sae.encode(part)
            n_active += (active > 0).sum(0)
            wrong += _sum((part - sae.decode(active)).square())
        mean = x.mean(0)
        spread = _sum((x - mean).square())
        rebuilt, flat = (
            _with_replaced(model, taps, batches, layer, replace)
            for replace in (lambda x, sae=sae: sae.decode(sae.encode(x)), lambda _x, m=mean: m)
        )
        found.append(
            SaeMetrics(
                layer=layer,
                l0=float(n_active.sum()) / len(x),
                explained_variance=1 - wrong / spread,
                dead_share=float((n_active == 0).float().mean()),
                cross_entropy=rebuilt,
                cross_entropy_clean=clean,
                cross_entropy_mean=flat,
                n_tokens=len(x),
            )
        )
    return found


def _sum(values: Tensor) -> float:
    """Return the sum of many values, added up in float64."""
    return float(beside_float64(values).sum(dtype=torch.float64))


def _with_replaced(
    model: Any, taps: Taps, batches: Sequence[Batch], layer: int, replace: Any
) -> float:
    """Return the cross-entropy with a block's output replaced on all counted positions."""
    queue = iter(batches)

    def act(x: Tensor) -> Tensor:
        # The hook runs once for each batch, in order.
        counted = next(queue).counted.to(x.device)[..., None]
        return torch.where(counted, replace(x.float()).to(x.dtype), x)

    with taps.hooked(taps.module(HookPoint(layer, "resid_post")), False, act):
        return _cross_entropy(model, batches)


def _cross_entropy(model: Any, batches: Sequence[Batch]) -> float:
    """Return the mean cross-entropy of the next token, nats."""
    total, n = 0.0, 0
    with torch.inference_mode():
        for batch, logits in zip(batches, _logits(model, batches), strict=True):
            wanted = batch.present[:, 1:]
            predicted = logits[:, :-1][wanted.to(logits.device)].float()
            targets = batch.tokens[:, 1:][wanted].to(logits.device)
            total += float(functional.cross_entropy(predicted, targets, reduction="sum"))
            n += len(targets)
    return total / n


def _logits(model: Any, batches: Sequence[Batch]) -> Iterator[Tensor]:
    device = next(model.parameters()).device
    for batch in batches:
        yield model(
            input_ids=batch.tokens.to(device),
            attention_mask=batch.present.long().to(device),
            use_cache=False,
        ).logits
