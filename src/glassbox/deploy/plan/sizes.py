"""How unequal requests are: their work in units of the average one."""

import math

import numpy as np
from jaxtyping import Float


def draw_sizes(
    draw: np.random.Generator, cv: float, shape: tuple[int, ...]
) -> Float[np.ndarray, "..."]:
    """Return sizes of mean 1, lognormal with a coefficient of variation; all 1 where that is 0.

    Source: mean and variance of the lognormal law, Johnson, Kotz and Balakrishnan, *Continuous
    Univariate Distributions* 1 (1994), section 14.3. That token counts follow it is a
    convenience: two numbers describe it and it has no sizes below 0.

    Args:
        draw: Where chance comes from.
        cv: Standard deviation in units of the mean, 0 or more.
        shape: Of the result.
    """
    if cv == 0:
        return np.ones(shape)
    variance = math.log1p(cv * cv)
    return np.asarray(np.exp(draw.normal(-variance / 2, math.sqrt(variance), shape)))
