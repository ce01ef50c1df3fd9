"""P-values of many tests at once, corrected so that few of those called out are false alarms."""

import numpy as np
from jaxtyping import Float, Shaped

from glassbox.errors import InvalidData


def benjamini_hochberg(
    p_values: Shaped[np.ndarray, " n"], *, n_tests: int | None = None
) -> Float[np.ndarray, " n"]:
    """Return the adjusted p-values, in the order given.

    To call out those at or below q makes the expected share of false ones among them at most q,
    if the tests are independent or depend positively; with no true difference at all it makes
    the probability of any alarm at most q.

    Args:
        p_values: Of the tests.
        n_tests: How many tests were made; those whose p-values are not given had 1. None: these.

    Raises:
        InvalidData: A p-value that is NaN or outside [0, 1], or more of them than tests.

    Source: Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57(1); Benjamini & Yekutieli 2001 for
    positive dependence.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise InvalidData("p-values must be fractions in [0, 1]")
    total = values.size if n_tests is None else n_tests
    if total < values.size:
        raise InvalidData(f"{values.size} p-values cannot come from {total} tests")
    if values.size == 0:
        return values
    order = np.argsort(values, kind="stable")
    scaled = values[order] * total / np.arange(1, values.size + 1)
    # An adjusted value is never above that of a larger p-value.
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    result = np.empty_like(values)
    result[order] = np.minimum(adjusted, 1.0)
    return result
