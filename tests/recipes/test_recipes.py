"""Recipes run for hours and seldom: each can at least be imported, whatever has moved meanwhile."""

import importlib
from pathlib import Path

import pytest

import recipes

ROOT = Path(recipes.__file__).parent
ELSEWHERE = {"pretended_aws.py"}
"""Runs among packages of its own, which are not installed here."""

MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if path.name not in {"__init__.py", *ELSEWHERE}
)


@pytest.mark.parametrize("name", MODULES)
def test_a_recipe_finds_what_it_needs(name):
    assert importlib.import_module(name).__doc__
