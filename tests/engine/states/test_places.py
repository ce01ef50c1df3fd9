"""The library's numbers for hidden states, and their places."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.states.places import hidden_state_of_point, point_of_hidden_state, whole_point
from glassbox.errors import InvalidHookPoint
from glassbox.types import HookPoint


@given(n_layers=st.integers(1, 100), data=st.data())
def test_a_hidden_states_index_goes_to_its_place_and_back(n_layers, data):
    index = data.draw(st.integers(-n_layers - 1, n_layers))
    point = point_of_hidden_state(index, n_layers)
    assert whole_point(point, n_layers) == point
    assert hidden_state_of_point(point, n_layers) == index % (n_layers + 1)


def test_the_numbers_of_the_library():
    assert point_of_hidden_state(0, 12) == HookPoint(0, "resid_pre")
    assert point_of_hidden_state(1, 12) == HookPoint(0, "resid_post")
    assert point_of_hidden_state(-1, 12) == HookPoint(11, "final_norm")
    assert point_of_hidden_state(-4, 12) == HookPoint(8, "resid_post")
    assert hidden_state_of_point(HookPoint(11), 12) is None
    assert hidden_state_of_point(HookPoint(3, "mlp_out"), 12) is None


@pytest.mark.parametrize("index", [13, -14])
def test_an_index_out_of_range_names_the_range(index):
    with pytest.raises(InvalidHookPoint, match=r"0 \(embeddings\) to 12"):
        point_of_hidden_state(index, 12)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        (HookPoint(12), "0 to 11"),
        (HookPoint(-13), "0 to 11"),
        (HookPoint(3, "final_norm"), "last layer only"),
    ],
)
def test_a_place_that_is_not_there(point, words):
    with pytest.raises(InvalidHookPoint, match=words):
        whole_point(point, 12)


@pytest.mark.parametrize(
    "module",
    ["engine.states.places", "engine.lens", "engine.protocol", "engine.requests", "server.app"],
)
def test_what_only_names_places_needs_no_torch(module):
    code = f"import sys, glassbox.{module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
