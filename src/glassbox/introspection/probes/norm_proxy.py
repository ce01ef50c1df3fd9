"""The stand-in where no probe was trained: long states taken for sure ones.

Kept because it is the documented fallback of the design that Glassbox follows, and marked for what
it is: nobody has shown that it tells right from wrong on any model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from glassbox.engine.requests import CapturedStates
from glassbox.errors import InvalidValue

NOTE: Final = (
    "Unvalidated heuristic: 1 / (1 + mean norm of the hidden states). No data stand behind it; it "
    "depends on the width of the model. Train a probe with 'glassbox probes train'."
)
"""Said beside every value."""


@dataclass(frozen=True)
class NormProxy:
    """A value that looks like an uncertainty, with its warning."""

    uncertainty: float
    """In (0, 1]; higher is said to be worse. Not a probability."""
    mean_norm: float
    """Mean over the captured places of their mean L2 norm."""
    validated: Literal[False] = False
    """Always false."""
    name: Literal["norm_proxy"] = "norm_proxy"
    """What it is called wherever it appears."""
    note: str = NOTE
    """What to know about it."""


def norm_proxy(states: Sequence[CapturedStates]) -> NormProxy:
    """Return 1 / (1 + mean norm) of captured states; 1 where they cover no position.

    Args:
        states: Captured with the pooling ``norm``.

    Raises:
        InvalidValue: States whose norm was not captured.

    Source: the specification's ``probe_uncertainty`` without weights.
    """
    if any(each.norm is None and each.n_positions for each in states):
        raise InvalidValue("pooling of the captured states", "without norm", "norm among them")
    norms = [each.norm for each in states if each.norm is not None]
    mean_norm = float(np.mean(norms)) if norms else 0.0
    return NormProxy(1.0 / (1.0 + mean_norm), mean_norm)
