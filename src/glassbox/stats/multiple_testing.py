"""P-values of many tests at once, corrected so that few of those called out are false alarms."""

import numpy as np
from jaxtyping import Float, Shaped

from glassbox.errors import InvalidData


def benjamini_hochberg(p_values: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the adjusted p-values, in the order given.

    To call out those at or below q makes the expected share of false ones among them at most q,
    if the tests are independent or depend positively; with no true difference at all it makes
    the probability of any alarm at most q.

    Raises:
        InvalidData: A p-value that is NaN or outside [0, 1].

    Source: Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57(1); Benjamini & Yekutieli 2001 for
    positive dependence.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise InvalidData("p-values must be fractions in [0, 1]")
    if values.size == 0:
        return values
    order = np.argsort(values, kind="stable")
    scaled = values[order] * values.size / np.arange(1, values.size + 1)
    # An adjusted value is never above that of a larger p-value.
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    result = np.empty_like(values)
    result[order] = np.minimum(adjusted, 1.0)
    return result
