"""Differences between two sides: which are fatal, which only surprise, which do not matter."""

import sys

import numpy
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

import glassbox
from glassbox.errors import VersionMismatch
from glassbox.techniques.calls import Environment
from glassbox.techniques.shipping import environment

OURS = Environment(
    "3.11.7",
    {
        "glassbox": "0.3.1",
        "torch": "2.9.0+cu126",
        "transformers": "5.2.0",
        "numpy": "2.4.1",
        "cloudpickle": "3.1.2",
    },
)


def there(python="3.11.7", modules=(), **versions):
    known = {**OURS.versions, **versions}
    return Environment(python, {name: v for name, v in known.items() if v}, modules)


def test_this_side_says_what_it_has():
    found = environment.here(modules=True)
    assert found.python == sys.version.split()[0]
    # The package index and torch itself do not both name the build.
    assert found.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found.versions["transformers"] == transformers.__version__
    assert found.versions["numpy"] == numpy.__version__
    assert {"glassbox", "torch", "json"} <= set(found.modules)
    assert environment.here().modules == ()
    assert glassbox is not None


def test_nothing_differs_from_itself():
    assert environment.compare(OURS, OURS) == ()
    assert environment.require_compatible("f", OURS, OURS, ["torch"]) == ()


@pytest.mark.parametrize(
    ("other", "what", "severity", "why"),
    [
        (there("3.12.0"), "Python", "fatal", "bytecode"),
        (there("3.11.2"), "Python", "fine", "Patch"),
        (there(glassbox="1.3.1"), "glassbox", "fatal", "same version"),
        (there(glassbox="0.4.0"), "glassbox", "fatal", "same version"),
        (there(glassbox="0.3.9"), "glassbox", "fine", "same form"),
        (there(torch="2.8.0"), "torch", "warning", "last digits"),
        (there(torch="2.9.0+cpu"), "torch", "fine", "alike"),
        (there(torch=""), "torch", "warning", "fails there"),
        (there(transformers="4.57.0"), "transformers", "warning", "a tuple or a tensor"),
        (there(transformers="5.3.0"), "transformers", "warning", "names of arguments"),
        (there(transformers="5.2.9"), "transformers", "fine", "alike"),
        (there(numpy="1.26.0"), "numpy", "warning", "plain bytes"),
        (there(numpy="2.0.0"), "numpy", "fine", "plain bytes"),
        (there(cloudpickle="2.2.1"), "cloudpickle", "fatal", "own code"),
        (there(cloudpickle="3.0.0"), "cloudpickle", "warning", "own code"),
        (there(cloudpickle=""), "cloudpickle", "fatal", "cannot open"),
    ],
)
def test_each_difference_is_weighed(other, what, severity, why):
    (found,) = environment.compare(OURS, other)
    assert (found.what, found.severity) == (what, severity)
    assert why in found.why
    assert str(found).startswith(f"{what}: ")


def test_a_client_without_torch_is_fine_and_told_what_it_gets():
    light = Environment(OURS.python, {k: v for k, v in OURS.versions.items() if k[0] != "t"})
    found = environment.compare(light, OURS)
    assert [each.severity for each in found] == ["fine", "fine"]
    assert "numpy arrays" in found[0].why
    assert "absent here" in str(found[0])


def test_imports_are_looked_for_where_the_other_side_listed_its_own():
    other = there(modules=("torch", "json"))
    found = environment.compare(OURS, other, ["torch.nn", "pandas", "pandas.io"])
    assert [(each.what, each.severity) for each in found] == [("pandas", "fatal")]
    assert environment.compare(OURS, there(), ["pandas"]) == ()


def test_what_is_fatal_is_raised_all_together():
    with pytest.raises(VersionMismatch, match=r"Python: 3\.11\.7 here, 3\.12\.0 there.*glassbox"):
        environment.require_compatible("f", OURS, there("3.12.0", glassbox="1.0.0"))
    found = environment.require_compatible("f", OURS, there(torch="2.1.0"))
    assert [each.severity for each in found] == ["warning"]


VERSIONS = st.from_regex(
    r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}(\.?dev0|rc1)?(\+[a-z]{2})?", fullmatch=True
)


@given(st.dictionaries(st.sampled_from(list(OURS.versions)), VERSIONS))
def test_the_worst_comes_first_whatever_the_versions(versions):
    order = ["fatal", "warning", "fine"]
    found = environment.compare(OURS, Environment("3.13.0rc1", versions))
    ranks = [order.index(each.severity) for each in found]
    assert ranks == sorted(ranks)
    assert {each.what for each in found} <= {"Python", *OURS.versions}
