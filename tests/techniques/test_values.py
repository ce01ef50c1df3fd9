"""Values come back as they were: kinds, bits, layouts, classes."""

import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import pickle
import pprint
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.modeling_outputs import CausalLMOutputWithPast

from glassbox.errors import NotShippable
from glassbox.techniques import values
from glassbox.techniques.calls import Packed
from glassbox.techniques.packed.record import Record
from glassbox.techniques.packed.tensor_bytes import TORCH_DTYPES
from glassbox.techniques.values import RemoteValue


@dataclasses.dataclass(frozen=True)
class Lens:
    layer: int
    states: Any
    note: str = ""
    size: int = dataclasses.field(init=False, default=0)


class Point(NamedTuple):
    x: int
    y: str


class Mode(enum.Enum):
    FAST = 1
    SLOW = "two"


class Bits(enum.Flag):
    A = 1
    B = 2


def journey(value, **options):
    """Return a value after a frame was written and read."""
    packed = values.pack(value, allow_pickle=options.get("allow_pickle", False))
    data = bytearray(b"".join(values.frame(packed)))
    assert len(data) == values.framed_bytes(packed)
    return values.unpack(values.unframe(data), **options)


def same(left, right):
    """Return whether values are of the same kinds and equal, NaN being itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (
            left == right and math.copysign(1, left) == math.copysign(1, right)
        )
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=20),
    st.complex_numbers(), st.dates(), st.datetimes(), st.timedeltas(), st.uuids(),
    st.fractions(), st.decimals(allow_nan=False), st.text(alphabet="\ud800\udfff!a"),
)  # fmt: skip
keys = st.one_of(st.text(), st.integers(), st.booleans(), st.tuples(st.integers(), st.text()))
nested = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(st.integers() | st.text(), max_size=4),
        st.frozensets(st.integers(), max_size=4),
        st.builds(lambda x: Lens(3, x), inner),
    ),
    max_leaves=20,
)


@given(nested)
def test_every_nested_value_comes_back_as_it_was(value):
    back = journey(value)
    assert same(value, back) or same([value], [back]) or repr(value) == repr(back)


@given(st.dictionaries(st.sampled_from(["!", "glassbox", "value", "\ud800"]), scalars))
def test_a_dictionary_cannot_be_taken_for_a_tag(value):
    assert same(value, journey(value))


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_tensors_of_every_dtype_keep_every_bit(dtype):
    kind = getattr(torch, dtype)
    bits = torch.arange(256, dtype=torch.uint8).repeat(16)[: 16 * kind.itemsize]
    tensor = (bits % 2 if kind is torch.bool else bits).view(kind).reshape(2, 8)
    back = journey({"t": tensor})["t"]
    assert back.dtype == kind
    assert back.shape == (2, 8)
    assert torch.equal(back.view(torch.uint8), tensor.view(torch.uint8))


@pytest.mark.parametrize(
    "dtype", [name for name in TORCH_DTYPES if name.startswith(("float8", "bfloat"))]
)
def test_numpy_widens_what_it_does_not_have_exactly(dtype):
    kind = getattr(torch, dtype)
    codes = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.uint8)
    tensor = (torch.arange(256, dtype=torch.uint8) if kind.itemsize == 1 else codes).view(kind)
    opened = values.opened(values.pack(tensor), as_numpy=True)
    np.testing.assert_array_equal(opened.value, tensor.to(torch.float32).numpy())
    assert opened.value.dtype == np.float32
    assert f"{dtype} became float32" in opened.remarks[0]


def test_non_finite_numbers_are_kept_in_tensors_and_outside():
    tensor = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])
    back = journey({"t": tensor, "x": [float("nan"), -float("inf"), -0.0]})
    assert torch.equal(back["t"].view(torch.int32), tensor.view(torch.int32))
    assert math.isnan(back["x"][0])
    assert math.copysign(1, back["x"][2]) == -1


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).reshape(3, 4).T,
        torch.arange(12.0).reshape(3, 4)[:, ::2],
        torch.arange(4.0).expand(3, 4),
        torch.tensor(2.5),
        torch.empty(0, 3),
        torch.arange(3.0, requires_grad=True) * 2,
        torch.nn.Parameter(torch.ones(2)),
        torch.tensor([1 + 2j]).conj(),
        torch.tensor([1 + 2j]).conj().imag,
    ],
    ids=["transposed", "strided", "expanded", "scalar", "empty", "grad", "leaf", "conj", "neg"],
)
def test_tensors_in_any_layout_come_back_plain(tensor):
    back = journey([tensor])[0]
    assert torch.equal(back, tensor.detach())
    assert back.is_contiguous()
    assert not back.requires_grad
    back += 1  # It may be written to.


def test_a_tensor_that_appears_twice_travels_once_and_stays_one():
    tensor = torch.randn(1000)
    packed = values.pack({"a": tensor, "b": [tensor, tensor.detach()], "half": tensor[:500]})
    assert [len(each) for each in packed.buffers] == [4000, 2000]
    back = values.unpack(packed)
    assert back["a"] is back["b"][0]
    assert back["b"][1] is back["a"]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::-2],
        np.arange(10)[::-2][:1],
        np.array(["ab", "ünï"]),
        np.array([b"x", b"yz"]),
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
        np.array([5], dtype="m8[s]"),
        np.array([True, False]),
        np.array(3.5),
        np.zeros((0, 4), np.float16),
        np.array([1 + 2j], np.complex64),
    ],
    ids=lambda array: array.dtype.str,
)
def test_arrays_come_back_with_their_dtype(array):
    back = journey((array,))[0]
    assert back.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    "number",
    [np.float32(1.5), np.float64("nan"), np.int8(-3), np.bool_(True), np.complex64(1j),
     np.str_("é"), np.str_(""), np.datetime64("2020-01-01"), np.float16(2)],
    ids=repr,
)  # fmt: skip
def test_numpy_scalars_keep_their_type(number):
    back = journey({"n": number})["n"]
    assert type(back) is type(number)
    assert back == number or (number != number and back != back)


@pytest.mark.parametrize(
    "value",
    [
        Lens(1, [2]),
        Point(1, "a"),
        Mode.SLOW,
        Bits.A | Bits.B,
        collections.OrderedDict([("b", 1), ("a", 2)]),
        collections.Counter("aab"),
        collections.deque([1, 2], maxlen=3),
        SimpleNamespace(a=1),
        Path("/tmp/ü"),
        range(2**70, 2**70 + 4, 2),
        slice(1, None, 2),
        ...,
        bytearray(b"abc"),
        torch.float16,
        torch.device("cuda:1"),
        torch.Size([2, 3]),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        decimal.Decimal("1.10"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=5),
        RemoteValue("s", "1", "float32 tensor"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_come_back_as_the_same_class(value):
    back = journey([value])[0]
    assert type(back) is type(value)
    assert back == value


def test_the_fields_that_a_constructor_does_not_take_come_back_too():
    lens = Lens(1, 2)
    object.__setattr__(lens, "size", 7)
    assert journey(lens).size == 7


def test_torch_results_with_names_come_back_with_names():
    found = journey(torch.arange(4.0).topk(2))
    assert found.values.tolist() == [3, 2]
    assert found.indices.tolist() == [3, 2]


def test_classes_that_are_not_here_become_records_and_tuples():
    @dataclasses.dataclass
    class Hidden:
        a: int
        t: Any

    back = journey({"d": Hidden(1, torch.ones(2)), "again": Hidden(1, torch.ones(2))})
    record = back["d"]
    assert isinstance(record, Record)
    assert record.a == record["a"] == 1
    assert record == back["again"]
    assert repr(record) == "Hidden(a=1, t=tensor([1., 1.]))"
    assert journey(record) == record
    with pytest.raises(AttributeError, match="has no 'b'; it has 'a', 't'"):
        _ = record.b
    assert dataclasses.asdict(record)["a"] == 1
    assert dataclasses.replace(record, a=2) != record
    assert copy.deepcopy(record) == pickle.loads(pickle.dumps(record)) == record
    pprint.pformat(record)
    record.a = 3
    assert journey(record).a == 3
    local = collections.namedtuple("local", ["u", "v"])
    assert journey(local(1, 2)) == (1, 2)
    assert journey(local(1, 2)).v == 2


def test_a_class_with_other_fields_is_not_filled():
    packed = values.pack(Lens(1, 2))
    tree = packed.tree.replace(b'"layer"', b'"depth"')
    assert values.unpack(Packed(tree)) == Record.of(
        f"{__name__}:Lens", dict(depth=1, states=2, note="", size=0)
    )


def test_given_classes_are_looked_at_first():
    @dataclasses.dataclass
    class Shipped:
        a: int

    packed = values.pack(Shipped(1))
    name = f"{__name__}:{Shipped.__qualname__}"
    assert values.unpack(packed, classes={name: Shipped}) == Shipped(1)


def test_references_are_resolved_wherever_they_are():
    packed = values.pack_arguments([RemoteValue("s", "7", "")], {"x": [RemoteValue("s", "8", "")]})
    assert values.unpack(packed, resolve=lambda each: int(each.id)) == [[7], {"x": [8]}]
    assert values.unpack(packed)[0] == [RemoteValue("s", "7", "")]


def test_the_deepest_that_is_allowed_survives_the_journey():
    value: Any = 1
    for _ in range(31):
        value = ({(1, 2): value},)
    assert journey(value) == value


def test_a_result_over_the_limit_is_refused_before_anything_is_copied():
    huge = torch.empty(1).expand(2**28)  # 1 GiB, if it were made.
    tracemalloc.start()
    with pytest.raises(NotShippable, match=r"result would be .*1\.0 GiB.*result\['x'\].*4\.0 MiB"):
        values.pack({"x": huge, "y": 1}, max_bytes=4 * 2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    assert values.pack({"x": torch.zeros(8)}, max_bytes=1000).n_bytes < 1000
    with pytest.raises(NotShippable, match=r"result would be at least 10.5 KiB"):
        values.pack(["abcdefg"] * 1200, max_bytes=10_000)


def test_contiguous_tensors_are_packed_without_a_copy_and_protected():
    tensor = torch.zeros(1000)
    packed = values.pack(tensor)
    kept = values.owned(packed)
    tensor[0] = 5
    assert np.frombuffer(packed.buffers[0], np.float32)[0] == 5
    back = values.unpack(packed)
    back[0] = 7
    assert tensor[0] == 5, "what is unpacked never writes into the packed tensor"
    assert values.unpack(kept)[0] == 0


def test_a_writable_frame_becomes_tensors_without_a_copy():
    data = bytearray(b"".join(values.frame(values.pack({"t": torch.zeros(100)}))))
    tensor = values.unpack(values.unframe(data))["t"]
    tensor[:] = 1
    assert bytes(data[-400 - (-400 % 64) :])[:4] == b"\x00\x00\x80?"


def test_pickle_is_asked_for_on_both_sides():
    value = {"a": object, "b": 3}
    with pytest.raises(NotShippable, match="is a class"):
        values.pack(value)
    packed = values.pack(value, allow_pickle=True)
    with pytest.raises(NotShippable, match=r"came pickled.*allow_pickle=True"):
        values.unpack(packed)
    assert values.unpack(packed, allow_pickle=True) == value
    with pytest.raises(NotShippable, match=r"result\[0\] is a lock, which cannot even be pickled"):
        values.pack([threading.Lock()], allow_pickle=True)


def test_a_device_that_is_not_here_becomes_the_cpu_with_a_remark():
    packed = values.pack(torch.ones(2))
    tree = packed.tree.replace(b'"shape"', b'"device":"xla:3","shape"')
    opened = values.opened(Packed(tree, packed.buffers))
    assert opened.value.device.type == "cpu"
    assert "device xla:3 came to the CPU" in opened.remarks[0]


def test_a_tree_names_classes_but_runs_nothing():
    for name in ("os:system", "subprocess:Popen", "builtins:eval", "glassbox.__main__:x"):
        tree = b'{"glassbox":1,"value":{"!":"data","class":"%s","of":{"args":1}}}' % name.encode()
        assert isinstance(values.unpack(Packed(tree)), Record)


def test_arguments_are_named_in_messages():
    with pytest.raises(NotShippable, match=r"^argument 2\['f'\] is a function"):
        values.pack_arguments([1, {"f": len}], {})
    with pytest.raises(NotShippable, match=r"^argument hook is a function"):
        values.pack_arguments([], {"hook": len})
    with pytest.raises(NotShippable, match=r"^input 1, argument hook is a function"):
        values.pack_arguments([], {}, [{"hook": 1}, {"hook": len}])
    packed = values.pack_arguments([1], {"a": 2}, [{"b": 3}])
    assert values.unpack(packed) == [[1], {"a": 2}, [{"b": 3}]]


def test_everything_works_without_torch():
    code = """
        import sys
        sys.modules["torch"] = None
        sys.modules["transformers"] = None
        from glassbox.techniques import transport, values
        from glassbox.techniques.shipping import environment
        from glassbox.techniques.shipping import rehearsal
        from glassbox.techniques.conversion import standalone
        data = sys.stdin.buffer.read()
        opened = values.opened(values.unframe(bytearray(data)))
        value = opened.value
        print(type(value["t"]).__name__, value["t"].dtype, value["t"].tolist(), value["s"],
              value["d"], type(value["o"]).__name__, value["o"].logits.tolist())
        print(opened.remarks)
        print(values.unpack(values.pack({"x": value["t"]}))["x"].tolist())
        shipment = transport.ship(lambda model, tokenizer: 1)
        print(transport.receive(shipment)(None, None))
        assert "torch" not in environment.here().versions or True
    """
    value = {
        "t": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "s": torch.Size([2]),
        "d": torch.float16,
        "o": CausalLMOutputWithPast(logits=torch.ones(1)),
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        input=b"".join(values.frame(values.pack(value))),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "ndarray float32 [1.5, -2.0] (2,) float16 CausalLMOutputWithPast [1.0]"
    assert "bfloat16 became float32" in lines[1]
    assert lines[2:] == ["[1.5, -2.0]", "1"]
