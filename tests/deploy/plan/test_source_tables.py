"""The design's own figures, computed again by hand here and by the code there."""

import pytest

from glassbox.deploy.plan.source_tables import (
    ROWS,
    adapter_disagreements,
    adapters_against_endpoints,
    assumed_server,
    disagreements,
    tables_again,
)
from glassbox.deploy.prices import Price

PRICE = Price("ml.g5.2xlarge", 1.515, "us-east-1", "2026-11-21", "test")


def test_the_three_sizes_are_computed_again():
    again = tables_again(PRICE)
    assert [each.row for each in again] == list(ROWS)
    assert [each.instances for each in again] == [5, 50, 250]
    assert [each.rate_of_one for each in again] == [2, 2, 2]
    assert [each.requests_per_user for each in again] == pytest.approx([8.64, 8.64, 4.32])
    assert [each.usd_source_month for each in again] == [5475, 54750, 273750]
    assert [each.usd_source_hour for each in again] == pytest.approx([5548, 55480, 277400])
    assert again[0].usd_price == pytest.approx(5 * 730 * 1.515)
    assert again[2].usd_discounted == pytest.approx(250 * 730 * 1.515 * 0.64)


def test_what_requests_feel_is_simulated_and_routing_decides_it():
    small, _, large = tables_again(PRICE)
    assert assumed_server().alone_s == pytest.approx(0.4)
    # One after another, 80 % busy: sent anywhere, the design's 500 ms are far away.
    assert small.at_random.p99_s > 3
    assert small.at_random.p99_s == pytest.approx(large.at_random.p99_s)
    assert small.least_busy.p99_s > 0.5 > large.least_busy.p99_s >= 0.4


def test_the_designs_disagreements_are_said_with_their_figures():
    text = " ".join(disagreements())
    for figure in (
        "1,000/s", "500 instances", "$547,500", "$130K", "119 instances", "$1,109.60", "720 hours",
        "$5,475", "$273,750", "$176,000", "$175,200", "20 %", "6.8 s", "19 tokens",
    ):  # fmt: skip
        assert figure in text, figure
    text = " ".join(adapter_disagreements())
    for figure in ("$912.50", "120 hours", "16 %", "$912,500", "6.1", "$1,825", "500"):
        assert figure in text, figure


def test_adapters_cost_one_endpoint_until_it_is_full():
    idle = adapters_against_endpoints(1000, 1.25, 0.0001, 2.5)
    assert (idle.instances_each, idle.instances_shared) == (1000, 1)
    assert idle.usd_shared == pytest.approx(912.5)
    assert idle.times == pytest.approx(1000)
    # 100 requests a second of all, 2 of each instance at the target, 60 % of that when mixed.
    busy = adapters_against_endpoints(1000, 1.25, 0.1, 2.5, kept=0.6)
    assert busy.instances_shared == 84
    assert adapters_against_endpoints(10, 1.25, 4.0, 2.5).times == pytest.approx(1)
