"""Whether an SAE that was read does what an SAE should, measured on a model's own residuals.

A file in the wrong reading loads without complaint and fires on a thousand latents a token. This
measures decoder norms, L0 and explained variance without special positions, and refuses what
cannot be. Knows nothing of how the residuals were made.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from jaxtyping import Bool, Float

from glassbox.engine.model.devices import in_float64
from glassbox.errors import InvalidData, NonFiniteOutput, NotEnoughData
from glassbox.pathways.saes.sae import Sae, SaeSource

DENSE: Final = 0.1
"""Share of tokens above which a latent counts as dense.
Source: EleutherAI/attribute drops features denser than about that; a convention, not a law."""

_LOWEST, _HIGHEST = 0.4, 2.4
"""Plausible L0 as multiples of the one its makers aimed at. Source: Llama Scope aims at 50, and
20 to 120 a token are seen in its authors' own notebooks."""

_MIN_TOKENS = 64
"""Below this neither L0 nor explained variance is worth a verdict; a convention."""

_BATCH = 512


@dataclass(frozen=True)
class GateLimits:
    """What an SAE has to keep to be used."""

    min_l0: float = 1.0
    """Latents a token, at least."""
    max_l0: float = float("inf")
    """Latents a token, at most."""
    min_explained_variance: float = 0.3
    """Fraction of the residuals' variance; SAEs in use explain 0.6 to 0.95, one in the wrong
    reading or on another model less than nothing."""
    max_decoder_norm_spread: float = 1e4
    """Largest decoder norm over the smallest that is not 0, in the file."""


@dataclass(frozen=True)
class LoadReport:
    """What an SAE does on residuals, special positions left out."""

    layer: int
    format: str
    convention: str
    """How the file was read."""
    digest: str
    """SHA-256 (hex) of the files."""
    d_in: int
    d_sae: int
    n_tokens: int
    """Positions that were counted."""
    n_excluded: int
    """Special positions that were not."""
    decoder_norm_file: float | None
    """Mean norm of the file's decoder rows, before folding."""
    decoder_norm_mean: float
    """Mean norm of the decoder rows as they are used."""
    decoder_norm_min: float
    decoder_norm_max: float
    l0: float
    """Mean number of latents that fire on a token."""
    l0_sd: float
    """Standard deviation of that over tokens."""
    l0_excluded: float | None
    """Mean on the special positions, where thousands may fire; none if there are none."""
    dead_share: float
    """Fraction of latents that fired on no token here; large where tokens are few."""
    dense_share: float
    """Fraction of latents that fired on more than a tenth of the tokens."""
    explained_variance: float
    """1 − squared error / squared distance from the mean residual; at most 1."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def measure_load(
    sae: Sae,
    residuals: Float[torch.Tensor, "_ d_in"] | Iterable[Float[torch.Tensor, "_ d_in"]],
    *,
    special: Bool[torch.Tensor, "_"] | None = None,
) -> LoadReport:
    """Return what an SAE does on outputs of its block.

    Args:
        sae: The dictionary.
        residuals: Vectors of the residual stream, at once or in parts.
        special: Positions to leave out: the first of every text, and special tokens.

    Raises:
        NonFiniteOutput: A residual is NaN or infinite.
        NotEnoughData: Fewer than 64 positions are left.
    """
    whole = [residuals] if isinstance(residuals, torch.Tensor) else residuals
    tally = _Tally(sae)
    start = 0
    for part in whole:
        for batch in part.split(_BATCH):
            mask = None if special is None else special[start : start + len(batch)]
            tally.add(batch, mask)
            start += len(batch)
    if tally.n < _MIN_TOKENS:
        raise NotEnoughData("Measuring an SAE", tally.n, _MIN_TOKENS, unit="token")
    return tally.report()


class _Tally:
    """Sums over tokens; only sums are kept."""

    def __init__(self, sae: Sae) -> None:
        self.sae = sae
        self.n = self.n_special = 0
        self.l0_sum = self.l0_squares = self.l0_special = self.error = 0.0
        self.fired = torch.zeros(sae.d_sae, dtype=torch.int64, device=sae.w_enc.device)
        self.total = torch.zeros(sae.d_out, dtype=torch.float64)
        self.squares = 0.0

    @torch.no_grad()
    def add(
        self, x: Float[torch.Tensor, "n d_in"], special: Bool[torch.Tensor, "n"] | None
    ) -> None:
        x = x.to(self.sae.w_enc.device, self.sae.w_enc.dtype)
        if not torch.isfinite(x).all():
            raise NonFiniteOutput("a residual is NaN or infinite; the model itself is at fault")
        if special is not None and bool(special.any()):
            at = special.to(x.device)
            left_out = self.sae.encode(x[at])
            self.l0_special += float((left_out > 0).sum())
            self.n_special += int(at.sum())
            x = x[~at]
        if not len(x):
            return
        f = self.sae.encode(x)
        per_token = (f > 0).sum(-1)
        self.fired += (f > 0).sum(0)
        self.l0_sum += float(per_token.sum())
        self.l0_squares += float(per_token.square().sum())
        missed, wide = in_float64(x - self.sae.decode(f, x=x)), in_float64(x)
        self.error += float(missed.square().sum())
        self.total += wide.sum(0).cpu()
        self.squares += float(wide.square().sum())
        self.n += len(x)

    def report(self) -> LoadReport:
        sae, n = self.sae, self.n
        norms = sae.w_dec.float().norm(dim=1)
        l0 = self.l0_sum / n
        variance = self.squares - float(self.total.square().sum()) / n
        return LoadReport(
            layer=sae.layer,
            format=sae.source.format,
            convention=sae.source.convention,
            digest=sae.source.digest,
            d_in=sae.d_in,
            d_sae=sae.d_sae,
            n_tokens=n,
            n_excluded=self.n_special,
            decoder_norm_file=sae.source.decoder_norm_mean,
            decoder_norm_mean=float(norms.mean()),
            decoder_norm_min=float(norms.min()),
            decoder_norm_max=float(norms.max()),
            l0=l0,
            l0_sd=max(0.0, self.l0_squares / n - l0 * l0) ** 0.5,
            l0_excluded=self.l0_special / self.n_special if self.n_special else None,
            dead_share=float(in_float64(self.fired == 0).mean()),
            dense_share=float(in_float64(self.fired > DENSE * n).mean()),
            explained_variance=1 - self.error / variance if variance > 0 else 0.0,
        )


def usual_limits(source: SaeSource, *, d_sae: int) -> GateLimits:
    """Return what is plausible: by the L0 that the makers aimed at, else below a tenth of all."""
    if source.expected_l0 is None:
        return GateLimits(max_l0=max(1.0, d_sae / 10))
    low, high = _LOWEST * source.expected_l0, _HIGHEST * source.expected_l0
    return GateLimits(min_l0=low, max_l0=high)


def implausible(report: LoadReport, limits: GateLimits) -> tuple[str, ...]:
    """Return everything about an SAE that cannot be, as sentences; empty if nothing."""
    found = []
    if not limits.min_l0 <= report.l0 <= limits.max_l0:
        found.append(
            f"{report.l0:.1f} latents fire on a token; plausible are {limits.min_l0:.3g} to "
            f"{limits.max_l0:.3g}"
        )
    if report.explained_variance < limits.min_explained_variance:
        found.append(
            f"it explains {report.explained_variance:.3f} of the variance; at least "
            f"{limits.min_explained_variance:.3g} is asked for"
        )
    if report.decoder_norm_max == 0:
        found.append("all decoder rows are 0")
    elif report.decoder_norm_max > limits.max_decoder_norm_spread * max(
        report.decoder_norm_min, 1e-30
    ):
        found.append(
            f"decoder norms go from {report.decoder_norm_min:.3g} to {report.decoder_norm_max:.3g}"
        )
    return tuple(found)


def require_plausible(report: LoadReport, limits: GateLimits) -> None:
    """Return if an SAE does what it should.

    Raises:
        InvalidData: It does not; names everything that is wrong, and what it may come from.
    """
    found = implausible(report, limits)
    if found:
        raise InvalidData(
            f"the SAE of layer {report.layer} ({report.format}, read as {report.convention!r}) is "
            f"implausible: {'; '.join(found)}. It may be for another model or layer, or be read in "
            "the wrong convention; `glassbox sae inspect` measures it."
        )
