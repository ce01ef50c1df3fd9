"""Names of latents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue
from glassbox.pathways.latents import LatentId


@given(st.integers(0, 9999), st.integers(0, 999_999_999))
def test_a_latent_comes_back_from_its_name(layer, index):
    assert LatentId.parse(LatentId(layer, index).name) == LatentId(layer, index)


@pytest.mark.parametrize("name", ["", "13-2044", "L13", "L-1-2", "l13-2044", "L13-2044 ", "L1٣-4"])
def test_what_names_no_latent_is_refused(name):
    with pytest.raises(InvalidValue, match="a name like L13-2044"):
        LatentId.parse(name)


def test_latents_sort_by_layer_and_then_by_index():
    names = ["L10-1", "L2-30", "L2-4"]
    assert [each.name for each in sorted(map(LatentId.parse, names))] == ["L2-4", "L2-30", "L10-1"]
