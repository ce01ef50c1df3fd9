"""The next token of many rows at once, and what the model thought of it.

Each row has its own temperature, filters and random number; the rules are those of the obvious
one-row version in ``plain_generation``, which is the oracle. Knows logits; knows nothing of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from glassbox.engine.model.devices import in_float64
from glassbox.engine.model.distributions import MIN_TEMPERATURE, entropy
from glassbox.engine.requests import Sampling

CHUNK_LOGITS = 1 << 22
"""Logits worked on at a time (16 MiB in float32), so that temporaries stay small."""

N_BEST = 1024
"""Most probable tokens looked at first by the filters; only rows that keep more are sorted."""


@dataclass(frozen=True)
class Ask:
    """What is to happen at one read position."""

    sampling: Sampling
    """How to choose."""
    uniform: float = 0.0
    """A number from [0, 1) that decides the draw; unused where nothing is drawn."""
    given: int | None = None
    """The token that stands there already; None chooses one."""
    n_tokens: int | None = None
    """Ids from here on stand for nothing and are not chosen; None chooses among all."""

    @property
    def draws(self) -> bool:
        """Whether the token is drawn at random."""
        return self.given is None and self.sampling.temperature > 0


@dataclass(frozen=True, eq=False)
class Choices:
    """The tokens and their readings, on the host."""

    token_ids: list[int]
    """One for each read position."""
    numbers: Float[np.ndarray, "n 4"]
    """Raw log-probability and entropy, then those of the distribution sampled from."""
    top_ids: Int[np.ndarray, "n k"]
    """Most probable tokens, best first; k is the most that any position asks for."""
    top_logprobs: Float[np.ndarray, "n k"]
    """Their raw log-probabilities."""
    finite: Bool[np.ndarray, " n"]
    """Whether all readings there are numbers."""


def choose_tokens(logits: Float[Tensor, "n d_vocab"], asks: Sequence[Ask]) -> Choices:
    """Return a token for each read position, with readings of the whole distribution in float32.

    Args:
        logits: Next-token logits in any float dtype.
        asks: One for each row.
    """
    n_top = min(max((ask.sampling.top_logprobs for ask in asks), default=0), logits.shape[1])
    step = max(1, CHUNK_LOGITS // logits.shape[1])
    parts = [
        _choose(logits[at : at + step].float(), asks[at : at + step], n_top)
        for at in range(0, len(asks), step)
    ]
    if not parts:
        nothing = np.zeros((0, n_top))
        return Choices(
            [], np.zeros((0, 4), np.float32), nothing.astype(np.int64),
            nothing.astype(np.float32), np.zeros(0, dtype=bool),
        )  # fmt: skip
    # One copy to the host for everything; ids below 2^24 are exact in float32.
    table = torch.cat(parts).cpu().numpy()
    return Choices(
        token_ids=table[:, 0].astype(np.int64).tolist(),
        numbers=table[:, 1:5],
        top_ids=table[:, 5 : 5 + n_top].astype(np.int64),
        top_logprobs=table[:, 5 + n_top :],
        finite=np.isfinite(table[:, 1:5]).all(axis=1),
    )


def _choose(
    logits: Float[Tensor, "n d_vocab"], asks: Sequence[Ask], n_top: int
) -> Float[Tensor, "n columns"]:
    raw = torch.log_softmax(logits, dim=-1)
    raw_entropy = entropy(raw)
    # A vocabulary may be padded beyond the tokenizer's: what nobody trained is never said.
    known = [each.n_tokens for each in asks if each.n_tokens is not None]
    able = logits[:, : min(known, default=None)]
    chosen = able.argmax(dim=-1)
    given = [row for row, ask in enumerate(asks) if ask.given is not None]
    if given:
        tokens = torch.tensor([asks[row].given for row in given], device=logits.device)
        chosen[given] = tokens
    drawing = [row for row, ask in enumerate(asks) if ask.draws]
    logprob = raw.gather(1, chosen[:, None])[:, 0]
    sampled_logprob, sampled_entropy = logprob, raw_entropy
    if drawing:
        whole = len(drawing) == len(asks)
        drawn = _sampled_logprobs(
            able if whole else able[drawing], [asks[row].sampling for row in drawing]
        )
        tokens = _draw(drawn, [asks[row].uniform for row in drawing])
        chosen[drawing] = tokens
        logprob = raw.gather(1, chosen[:, None])[:, 0]
        sampled_logprob, sampled_entropy = logprob.clone(), raw_entropy.clone()
        sampled_logprob[drawing] = drawn.gather(1, tokens[:, None])[:, 0]
        sampled_entropy[drawing] = entropy(drawn)
    columns = [chosen.float(), logprob, raw_entropy, sampled_logprob, sampled_entropy]
    table = torch.stack(columns, dim=1)
    if n_top:
        top = torch.topk(raw, n_top, dim=-1)
        table = torch.cat([table, top.indices.float(), top.values], dim=1)
    return table


def _sampled_logprobs(
    logits: Float[Tensor, "n d_vocab"], samplings: Sequence[Sampling]
) -> Float[Tensor, "n d_vocab"]:
    """Return the log-probabilities drawn from: temperature, then top_k, then top_p.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    device, d_vocab = logits.device, logits.shape[1]
    temperatures = torch.tensor([each.temperature for each in samplings], device=device)
    # Counted from the best one, no logit overflows at a tiny temperature.
    scaled = logits - logits.amax(dim=-1, keepdim=True)
    scaled /= temperatures.clamp_min(MIN_TEMPERATURE)[:, None]
    filtered = [
        row for row, each in enumerate(samplings) if each.top_p < 1 or each.top_k is not None
    ]
    if filtered:
        some = scaled[filtered]
        most = torch.tensor(
            [min(samplings[row].top_k or d_vocab, d_vocab) for row in filtered], device=device
        )
        # At 1 all are kept: a sum of probabilities may round up to it before the last token.
        reach = [samplings[row].top_p for row in filtered]
        limits = torch.tensor([p if p < 1 else torch.inf for p in reach], device=device)
        scaled[filtered] = some.masked_fill_(~_kept(some, most, limits), -torch.inf)
    return torch.log_softmax(scaled, dim=-1)


def _kept(
    scaled: Float[Tensor, "n d_vocab"], most: Int[Tensor, " n"], reach: Float[Tensor, " n"]
) -> Bool[Tensor, "n d_vocab"]:
    """Return which tokens the filters keep; of equally probable ones the lower id comes first.

    Args:
        scaled: Logits minus the row's largest one, divided by the temperature.
        most: Tokens that top_k keeps.
        reach: Probability, among those, at which top_p stops.
    """
    d_vocab = scaled.shape[1]
    lowest, n_lowest, known = _cut(scaled, most, reach, min(N_BEST, d_vocab))
    rest = (~known).nonzero()[:, 0]
    if len(rest):
        lowest[rest], n_lowest[rest], _ = _cut(scaled[rest], most[rest], reach[rest], d_vocab)
    same = scaled == lowest
    return (scaled > lowest) | (same & (same.cumsum(dim=-1, dtype=torch.int32) <= n_lowest))


def _cut(
    scaled: Float[Tensor, "n d_vocab"],
    most: Int[Tensor, " n"],
    reach: Float[Tensor, " n"],
    n_best: int,
) -> tuple[Float[Tensor, "n 1"], Int[Tensor, "n 1"], Bool[Tensor, " n"]]:
    """Return the lowest logit kept, how many tokens at it are kept, and whether that is certain.

    It is certain where the best ``n_best`` tokens decide it, as all of them always do.
    """
    d_vocab = scaled.shape[1]
    sees_all = n_best == d_vocab
    best = scaled.sort(dim=-1, descending=True).values if sees_all else scaled.topk(n_best).values
    places = torch.arange(n_best, device=scaled.device)
    within = places < most[:, None]
    # The largest logit is 0, so that these are probabilities but for one factor.
    weights = best.exp().masked_fill(~within, 0.0)
    enough = most <= n_best
    total = torch.where(enough, weights.sum(dim=-1), scaled.exp().sum(dim=-1))
    probs = weights / total[:, None]
    within &= probs.cumsum(dim=-1) - probs < reach[:, None]
    # The first token is always kept: nothing stands before it.
    n_kept = within.sum(dim=-1, keepdim=True).clamp_min(1)
    lowest = best.gather(1, n_kept - 1)
    n_lowest = n_kept - (best > lowest).sum(dim=-1, keepdim=True)
    return lowest, n_lowest, enough | ((most == d_vocab) & (n_kept[:, 0] < n_best))


def _draw(logprobs: Float[Tensor, "n d_vocab"], uniforms: Sequence[float]) -> Int[Tensor, " n"]:
    """Return one token a row by inverse transform, in the order of the vocabulary."""
    probs = in_float64(logprobs.exp())
    uniform = torch.tensor(uniforms, dtype=torch.float64, device=probs.device)
    reached = probs.cumsum(dim=-1) <= (uniform * probs.sum(dim=-1))[:, None]
    # Rounding may leave the sum short of the number drawn: the last possible token then.
    places = torch.arange(probs.shape[1], device=probs.device)
    last = torch.where(probs > 0, places, 0).amax(dim=-1)
    return torch.minimum(reached.sum(dim=-1), last).to(logprobs.device)
