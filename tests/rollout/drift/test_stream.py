"""Streams watched at every value: no cry without a change, and a change is found soon."""

import builtins

import numpy as np
import pytest
from river.drift import ADWIN
from scipy import stats

from glassbox.errors import DependencyMissing, InvalidValue
from glassbox.rollout.drift.stream import MeanWatch, adwin
from glassbox.stats.intervals import Interval

REFERENCE = Interval(0.8, 0.79, 0.81, 0.99)


def test_streams_without_drift_rarely_cry_however_long_one_looks() -> None:
    n_streams, n_alarms = 200, 0
    for seed in range(n_streams):
        generator = np.random.default_rng(seed)
        watch = MeanWatch(REFERENCE)
        n_alarms += any(watch.update(float(value)) for value in generator.beta(8, 2, size=96))
    assert n_alarms <= stats.binom.isf(0.01, n_streams, 0.05)


def test_a_change_is_found_soon_even_after_a_long_good_past() -> None:
    generator = np.random.default_rng(0)
    watch = MeanWatch(REFERENCE)
    for value in generator.beta(8, 2, size=1000):
        assert not watch.update(float(value))
    n = 0
    while not watch.update(float(generator.beta(6, 4))):
        n += 1
        assert n < 600
    assert watch.change is not None
    assert watch.change.high < REFERENCE.low
    assert watch.n == watch.change.n


def test_a_change_within_the_tolerance_does_not_count() -> None:
    generator = np.random.default_rng(0)
    watch = MeanWatch(REFERENCE, tolerance=0.1)
    assert not any(watch.update(float(value)) for value in generator.beta(7.4, 2.6, size=800))


def test_adwin_is_rivers() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.beta(8, 2, size=600), generator.beta(4, 6, size=400)])
    ours, theirs = adwin(), ADWIN()
    found = []
    for value in values:
        theirs.update(float(value))
        found.append((ours.update(float(value)), theirs.drift_detected))
    assert all(one == other for one, other in found)
    first = next(place for place, (one, _) in enumerate(found) if one)
    assert 600 <= first < 800


def test_without_river_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: object, **named: object) -> object:
        if name.startswith("river"):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DependencyMissing, match="drift"):
        adwin()


@pytest.mark.parametrize(
    ("reference", "tolerance", "alpha"),
    [
        (Interval(0.5, -0.1, 0.6, 0.9), 0.0, 0.05),
        (REFERENCE, -0.1, 0.05),
        (REFERENCE, 0.0, 0.0),
    ],
)
def test_what_cannot_be_watched_is_refused(
    reference: Interval, tolerance: float, alpha: float
) -> None:
    with pytest.raises(InvalidValue, match="is"):
        MeanWatch(reference, tolerance=tolerance, alpha=alpha)
