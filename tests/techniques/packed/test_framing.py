"""Frames: what is written is read, and what is no frame is said to be none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import CorruptArtifact
from glassbox.techniques.calls import Packed
from glassbox.techniques.packed import framing


@given(st.binary(max_size=200), st.lists(st.binary(max_size=200), max_size=5))
def test_what_was_framed_comes_back(tree, buffers):
    packed = Packed(tree, tuple(buffers))
    data = b"".join(framing.frame(packed))
    assert len(data) == framing.framed_bytes(packed)
    back = framing.unframe(data)
    assert back.tree == tree
    assert list(map(bytes, back.buffers)) == buffers


def test_buffers_begin_at_multiples_of_64_and_are_not_copied():
    buffer = bytes(1000)
    parts = framing.frame(Packed(b"tree", (b"ab", buffer)))
    assert any(part is buffer for part in parts)
    at = 0
    for part in parts:
        if part is buffer or part == b"ab":
            assert at % 64 == 0
        at += len(part)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_no_damage_goes_unseen_in_the_header_the_lengths_or_the_tree(tree, at, value):
    data = bytearray(b"".join(framing.frame(Packed(tree, (b"xyz", bytes(70))))))
    if at < 48 + len(tree) and data[at] != value:
        data[at] = value
        with pytest.raises(CorruptArtifact, match="packed value"):
            framing.unframe(data)
    elif at < len(data):
        with pytest.raises(CorruptArtifact, match="packed value"):
            framing.unframe(data[:at])


@given(st.binary(max_size=400))
def test_garbage_is_no_frame(data):
    with pytest.raises(CorruptArtifact, match="packed value"):
        framing.unframe(data)
