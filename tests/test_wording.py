import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.wording import (
    MOST_DECIMALS,
    counted,
    decimals_apart,
    estimated,
    exact_percent,
    percent,
    units_bound,
    with_interval,
)

PERCENTS = st.integers(0, 10**7).map(lambda each: each / 10**5)


@given(PERCENTS)
def test_what_is_told_in_full_reads_back(value):
    told = exact_percent(value / 100).removesuffix(" %")
    assert float(told) == pytest.approx(value, abs=1e-10)
    assert told == f"{float(told):.10f}".rstrip("0").rstrip(".")


@given(PERCENTS, PERCENTS, st.integers(0, 2))
def test_the_lower_one_reads_as_lower(first, second, fewest):
    low, high = sorted((first, second))
    decimals = decimals_apart(low, high, fewest)
    assert fewest <= decimals <= MOST_DECIMALS
    read = [float(f"{each:.{decimals}f}") for each in (low, high)]
    assert read[0] < read[1] or low == high


@given(st.integers(0, 10**9))
def test_a_count_is_told_whole_and_with_the_right_number_of_its_noun(number):
    words = counted(number, "query", "queries")
    assert int(words.split()[0].replace(",", "")) == number
    assert words.endswith(" query") == (number == 1)
    assert counted(number, "row").endswith("s") == (number != 1)


@given(st.integers(1, 10**9))
def test_an_estimate_has_two_digits_that_say_something(number):
    shown = int(estimated(number).replace(",", ""))
    assert abs(shown - number) <= 0.051 * number
    assert len(str(shown).rstrip("0")) <= 2


def test_a_fraction_is_told_in_per_cent_with_a_space():
    assert (percent(0.59), percent(0.2875, 2), percent(1)) == ("59 %", "28.75 %", "100 %")


def test_an_interval_stands_behind_its_figure():
    assert with_interval(0.91251, 0.88, 1) == "0.913 (0.880 to 1.000)"


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("12.5 % in 3 s, 40 ms", "12.5~% in 3~s, 40~ms"),
        ("1.2 nats, 3 points", "1.2~nats, 3~points"),
        ("3 sentences of 20 pointsmen", "3 sentences of 20 pointsmen"),
        ("a % of", "a % of"),
    ],
)
def test_only_units_are_bound_to_their_numbers(text, bound):
    assert units_bound(text, "~") == bound
    assert units_bound(text) == bound.replace("~", "\u00a0")
