"""Tuning for labels: the loss and the default rank.

The loss sees log-probabilities of the verbalisers after the prompt and nothing else, so no other
token of a text is trained. A class is the union of its verbalisers, made disjoint where one is the
beginning of another, exactly as in inference. Knows nothing of files, splits or LoRA.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch.nn.functional import cross_entropy

from glassbox.confidence.asking.verbalisers import SMALLEST_REMAINDER
from glassbox.errors import InvalidValue

_LEAST_GAP = -math.log1p(-SMALLEST_REMAINDER)
"""The same remainder as in inference, as a difference of logs."""

RANKS = (8, 16, 32, 64)
"""Ranks to choose from: below 8 tuning is hampered, above 64 it is slow and rarely better."""

TRAINABLE_FRACTION = 0.02
"""Share of the parameters that the default rank is to train."""

_FRACTION_PER_RANK = 1.34
"""Share of a model's parameters that one rank trains, times ``d_model``, with LoRA on every
attention and feed-forward layer: 0.26 % at rank 8 for a Llama of 8 billion and d_model 4,096."""


def default_rank(d_model: int) -> int:
    """Return the LoRA rank that trains about 2 % of the parameters, from 8 to 64.

    Example:
        >>> [default_rank(width) for width in (128, 1024, 2048, 4096)]
        [8, 16, 32, 64]
    """
    wanted = TRAINABLE_FRACTION * d_model / _FRACTION_PER_RANK
    return min(RANKS, key=lambda rank: abs(math.log(rank / wanted)))


@dataclass(frozen=True)
class LabelLoss:
    """Mean loss of a batch: cross-entropy over the classes, and a little for being on task.

    ``loss = CE(softmax over classes, target) - vocabulary_weight * log P(target's class)``, where
    ``P`` counts the whole vocabulary. The first term alone would let all labels become improbable
    together; the second keeps the label mass high.

    Source: Szegedy et al. 2016, section 7, for the smoothing, here over the classes only.
    """

    groups: tuple[tuple[int, ...], ...]
    """Indices of the continuations of each class."""
    nested: tuple[tuple[int, tuple[int, ...]], ...]
    """For a continuation, those maximal deeper ones that begin with it."""
    vocabulary_weight: float
    """Weight of the full-vocabulary term, at least 0."""
    smoothing: float
    """Share of the target spread evenly over the classes, [0, 1)."""

    def __call__(
        self,
        logprobs: Float[torch.Tensor, "batch n_continuations"],
        targets: Int[torch.Tensor, " batch"],
    ) -> torch.Tensor:
        """Return the differentiable mean loss in nats; targets are class indices."""
        classes = self.class_logprobs(logprobs)
        on_labels = cross_entropy(classes, targets, label_smoothing=self.smoothing)
        of_target = classes.gather(1, targets[:, None]).squeeze(1)
        return on_labels - self.vocabulary_weight * of_target.mean()

    def class_logprobs(
        self, logprobs: Float[torch.Tensor, "batch n_continuations"]
    ) -> Float[torch.Tensor, "batch n_classes"]:
        """Return the log of each class's probability among everything that could follow."""
        logprobs = logprobs.float()
        if self.nested:
            columns = list(logprobs.unbind(dim=1))
            for index, deeper in self.nested:
                columns[index] = _without(logprobs[:, index], logprobs[:, list(deeper)])
            logprobs = torch.stack(columns, dim=1)
        return torch.stack(
            [logprobs[:, list(group)].logsumexp(dim=1) for group in self.groups], dim=1
        )


def label_loss(
    groups: Sequence[Sequence[int]],
    nested: Mapping[int, Sequence[int]],
    *,
    vocabulary_weight: float = 0.1,
    smoothing: float = 0.0,
) -> LabelLoss:
    """Return the loss of a label set; hand it to ``Engine.fit_adapter`` with class indices.

    Args:
        groups: Indices of the continuations of each class.
        nested: For a continuation that begins others, the maximal deeper ones.
        vocabulary_weight: Weight of the full-vocabulary term, at least 0.
        smoothing: Label smoothing over the classes, [0, 1).

    Raises:
        InvalidValue: A weight outside its range, or fewer than two classes.
    """
    if len(groups) < 2 or not all(groups):
        raise InvalidValue("groups", groups, "at least two classes with a continuation each")
    if not 0.0 <= vocabulary_weight < math.inf:
        raise InvalidValue("vocabulary_weight", vocabulary_weight, "a number of at least 0")
    if not 0.0 <= smoothing < 1.0:
        raise InvalidValue("smoothing", smoothing, "a fraction in [0, 1)")
    return LabelLoss(
        groups=tuple(tuple(group) for group in groups),
        nested=tuple((index, tuple(deeper)) for index, deeper in sorted(nested.items()) if deeper),
        vocabulary_weight=vocabulary_weight,
        smoothing=smoothing,
    )


def _without(
    event: Float[torch.Tensor, " batch"], deeper: Float[torch.Tensor, "batch n_deeper"]
) -> Float[torch.Tensor, " batch"]:
    """Return log(P(event) - sum of P(deeper)) without cancellation near either end."""
    gap = (deeper.logsumexp(dim=1) - event).clamp(max=-_LEAST_GAP)
    # log(1 - exp(gap)): each form is exact where the other loses digits (Maechler 2012, eq. 7).
    close = gap > -math.log(2.0)
    safe_near = torch.where(close, gap, torch.full_like(gap, -1.0))
    safe_far = torch.where(close, torch.full_like(gap, -1.0), gap)
    remaining = torch.where(
        close, torch.log(-torch.expm1(safe_near)), torch.log1p(-torch.exp(safe_far))
    )
    return event + remaining
