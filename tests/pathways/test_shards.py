"""Finished parts of a step: whole or not there, and never another configuration's."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import ConflictError, CorruptArtifact, InvalidValue, UnknownName
from glassbox.pathways.shards import (
    Shards,
    StepKey,
    begin_step,
    finish_step,
    finished_step,
    forget_step,
)

KEY = StepKey("discover", {"discover.mode": "total", "discover.top": 25}, {"model": "ab" * 32})
OTHER = StepKey("discover", {"discover.mode": "frozen", "discover.top": 25}, {"model": "cd" * 32})


def arrays():
    return {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1, 2], np.int64)}


def test_a_part_comes_back_as_it_was_saved(tmp_path):
    shards = Shards(tmp_path, KEY)
    shards.save("context-3", arrays(), {"n": 4})
    assert shards.names() == ("context-3",)
    assert shards.has("context-3")
    part = shards.load("context-3")
    assert part.meta == {"n": 4}
    assert {name: each.dtype for name, each in part.arrays.items()} == {
        "a": np.int64,
        "b": np.float32,
    }
    np.testing.assert_array_equal(part.arrays["b"], arrays()["b"])


@given(st.permutations(["a", "b", "c", "d"]))
def test_equal_content_gives_equal_bytes_whatever_its_order(order):
    shards = Shards(Path("never-written"), KEY)
    parts = {name: np.full(3, place) for place, name in enumerate("abcd")}
    whole = shards.packed({name: parts[name] for name in order}, {"x": 1, "y": 2})
    assert whole == shards.packed(parts, {"y": 2, "x": 1})


def test_a_view_is_saved_as_what_it_shows(tmp_path):
    shards = Shards(tmp_path, KEY)
    table = np.arange(12).reshape(3, 4)
    shards.save("turned", {"t": table.T[::2]})
    np.testing.assert_array_equal(shards.load("turned").arrays["t"], table.T[::2])


def test_a_part_of_another_configuration_is_refused(tmp_path):
    path = Shards(tmp_path, KEY).save("one", arrays())
    for call in (Shards(tmp_path, OTHER).has, Shards(tmp_path, OTHER).load):
        with pytest.raises(ConflictError, match=f"{path.name} was made under another config"):
            call("one")


def test_a_truncated_part_is_called_damaged(tmp_path):
    shards = Shards(tmp_path, KEY)
    path = shards.save("one", arrays())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptArtifact, match="not a whole safetensors file"):
        shards.has("one")


def test_a_file_of_somebody_else_is_no_part(tmp_path):
    from safetensors.numpy import save_file

    save_file(arrays(), tmp_path / "one.safetensors")
    with pytest.raises(CorruptArtifact, match="no shard of a study"):
        Shards(tmp_path, KEY).has("one")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_names_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(InvalidValue, match="shard's name"):
        Shards(tmp_path, KEY).save(name, arrays())


def test_an_unknown_part_is_named(tmp_path):
    with pytest.raises(UnknownName, match="'two'"):
        Shards(tmp_path, KEY).load("two")


def test_a_step_of_another_configuration_is_refused_and_says_what_differs(tmp_path):
    begin_step(tmp_path, KEY)
    begin_step(tmp_path, KEY)
    with pytest.raises(
        ConflictError, match=r'discover\.mode was "total" and is "frozen"; model was abab.*cdcd'
    ):
        begin_step(tmp_path, OTHER)


def test_a_step_whose_settings_are_other_ones_names_those(tmp_path):
    begin_step(tmp_path, KEY)
    with pytest.raises(ConflictError, match=r"discover\.top was 25 and is not there"):
        begin_step(tmp_path, StepKey("discover", {"discover.mode": "total"}, KEY.inputs))
    with pytest.raises(ConflictError, match="layout 1 instead of 2"):
        begin_step(tmp_path, StepKey("discover", KEY.settings, KEY.inputs, schema=2))


def test_a_step_of_another_version_of_glassbox_is_called_that(tmp_path):
    begin_step(tmp_path, KEY)
    more = StepKey("discover", {**KEY.settings, "discover.later": 1}, KEY.inputs)
    with pytest.raises(
        ConflictError, match=r"later was not there and is 1\. An older Glassbox made"
    ):
        begin_step(tmp_path, more)
    begin_step(tmp_path / "newer", more)
    with pytest.raises(ConflictError, match="newer Glassbox made them: upgrade this one to go on"):
        begin_step(tmp_path / "newer", KEY)


def test_a_record_without_outputs_is_called_damaged(tmp_path):
    begin_step(tmp_path, KEY)
    finish_step(tmp_path, KEY, [])
    path = tmp_path / "discover.done.json"
    path.write_bytes(path.read_bytes().replace(b"{}", b"[1]", 1))
    with pytest.raises(CorruptArtifact, match="outputs are no names with digests"):
        finished_step(tmp_path, KEY)


def test_a_finished_step_is_known_by_its_outputs(tmp_path):
    output = tmp_path / "deep" / "candidates.json"
    output.parent.mkdir()
    output.write_text("[]")
    folder = tmp_path / "pathways"
    begin_step(folder, KEY)
    assert finished_step(folder, KEY) is None
    finish_step(folder, KEY, [output], {"n": 3})
    assert finished_step(folder, KEY)["figures"] == {"n": 3}
    output.write_text("[1]")
    with pytest.raises(CorruptArtifact, match="not what 'discover' wrote"):
        finished_step(folder, KEY)
    output.unlink()
    assert finished_step(folder, KEY) is None


def test_a_forgotten_step_may_be_made_under_another_configuration(tmp_path):
    begin_step(tmp_path, KEY)
    path = Shards(tmp_path / "shards", KEY).save("one", arrays())
    finish_step(tmp_path, KEY, [path])
    forget_step(tmp_path, "discover", [tmp_path / "shards", tmp_path / "never-was.json"])
    begin_step(tmp_path, OTHER)
    assert finished_step(tmp_path, OTHER) is None
    assert Shards(tmp_path / "shards", OTHER).names() == ()
