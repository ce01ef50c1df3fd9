import time

import numpy as np
import pytest

from benchmarks.techniques import mean_interval, median_ms, paired, shares, verdict


def test_a_paired_difference_is_found_though_the_machine_slows_down(monkeypatch):
    now = 0.0
    slower = iter(range(10_000))
    monkeypatch.setattr("benchmarks.techniques.time.perf_counter", lambda: now)

    def by_hand():
        nonlocal now
        now += 0.001 + 0.0002 * next(slower)

    def ours():
        nonlocal now
        now += 0.003 + 0.0002 * next(slower)

    found = paired(by_hand, ours, 20, warm_up=1)
    assert found.n == 20
    # The second of a pair is slower by one step: that is all that pairing leaves of the drift.
    assert found.difference_ms == pytest.approx(2.2)
    assert found.low_ms <= found.difference_ms + 1e-9
    assert found.high_ms >= found.difference_ms - 1e-9
    # Steps 2, 4, ..., 40 by hand: half way lies step 21.
    assert found.by_hand_ms == pytest.approx(1 + 0.2 * 21)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        low, high = mean_interval(rng.normal(2.0, 1.0, 40), seed=trial)
        covered += low <= 2.0 <= high
    assert 175 <= covered <= 200


def test_medians_shares_and_words():
    assert median_ms(lambda: time.sleep(0.002), 5) >= 2.0
    assert shares([10, 8, 9]) == 0.8
    assert shares([0, 0]) == 0.0
    assert verdict(2.0, 3.0, at_most=True) == "at most 3"
    assert verdict(2.0, 3.0, at_most=False) == "at least 3 (missed)"
