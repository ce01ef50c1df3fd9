"""Values that cannot travel are named with their place; damage is said to be damage."""

import collections
import dataclasses
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from transformers import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from glassbox.errors import CorruptArtifact, NotShippable
from glassbox.techniques import values
from glassbox.techniques.calls import Packed


@dataclasses.dataclass(frozen=True)
class Lens:
    layer: int
    states: Any


def test_model_outputs_come_back_without_their_caches_which_are_named():
    output = CausalLMOutputWithPast(
        logits=torch.ones(1, 2),
        past_key_values=DynamicCache(),
        hidden_states=(torch.zeros(1), torch.ones(1)),
    )
    packed = values.pack({"first": output})
    assert values.left_out(packed) == ("['first'].past_key_values",)
    assert values.left_out(values.pack(output)) == ("past_key_values",)
    back = values.unpack(packed)["first"]
    assert type(back) is CausalLMOutputWithPast
    assert list(back) == ["logits", "hidden_states"]
    assert back.past_key_values is None
    assert torch.equal(back[0], output.logits)
    assert isinstance(values.unpack(packed, as_numpy=True)["first"].logits, np.ndarray)


def test_caches_are_refused_alone_and_as_arguments():
    with pytest.raises(NotShippable, match="result is the key and value cache"):
        values.pack(DynamicCache())
    with pytest.raises(NotShippable, match="argument past is the key and value cache"):
        values.pack_arguments([], {"past": DynamicCache()})


def test_mappings_that_are_no_dictionaries_say_so():
    packed = values.pack({"x": collections.defaultdict(int, a=1)})
    assert values.unpack(packed) == {"x": {"a": 1}}
    assert values.remarks(packed) == ("result['x'] was a defaultdict and came as a dict",)
    assert values.opened(packed).remarks == values.remarks(packed)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            {"states": [1, SimpleNamespace(hook=len)]},
            r"result\['states'\]\[1\]\.hook is a function",
        ),
        ([torch.nn.Linear(1, 1)], r"result\[0\] is a model"),
        ((x for x in "a"), "result is a generator.*Make a list"),
        (zip("a", "b", strict=True), "result is an iterator"),
        ({"a": threading.Lock()}, r"result\['a'\] is a lock"),
        ({"a": sys}, "is a module"),
        ({1: int}, r"result\[1\] is a class"),
        (Lens(1, object()), r"result\.states is of type builtins\.object"),
        (torch.eye(2).to_sparse(), r"sparse_coo tensor; let \.to_dense"),
        (torch.empty(2, device="meta"), "without memory"),
        (
            SimpleNamespace(t=torch.ones(2, dtype=torch.float64).to(torch.complex128).to_sparse()),
            r"result\.t is a sparse_coo tensor",
        ),
        (np.array([object()]), "array of objects"),
        (np.zeros(2, "i4,f4"), "array of records"),
        (np.ma.array([1], mask=[1]), "masked array"),
        (np.longdouble(1), "differs between machines"),
    ],
    ids=range(15),
)
def test_what_cannot_travel_is_named_with_its_place(value, words):
    with pytest.raises(NotShippable, match=words):
        values.pack(value)


def test_tables_are_refused_with_what_of_them_travels():
    frame = pd.DataFrame({"text": ["a", "b"], "n": [1, 2]})
    for value, words in (
        ({"table": frame}, r"result\['table'\] is a DataFrame.* Let \.to_dict\('list'\) travel"),
        (frame["n"], r"result is a Series.* Let \.to_list\(\) or \.to_numpy\(\) travel"),
        (frame.index, r"result is an index of pandas.* Let \.to_list\(\)"),
        (pa.table({"n": [1]}), r"result is a table of pyarrow.* Let \.to_pydict\(\) travel"),
    ):
        with pytest.raises(NotShippable, match=words):
            values.pack(value)
    for kept in (frame.to_dict("list"), frame["n"].to_list(), frame.index.to_list()):
        assert values.unpack(values.pack(kept)) == kept


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation:UserWarning")
def test_quantised_tensors_are_refused_with_the_way_out():
    with pytest.raises(NotShippable, match=r"a quantised tensor; let \.dequantize\(\) travel"):
        values.pack(torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8))


def test_circles_and_depths_are_named():
    value: dict[str, Any] = {"a": {"b": []}}
    value["a"]["b"].append(value["a"])
    with pytest.raises(NotShippable, match=r"result\['a'\]\['b'\]\[0\] is result\['a'\] again"):
        values.pack(value)
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(NotShippable, match="nested more than 64 levels deep"):
        values.pack(deep)
    doubled: list[Any] = []
    for _ in range(30):
        doubled = [doubled, doubled]
    with pytest.raises(NotShippable, match="may travel"):
        values.pack(doubled, max_bytes=10**4)


@pytest.mark.parametrize(
    "tree",
    [
        b"",
        b"[]",
        b"{}",
        b'{"glassbox":2,"value":1}',
        b'{"glassbox":1,"value":{"!":"magic"}}',
        b'{"glassbox":1,"value":{"!":"tensor","i":0,"dtype":"float32","shape":[9]}}',
        b'{"glassbox":1,"value":{"!":"tensor","i":4,"dtype":"float32","shape":[1]}}',
        b'{"glassbox":1,"value":{"!":"tensor","i":0,"dtype":"float32","shape":[-1,-1]}}',
        b'{"glassbox":1,"value":{"!":"tensor","i":0,"dtype":"__class__","shape":[1]}}',
        b'{"glassbox":1,"value":{"!":"array","i":0,"dtype":"O","shape":[1]}}',
        b'{"glassbox":1,"value":{"!":"set","of":[[1]]}}',
        b'{"glassbox":1,"value":{"!":"int","of":7}}',
        b'{"glassbox":1,"value":{"!":"named","class":"a:b","of":{"class":1}}}',
        b'{"glassbox":1,"value":{"!":"decimal","of":"x"}}',
        b'{"glassbox":1,"value":' + b'{"!":"tuple","of":[' * 400 + b"]}" * 400 + b"}",
    ],
    ids=range(15),
)
def test_damaged_trees_are_said_to_be_damaged(tree):
    with pytest.raises(CorruptArtifact, match="packed value"):
        values.unpack(Packed(tree, (bytes(4),)))
