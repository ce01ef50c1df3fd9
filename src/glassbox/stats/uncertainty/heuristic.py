"""The untrained combination of entropy and mean probability: the named baseline ``heuristic``.

Nobody validated it: it says how sure the model sounds, not how often it is right. Knows nothing
of engines and of checks.
"""

import math
from collections.abc import Sequence
from typing import Final

from glassbox.errors import InvalidValue

ENTROPY_SCALE: Final = 5.0
"""Entropy that counts as fully uncertain, nats."""
UNKNOWN_PROB: Final = 0.5
"""Mean probability assumed of a response without tokens."""


def estimate_uncertainty(logits_entropy: float, generation_probs: Sequence[float]) -> float:
    """Return the mean of ``min(1, entropy / 5)`` and one minus the mean probability, in [0, 1].

    The same number as ``estimateUncertainty`` of the TypeScript client of the Shadow Self.

    Args:
        logits_entropy: Mean entropy over the response's tokens, nats, 0 or more.
        generation_probs: Probability of each token of the response, in [0, 1]; empty counts as a
            mean of 0.5.

    Raises:
        InvalidValue: A negative or NaN entropy, or a probability outside [0, 1].

    Source: the Shadow Self's client, method estimateUncertainty (high entropy and low average
        probability are uncertain; the two scores are averaged).
    """
    if not (math.isfinite(logits_entropy) and logits_entropy >= 0):
        raise InvalidValue("logits_entropy", logits_entropy, "nats, 0 or more")
    for prob in generation_probs:
        if not 0 <= prob <= 1:
            raise InvalidValue("generation_probs", prob, "probabilities in [0, 1]")
    n = len(generation_probs)
    average = sum(generation_probs) / n if n else UNKNOWN_PROB
    return (min(1.0, logits_entropy / ENTROPY_SCALE) + (1.0 - average)) / 2
