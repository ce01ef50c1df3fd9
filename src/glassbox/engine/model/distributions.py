"""What holds of every next-token distribution: its entropy, and that it is made of numbers.

A vocabulary may be padded with tokens that cannot come, whose log-probability is -inf: that is no
damage, and adds nothing. NaN and +inf are damage. Knows tensors; knows no model.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.errors import NonFiniteOutput

MIN_TEMPERATURE = 1e-30
"""Temperatures below count as this, at which float32 still divides; all of them are greedy."""


def entropy(logprobs: Float[Tensor, "*rows d_vocab"]) -> Float[Tensor, "*rows"]:
    """Return the entropy of each distribution, nats; NaN where the distribution is not one.

    Source: Shannon 1948, "A Mathematical Theory of Communication", section 6.
    """
    # A token of probability zero adds nothing, where 0 · -inf would be NaN.
    finite = logprobs.clamp_min(torch.finfo(logprobs.dtype).min)
    return -(logprobs.exp() * finite).sum(dim=-1)


def largest_gap(one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"]) -> float:
    """Return the largest difference of log-probabilities, nats; NaN where one of them is NaN."""
    # Tokens that cannot come are alike at -inf, where the difference would be NaN.
    return float((one - other).masked_fill(one == other, 0.0).abs().max())


def logprob_gap(
    one: Float[Tensor, "*rows d_vocab"], other: Float[Tensor, "*rows d_vocab"]
) -> float:
    """Return the largest difference of the log-probabilities that two sets of logits give, nats."""
    return largest_gap(*(torch.log_softmax(each.float(), dim=-1) for each in (one, other)))


def not_finite() -> NonFiniteOutput:
    """Return the error of an answer that is made of no numbers."""
    return NonFiniteOutput(
        "The model answered NaN or infinity. Its weights are damaged, or its number format "
        "overflows: try dtype='float32'."
    )


def require_finite(*values: Float[np.ndarray, "..."] | Float[Tensor, "..."] | float) -> None:
    """Raise unless all values are numbers.

    Raises:
        NonFiniteOutput: One is NaN or infinite.
    """
    for each in values:
        finite = torch.isfinite(each) if isinstance(each, Tensor) else np.isfinite(each)
        if not bool(finite.all()):
            raise not_finite()
