"""Any value fits into a context window, and every part of it can be reached."""

import enum
from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques.packed.paging import (
    PAGE_CHARACTERS,
    page,
    shortened,
    summary,
    written,
)
from glassbox.techniques.packed.parts import plain_json, select, tensors_of
from glassbox.techniques.packed.record import Output


@dataclass(frozen=True)
class Reading:
    token: str
    probs: torch.Tensor


Pair = namedtuple("Pair", ["left", "right"])


class Colour(enum.Enum):
    RED = 1


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=400)
    | st.binary(max_size=50),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.text(max_size=20) | st.integers(), inner, max_size=30)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=60,
)


@given(VALUES)
def test_a_summary_stays_within_its_characters_and_is_json(value):
    told = summary(value, characters=600)
    assert len(orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS)) <= 700


@given(
    st.lists(st.floats(allow_nan=False) | st.text(max_size=2000), max_size=200), st.integers(1, 50)
)
def test_pages_one_after_another_hold_every_item_once(value, count):
    offset, n_seen = 0, 0
    while True:
        found = page(value, offset=offset, count=count, characters=3000)
        n_seen += len(found.items)
        if found.next_offset is None:
            break
        assert found.next_offset > offset
        offset = found.next_offset
    assert n_seen == len(value)


def test_pages_of_a_tensor_hold_its_values():
    tensor = torch.arange(300, dtype=torch.float32)
    first = page(tensor, count=100)
    last = page(tensor, offset=200)
    assert first.items == [float(each) for each in range(100)]
    assert (first.shape, first.dtype, first.next_offset) == ((300,), "float32", 100)
    assert last.items[0] == 200.0


def test_rows_that_fit_are_whole_and_others_are_told():
    narrow, wide = page(np.ones((3, 4))), page(np.ones((3, 400)))
    assert narrow.items == [[1.0] * 4] * 3
    assert wide.items[0]["shape"] == [400]
    assert len(wide.items[0]["first"]) == 8


def test_a_tensor_is_told_by_shape_and_range():
    told = summary(torch.tensor([1.0, float("nan"), 3.0], dtype=torch.bfloat16))
    assert told == {
        "kind": "tensor",
        "dtype": "bfloat16",
        "shape": [3],
        "n_nonfinite": 1,
        "min": 1.0,
        "mean": 2.0,
        "max": 3.0,
        "first": [1.0, "nan", 3.0],
    }
    assert summary(torch.tensor(7)) == {"kind": "tensor", "dtype": "int64", "shape": [], "value": 7}
    assert summary(torch.zeros(0, 3)) == {"kind": "tensor", "dtype": "float32", "shape": [0, 3]}
    assert summary(torch.tensor([1 + 2j]))["first"] == ["(1+2j)"]


def test_a_hundred_megabytes_are_told_in_a_few_hundred_characters():
    told = summary({"logits": np.zeros((5_000, 5_000), np.float32), "text": "x" * 10**6})
    assert told["logits"]["shape"] == [5_000, 5_000]
    assert told["text"]["n_characters"] == 10**6
    assert len(orjson.dumps(told)) < 2000


def test_dataclasses_named_tuples_and_enums_keep_their_names():
    told = summary([Reading("a", torch.ones(2)), Pair(1, "b"), Colour.RED, 2**70, {3}])
    assert told[0]["kind"] == "Reading"
    assert told[0]["fields"]["token"] == "a"
    assert told[1] == {"kind": "Pair", "fields": {"left": 1, "right": "b"}}
    assert told[2:] == ["Colour.RED", str(2**70), [3]]


def test_what_contains_itself_ends():
    ring: list[object] = [1]
    ring.append(ring)
    assert "kind" in orjson.dumps(summary(ring)).decode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", None),
        ("readings[1].token", "b"),
        (".readings[-1].token", "b"),
        ("readings[0].probs[1]", 2.0),
        ("by_layer[4]", "four"),
        ('by_layer["4"]', "four"),
        ("by_layer['last one']", "l"),
        ("grid[1,2]", 6),
        ("grid[1][2]", 6),
        ("nested[1,0]", 3),
    ],
)
def test_a_path_leads_to_its_part(path, expected):
    value = {
        "readings": [Reading("a", torch.tensor([1.0, 2.0])), Reading("b", torch.zeros(1))],
        "by_layer": {4: "four", "last one": "l"},
        "grid": np.arange(1, 7).reshape(2, 3),
        "nested": [[1, 2], [3, 4]],
    }
    found = select(value, path)
    assert found is value if expected is None else found == expected


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("token", UnknownName, "Did you mean 'tokens'"),
        ("tokens[9]", InvalidValue, "inside tokens, of size 2"),
        ("tokens.first", InvalidValue, "tokens is a list"),
        ("grid[0,7]", InvalidValue, r"of size \(2, 3\)"),
        ("tokens[1][0][0][x]", InvalidValue, "path is"),
        ("tokens[" + "9" * 5000 + "]", InvalidValue, "path is"),
        ("n[0]", InvalidValue, "n is a value"),
    ],
)
def test_a_path_to_nowhere_says_where_it_ends(path, error, words):
    value = {"tokens": ["a", "b"], "grid": np.zeros((2, 3)), "n": 3}
    with pytest.raises(error, match=words):
        select(value, path)


@pytest.mark.parametrize(
    ("words", "message"),
    [({"offset": 3}, "0 to 2"), ({"count": 0}, "at least 1"), ({"offset": -1}, "0 to 2")],
)
def test_a_page_out_of_range_says_so(words, message):
    with pytest.raises(InvalidValue, match=message):
        page([1, 2, 3], **words)


def test_text_is_turned_page_by_page():
    text = "".join(str(each % 10) for each in range(9_000))
    first = page({"answer": text}, "answer")
    second = page({"answer": text}, "answer", offset=first.next_offset)
    assert first.items + second.items == text[:8_000]
    assert first.kind == "text"


@pytest.mark.parametrize("letter", ["漢", "\x00", "\U0001f469", "\ud800", '"'])
def test_a_page_of_text_is_bounded_as_it_is_sent_and_turned_whole(letter):
    text, offset, read = letter * 5000, 0, ""
    while offset is not None:
        found = page(text, offset=offset, count=100_000)
        assert len(orjson.dumps(found.items)) <= PAGE_CHARACTERS
        read, offset = read + found.items, found.next_offset
    assert read == written(letter) * 5000


def test_text_that_no_json_carries_is_told_with_escapes():
    value = {"a\ud800": "b\udfff", "long": "\ud800" * 3000}
    told = summary(value)
    assert told["a\\ud800"] == "b\\udfff"
    assert orjson.dumps(told)
    assert orjson.dumps(page(value).items)


@given(st.text(st.characters(), max_size=300), st.integers(8, 100))
def test_a_shortened_text_is_a_beginning_that_fits(text, n_bytes):
    short = shortened(text, n_bytes)
    assert text.startswith(short)
    assert len(orjson.dumps(written(short))) <= n_bytes
    assert not text or short


def test_an_item_too_long_for_a_page_is_told_instead():
    found = page([["x" * 900] * 64, 1], characters=500)
    assert len(orjson.dumps(found.items)) < 800
    assert found.next_offset == 1


def test_mappings_are_paged_by_entry():
    found = page({f"k{each}": each for each in range(100)}, count=3, offset=1)
    assert found.items[0] == {"key": "k1", "value": 1}
    assert (found.n_items, found.next_offset) == (100, 4)


def test_an_object_whose_class_is_not_known_here_is_read_like_any_other():
    found = Output.of(
        "transformers.modeling_outputs:Out", {"logits": torch.ones(2, 3), "loss": None}
    )
    assert summary(found)["kind"] == "Out"
    assert summary(found)["fields"]["logits"]["shape"] == [2, 3]
    assert page(found, "logits[1]").items == [1.0, 1.0, 1.0]
    assert page(found, "[0][1]").items == [1.0, 1.0, 1.0], "as Python reads a place of it"
    assert page(found).kind == "Out"
    assert plain_json(found) == {"logits": [[1.0] * 3] * 2, "loss": None}
    assert list(tensors_of([found])) == ["[0].logits"]
    with pytest.raises(UnknownName, match="logits"):
        select(found, "logit")
    assert plain_json(SimpleNamespace(a=(1, 2))) == {"a": [1, 2]}
