"""Options that give names to things."""

from pathlib import Path

import pytest

from glassbox.cli.arguments.named import named_folders, named_runs, named_values
from glassbox.errors import InvalidValue


def test_names_have_values_in_the_order_given() -> None:
    assert named_values("--set", ["b=1", "a=x=y"]) == {"b": "1", "a": "x=y"}
    assert named_values("--set", None) == {}


def test_folders_may_lie_at_home_or_in_an_object_store() -> None:
    found = named_folders("--adapter", ["a=~/a", "b=s3://bucket/b/", "c=runs/a=b/adapter"])
    home = str(Path("~/a").expanduser())
    assert found == {"a": home, "b": "s3://bucket/b/", "c": "runs/a=b/adapter"}


@pytest.mark.parametrize("wrong", ["support", "=path", "support="])
def test_another_form_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidValue, match="NAME=PATH"):
        named_folders("--adapter", [wrong])


def test_a_run_goes_by_its_own_name_or_by_another() -> None:
    assert named_runs("--classifier", ["runs/reviews", "old=runs/2024"]) == {
        "reviews": "runs/reviews",
        "old": "runs/2024",
    }


def test_one_name_for_two_is_refused() -> None:
    with pytest.raises(InvalidValue, match="the name 'a' once"):
        named_values("--set", ["a=1", "a=2"])
    with pytest.raises(InvalidValue, match="the name 'reviews' once"):
        named_runs("--classifier", ["runs/reviews", "old/reviews"])
