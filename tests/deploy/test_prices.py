"""Prices: where they come from, and what a month adds up to."""

import json

import pytest

from glassbox.deploy.prices import SHIPPED, Price, checked_discount, price_of, read_prices
from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName


def test_every_shipped_price_says_when_and_who():
    for name, price in SHIPPED.items():
        assert price.instance_type == name
        assert price.as_of >= "2026"
        assert len(price.source) > 20


def test_a_month_has_730_hours_and_a_plan_takes_its_share_off():
    price = Price("x", 2.0, "here", "2026-01-01", "you")
    assert price.usd_per_month(3) == pytest.approx(4380)
    assert price.usd_per_month(3, discount=0.36) == pytest.approx(4380 * 0.64)
    assert price.usd_per_month(0) == 0


def test_an_unknown_instance_is_named_with_the_closest_one_and_the_way_out():
    with pytest.raises(UnknownName, match=r"Did you mean 'ml.g5.2xlarge'.*--prices FILE"):
        price_of("ml.g5.2xlarg")


@pytest.mark.parametrize("discount", [-0.1, 1.0, 36.0, float("nan")])
def test_a_discount_is_a_fraction(discount):
    with pytest.raises(InvalidValue, match=r"0\.36 takes 36 % off"):
        checked_discount(discount)


@pytest.mark.parametrize("usd", [0.0, -1.0, float("inf")])
def test_nothing_costs_nothing(usd):
    with pytest.raises(InvalidValue, match="usd_per_hour"):
        Price("x", usd, "here", "2026-01-01", "you")


def test_fewer_than_no_instances_are_refused():
    with pytest.raises(InvalidValue, match="n_instances"):
        SHIPPED["ml.g5.2xlarge"].usd_per_month(-1)


OWN = {
    "schema_version": 1,
    "region": "eu-west-1",
    "as_of": "2026-11-01",
    "source": "our contract",
    "usd_per_hour": {"ml.g5.2xlarge": 1.69, "ml.new.large": 3},
}


def written(tmp_path, **changes):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(OWN | changes))
    return path


def test_a_file_of_prices_replaces_lines_and_leaves_the_others(tmp_path):
    prices = read_prices(written(tmp_path))
    assert price_of("ml.g5.2xlarge", prices).usd_per_hour == 1.69
    assert price_of("ml.new.large", prices).source == "our contract"
    assert price_of("ml.g5.xlarge", prices) == SHIPPED["ml.g5.xlarge"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"surprise": 1}, "surprise"),
        ({"schema_version": 9}, "schema_version is 9"),
        ({"usd_per_hour": {}}, "usd_per_hour"),
        ({"usd_per_hour": {"a": "much"}}, "the price of 'a' is not a number"),
        ({"usd_per_hour": {"a": True}}, "the price of 'a' is not a number"),
        ({"usd_per_hour": {"a": -1}}, "the price of 'a'"),
        ({"source": ""}, "source"),
    ],
)
def test_a_file_that_is_no_table_of_prices_says_what_is_wrong(tmp_path, changes, what):
    with pytest.raises(CorruptArtifact, match=what):
        read_prices(written(tmp_path, **changes))
