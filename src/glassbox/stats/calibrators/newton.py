"""Newton's method for smooth convex functions of a few hundred parameters.

Made for unpenalised logistic likelihoods, whose minimum may lie at infinity: it reports a singular
curvature instead of pretending to a fit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

MAX_STEPS: Final = 100
"""Newton steps; a well-posed logistic fit takes about ten."""
GRADIENT_TOLERANCE: Final = 1e-9
"""Largest gradient component, nats per unit, at which the search ends."""
SINGULAR: Final = 1e-7
"""Least eigenvalue of the curvature, scaled to unit diagonal, that counts as determined."""


@dataclass(frozen=True, eq=False)
class Expansion:
    """A function's value and first two derivatives at one point."""

    value: float
    """Function value."""
    gradient: Float[np.ndarray, " d"]
    """First derivatives."""
    hessian: Float[np.ndarray, "d d"]
    """Second derivatives, positive semi-definite."""


def convex_minimum(
    expand: Callable[[Float[np.ndarray, " d"]], Expansion], start: Float[np.ndarray, " d"]
) -> Float[np.ndarray, " d"] | None:
    """The minimiser, or None where there is no single finite one.

    Source: Boyd & Vandenberghe 2004, algorithm 9.5 (damped Newton, backtracking line search).
    """
    point = np.array(start, dtype=np.float64)
    here = expand(point)
    for _ in range(MAX_STEPS):
        if np.abs(here.gradient).max() <= GRADIENT_TOLERANCE:
            break
        # A ridge of rounding size keeps the step finite where curvature vanishes.
        ridge = 1e-12 * max(1e-300, float(np.trace(here.hessian)))
        step = -np.linalg.solve(here.hessian + ridge * np.eye(point.size), here.gradient)
        slope = float(here.gradient @ step)
        size, there = 1.0, expand(point + step)
        # Close to the minimum the gain drowns in rounding, hence the absolute allowance.
        while not there.value <= here.value + 1e-4 * size * slope + 1e-14 and size > 1e-10:
            size /= 2
            there = expand(point + size * step)
        if size <= 1e-10:
            break
        point, here = point + size * step, there
    has_settled = np.abs(here.gradient).max() <= 100 * GRADIENT_TOLERANCE
    return point if has_settled and not _is_singular(here.hessian) else None


def _is_singular(hessian: Float[np.ndarray, "d d"]) -> bool:
    scale = np.sqrt(np.diag(hessian))
    if not (scale > 0).all():
        return True
    return bool(np.linalg.eigvalsh(hessian / np.outer(scale, scale))[0] < SINGULAR)
