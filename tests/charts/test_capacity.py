"""The pictures of a capacity plan: what they say in words, and what they refuse."""

import dataclasses

import numpy as np
import pytest

from glassbox.charts.capacity import SimulationError, fleet_day, fleet_spike, simulation_check
from glassbox.errors import InvalidValue
from tests.charts.worlds import fleet_hours, scaling_day


def test_the_day_names_its_worst_hour():
    assert "99th percentile at most 0.45 s" in fleet_day(fleet_hours()).summary


def test_a_day_has_24_hours():
    with pytest.raises(InvalidValue, match="24"):
        fleet_day(dataclasses.replace(fleet_hours(), p99_s=(1.0,)))


def test_the_spike_names_its_losses():
    assert "2.00\u00a0% of requests late" in fleet_spike(scaling_day()).summary


def test_a_spike_needs_a_day():
    none = {name: np.zeros(0) for name in ("rates", "times_s")}
    counts = {name: np.zeros(0, dtype=int) for name in ("ready", "wanted")}
    with pytest.raises(InvalidValue, match="equal numbers, not 0"):
        fleet_spike(dataclasses.replace(scaling_day(), **none, **counts))


def test_the_comparison_names_its_largest_error():
    found = simulation_check(
        [SimulationError("a", 0.1, 1.0, 0.1, 0.6), SimulationError("b", 0.1, 1.0, 0.1, 1.1)]
    )
    assert "off by at most 40\u00a0%" in found.summary


def test_nothing_compared_is_nothing_drawn():
    with pytest.raises(InvalidValue, match="at least one"):
        simulation_check([])
