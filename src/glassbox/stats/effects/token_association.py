"""Whether a latent fires on a token more often than by chance, for any number of tables at once.

A table is four numbers: of ``n_positions`` positions, a latent fires on ``n_fires``, a token stands
on ``n_token``, and both are true on ``n_both``. Knows nothing of models or texts.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.special import gammaln

from glassbox.errors import InvalidData

Counts = Shaped[np.ndarray, "*n"]
"""Whole numbers, 0 or more."""

NEWTON_STEPS = 30
"""Steps towards the tightest bound; any number of them gives a bound that holds."""

_NEGLIGIBLE = 1e-17
"""Share of a sum below which a further term cannot change it."""

TILT_LIMIT = 200.0
"""Largest tilt that is tried; beyond it a bound does not change in double precision."""


def association_p(
    n_both: Counts, n_fires: Counts, n_token: Counts, n_positions: Counts
) -> Float[np.ndarray, "*n"]:
    """Return the probability of at least as many joint positions if firing ignored the token.

    One-sided; the same as Fisher's exact test for a positive association. It takes positions as
    independent, which those of one text are not: see ``shift_bound``.

    Raises:
        InvalidData: Counts that no table has.

    Its relative error is that of a logarithm of ``n_positions`` factorial: 1e-8 at two million.

    Source: Fisher 1935; hypergeometric survival function at ``n_both - 1``, its terms added up
    outwards by their ratios from the one that is largest. (scipy's takes a hundred times as long
    on a million tables.)
    """
    _require_tables(n_both, n_fires, n_token, n_positions)
    both, fires, token, total = (
        np.asarray(each, dtype=np.float64).reshape(-1)
        for each in np.broadcast_arrays(n_both, n_fires, n_token, n_positions)
    )
    is_upper = both > (fires + 1) * (token + 1) / (total + 2)
    p = np.ones(len(both))
    up, down = np.flatnonzero(is_upper), np.flatnonzero(~is_upper)
    p[up] = _added_up(both[up], fires[up], token[up], total[up])
    # The other tail is the same sum with the token's absence in the token's place.
    rest = fires[down] - both[down] + 1
    p[down] = 1.0 - _added_up(rest, fires[down], total[down] - token[down], total[down])
    return np.clip(p, 0.0, 1.0).reshape(np.shape(n_both))


def point_probability(
    n_both: Counts, n_fires: Counts, n_token: Counts, n_positions: Counts
) -> Float[np.ndarray, "*n"]:
    """Return the probability of exactly as many joint positions if firing ignored the token.

    No more than ``association_p``, of which it is one term, and cheaper.

    Raises:
        InvalidData: Counts that no table has.

    Source: hypergeometric probability mass function.
    """
    _require_tables(n_both, n_fires, n_token, n_positions)
    table = np.broadcast_arrays(n_both, n_fires, n_token, n_positions)
    columns = (np.asarray(each, dtype=np.float64).reshape(-1) for each in table)
    probability: Float[np.ndarray, "*n"] = np.exp(_log_pmf(*columns))
    return probability.reshape(np.shape(n_both))


def _added_up(
    both: Float[np.ndarray, " n"],
    fires: Float[np.ndarray, " n"],
    token: Float[np.ndarray, " n"],
    total: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Return P(joint positions >= both), for counts beyond the most probable one."""
    result = np.zeros(len(both))
    # Counts beyond what the table can hold have no probability.
    (live,) = np.nonzero(both <= np.minimum(fires, token))
    k, n, m, all_ = both[live], fires[live], token[live], total[live]
    log_first, rest = _log_pmf(k, n, m, all_), all_ - n - m
    total_of = np.ones(len(live))
    term = np.ones(len(live))
    open_ = np.arange(len(live))
    while len(open_):
        term *= (n - k) * (m - k) / ((k + 1) * (rest + k + 1))
        total_of[open_] += term
        k += 1
        goes_on = term > _NEGLIGIBLE * total_of[open_]
        # To drop sums that are done costs more than to add to them until they are many.
        if 2 * np.count_nonzero(goes_on) <= len(goes_on):
            open_, term = open_[goes_on], term[goes_on]
            k, n, m, rest = (each[goes_on] for each in (k, n, m, rest))
    result[live] = np.exp(log_first) * total_of
    return result


def _log_pmf(
    both: Float[np.ndarray, " n"],
    fires: Float[np.ndarray, " n"],
    token: Float[np.ndarray, " n"],
    total: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Return log P(joint positions = both), for tables that can be."""
    log_of = _log_factorials(total)
    result: Float[np.ndarray, " n"] = (
        (log_of(fires) - log_of(both) - log_of(fires - both))
        + (log_of(total - fires) - log_of(token - both) - log_of(total - fires - token + both))
        - (log_of(total) - log_of(token) - log_of(total - token))
    )
    return result


def _log_factorials(
    numbers: Float[np.ndarray, " n"],
) -> Callable[[Float[np.ndarray, " m"]], Float[np.ndarray, " m"]]:
    """Return what gives logarithms of factorials, of whole numbers up to the largest of some."""
    largest = int(numbers.max(initial=0.0))
    if largest > len(numbers):
        return lambda n: gammaln(n + 1)
    # More are asked for than there are: each is worked out once.
    known = gammaln(np.arange(1.0, largest + 2.0))
    return lambda n: known[n.astype(np.int64)]


def log_odds(
    n_both: Counts, n_fires: Counts, n_token: Counts, n_positions: Counts, *, prior: float
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """Return the log-odds ratio (nats) of a token where a latent fires and elsewhere, and its z.

    The prior adds to both sides ``prior`` positions that hold the token as often as all positions
    do, so that rare tokens are pulled towards 0 instead of towards infinity.

    Args:
        n_both: Positions with both.
        n_fires: Positions where the latent fires.
        n_token: Positions that hold the token; at least 1.
        n_positions: All positions.
        prior: Weight of the prior, positions; above 0.

    Raises:
        InvalidData: Counts that no table has, or a prior that is not above 0.

    Source: Monroe, Colaresi & Quinn 2008, Political Analysis 16(4), equations 15, 16, 20, 22.
    """
    _require_tables(n_both, n_fires, n_token, n_positions)
    if not prior > 0 or (np.asarray(n_token) < 1).any():
        raise InvalidData(f"log-odds need a prior above 0 ({prior}) and tokens that occur")
    added = prior * n_token / np.asarray(n_positions, dtype=np.float64)
    inside, outside = n_both + added, n_token - n_both + added
    rest_inside = n_fires + prior - inside
    rest_outside = n_positions - n_fires + prior - outside
    # Where every position holds the token there is nothing to compare with; the ratio is 1.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(inside / rest_inside) - np.log(outside / rest_outside)
    ratio = np.where(np.asarray(n_token) == n_positions, 0.0, ratio)
    return ratio, ratio / np.sqrt(1.0 / inside + 1.0 / outside)


def pmi(
    n_both: Counts, n_fires: Counts, n_token: Counts, n_positions: Counts
) -> Float[np.ndarray, "*n"]:
    """Return the pointwise mutual information, nats; a description that favours rare tokens.

    Minus infinity where the two never meet.

    Raises:
        InvalidData: Counts that no table has, or a latent or token that never occurs.

    Source: Church & Hanks 1990, Computational Linguistics 16(1).
    """
    _require_tables(n_both, n_fires, n_token, n_positions)
    if (np.asarray(n_fires) < 1).any() or (np.asarray(n_token) < 1).any():
        raise InvalidData("pointwise mutual information needs a latent and a token that occur")
    expected = np.asarray(n_fires, dtype=np.float64) * n_token / n_positions
    with np.errstate(divide="ignore"):
        information: Float[np.ndarray, "*n"] = np.log(n_both / expected)
    return information


def shift_bound(
    n_both: Int[np.ndarray, " n_tables"],
    table: Int[np.ndarray, " n_parts"],
    n_fires: Int[np.ndarray, " n_parts"],
    n_token: Int[np.ndarray, " n_parts"],
    length: Int[np.ndarray, " n_parts"],
) -> Float[np.ndarray, " n_tables"]:
    """Return a bound on the p-value that all circular shifts together would give.

    Texts are shifted independently, each by any of its lengths alike, and the joint positions of
    all are added up. In one text their mean is ``n_fires * n_token / length``, and they cannot be
    more than the smaller of the two. Of all such distributions the one on {0, largest} has the
    greatest moments, so that its Chernoff bound holds for the true one; it is the true one where
    either occurs once in the text.

    Args:
        n_both: Joint positions of each table, all texts together.
        table: Table that each part belongs to, ascending: one part for each text with both.
        n_fires: Positions of the text where the latent fires; at least 1.
        n_token: Positions of the text that hold the token; at least 1.
        length: Positions of the text.

    Raises:
        InvalidData: Parts out of order, or counts that no text has.

    Source: Chernoff 1952, Ann. Math. Statist. 23(4); two-point extremes: Hoeffding 1963, JASA
    58(301), equation 4.2.
    """
    parts = (n_fires < 1) | (n_token < 1) | (np.maximum(n_fires, n_token) > length)
    if parts.any() or (np.diff(table) < 0).any():
        raise InvalidData("parts must be in the tables' order, with 1 to length of each kind")
    n_tables = len(n_both)
    if not len(table):
        return np.where(n_both > 0, 0.0, 1.0)
    largest = np.minimum(n_fires, n_token).astype(np.float64)
    chance = np.maximum(n_fires, n_token) / length
    most = np.bincount(table, largest, n_tables)
    mean = np.bincount(table, largest * chance, n_tables)

    def exponent(tilt: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " n"], ...]:
        """Return the logarithm of the bound at a tilt, and its first two derivatives."""
        tilted = np.exp(-tilt[table] * largest)
        inside = chance + (1 - chance) * tilted
        up = chance / inside
        value = np.bincount(table, tilt[table] * largest + np.log(inside), n_tables)
        slope = np.bincount(table, largest * up, n_tables)
        bend = np.bincount(table, largest**2 * up * (1 - up), n_tables)
        return value - tilt * n_both, slope - n_both, bend

    log_p = np.minimum(_least(exponent, n_tables), 0.0)
    log_p = np.where(n_both <= mean, 0.0, log_p)
    # Only if every text has its most: the limit of an endless tilt, which is exact.
    every = np.bincount(table, np.log(chance), n_tables)
    log_p = np.where(n_both == most, np.minimum(log_p, every), log_p)
    return np.where(n_both > most, 0.0, np.exp(log_p))


def _least(
    function: Callable[[Float[np.ndarray, " n"]], tuple[Float[np.ndarray, " n"], ...]], n: int
) -> Float[np.ndarray, " n"]:
    """Return the least values of convex functions on [0, TILT_LIMIT], as far as they were seen."""
    low, high = np.zeros(n), np.full(n, TILT_LIMIT)
    tilt, least = np.ones(n), np.zeros(n)
    for _ in range(NEWTON_STEPS):
        value, slope, bend = function(tilt)
        least = np.minimum(least, value)
        low, high = np.where(slope < 0, tilt, low), np.where(slope < 0, high, tilt)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = tilt - slope / bend
        inside = (step > low) & (step < high)
        moved = np.where(inside, step, (low + high) / 2)
        if np.abs(moved - tilt).max(initial=0.0) < 1e-6:
            break
        tilt = moved
    return least


def _require_tables(n_both: Counts, n_fires: Counts, n_token: Counts, n_positions: Counts) -> None:
    """Raise ``InvalidData`` if a table cannot be."""
    both, fires, token, total = (np.asarray(x) for x in (n_both, n_fires, n_token, n_positions))
    holds = (both >= 0) & (both <= fires) & (both <= token) & (fires + token - both <= total)
    if not holds.all():
        raise InvalidData(
            "counts that no table has: joint positions must be at most those of latent and token, "
            "and all of them fit the positions"
        )
