"""Which features answers depend on, and whether that has changed."""

import numpy as np
import pytest

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.drift.importance import explained_shares, importance_drift


def world(seed: int, weights: tuple[float, ...], n: int = 800) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    bins = generator.integers(0, 10, (n, len(weights)))
    return bins, bins @ np.array(weights) + generator.normal(size=n)


def test_shares_are_those_of_the_variance() -> None:
    bins, answers = world(0, (1.0, 0.5, 0.0), n=20_000)
    shares = explained_shares(bins, answers)
    one = 8.25
    total = one * 1.25 + 1
    np.testing.assert_allclose(shares, [one / total, one / 4 / total, 0], atol=0.02)


@pytest.mark.parametrize("answer", [1.0, 0.1, 0.3, 1 / 3, 5.7, -0.7])
def test_answers_that_do_not_vary_depend_on_nothing(answer: float) -> None:
    bins, _ = world(0, (1.0, 1.0))
    assert explained_shares(bins, np.full(800, answer)).tolist() == [0, 0]
    assert explained_shares(bins[:797], np.full(797, answer)).tolist() == [0, 0]


def test_a_change_of_what_matters_is_found() -> None:
    found = importance_drift(world(0, (1.0, 0.5, 0.0)), world(1, (0.0, 0.5, 1.0)))
    assert found.p_value == pytest.approx(1 / 200)
    assert found.rank_correlation is not None
    assert found.rank_correlation < 0
    assert found.distance > 0.3


def test_no_change_is_rarely_called_one() -> None:
    found = [
        importance_drift(world(seed, (1.0, 0.5, 0.0), 200), world(seed + 500, (1.0, 0.5, 0.0), 150))
        for seed in range(60)
    ]
    assert sum(each.p_value <= 0.05 for each in found) <= 9


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(NotEnoughData, match="at least 50 rows"):
        explained_shares(np.zeros((10, 2), dtype=np.int64), np.zeros(10))
    with pytest.raises(InvalidData, match="60 rows of features for 50 answers"):
        explained_shares(np.zeros((60, 2), dtype=np.int64), np.zeros(50))
    with pytest.raises(InvalidData, match="2 and 3 features"):
        importance_drift(world(0, (1.0, 1.0)), world(0, (1.0, 1.0, 1.0)))
