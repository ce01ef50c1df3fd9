"""No way through the package takes for granted that the model is on the processor."""

import json
import subprocess
import sys

import pytest

from tests.other_device_paths import WAYS

TOLERANCE = 2e-3
"""Largest difference of any number: products are put together otherwise there."""


# The first test waits for all ways, twice each, on a machine that may be busy.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def found():
    """What each way came to, all in one process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.other_device_paths"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr
    return {name: gap for line in lines for name, gap in json.loads(line).items()}


@pytest.mark.parametrize("way", WAYS)
def test_answers_on_another_device_are_those_of_the_processor(found, way):
    gap = found[way]
    assert not isinstance(gap, str), gap
    assert gap <= TOLERANCE


def test_the_device_minds_what_accelerators_mind(found):
    assert found["the device itself"] == ["numpy", "mixed", "generator", "float64"]
