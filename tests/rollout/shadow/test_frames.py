import socket
import struct
import threading
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import CorruptArtifact
from glassbox.rollout.shadow.frames import LONGEST_BYTES, receive, send


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(st.lists(JSON, max_size=5))
def test_values_arrive_as_they_were_sent_and_in_order(values):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for each in values:
            send(ours, each)
        assert [receive(theirs) for _ in values] == values


def test_a_value_larger_than_the_socket_holds_arrives(pair):
    ours, theirs = pair
    value = {"text": "x" * 2**22}
    sender = threading.Thread(target=send, args=(ours, value))
    sender.start()
    assert receive(theirs, until_s=time.monotonic() + 10) == value
    sender.join()


def test_bytes_that_are_json_already_are_sent_as_they_are(pair):
    ours, theirs = pair
    send(ours, {"rows": orjson.Fragment(b'[{"a":1}]')})
    assert receive(theirs) == {"rows": [{"a": 1}]}


@pytest.mark.parametrize("begun", [b"", b"\0\0", b"\0\0\0\x09abc"])
def test_silence_ends_at_the_moment_given(pair, begun):
    ours, theirs = pair
    ours.sendall(begun)
    with pytest.raises(TimeoutError):
        receive(theirs, until_s=time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        receive(theirs, until_s=time.monotonic() - 1.0)


def test_one_who_does_not_read_holds_nobody_up(pair):
    ours, _theirs = pair
    with pytest.raises(TimeoutError):
        send(ours, "x" * 2**24, until_s=time.monotonic() + 0.05)


def test_a_closed_end_is_told(pair):
    ours, theirs = pair
    ours.sendall(struct.pack(">I", 10) + b"abc")
    ours.close()
    with pytest.raises(EOFError):
        receive(theirs)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xff\xff\xff\xff", "claims to be"),
        (struct.pack(">I", LONGEST_BYTES + 1), "claims to be"),
        (struct.pack(">I", 3) + b"{a}", "no JSON"),
        (struct.pack(">I", 0), "no JSON"),
    ],
)
def test_damage_is_told(pair, raw, words):
    ours, theirs = pair
    ours.sendall(raw)
    with pytest.raises(CorruptArtifact, match=words):
        receive(theirs, until_s=time.monotonic() + 5)
