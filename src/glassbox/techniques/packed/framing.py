"""One stream of bytes for a packed value: a header, the tree, and every buffer at a multiple of 64.

Nothing is copied: writing takes a list of buffers for ``writev``, reading gives views into one.
"""

import struct
import zlib
from itertools import accumulate

from glassbox.errors import CorruptArtifact
from glassbox.techniques.calls import Buffer, Packed

MAGIC = b"GBXPACK2"
"""First bytes of a frame; the number is the version of its layout."""

ALIGNMENT = 64
"""Buffers begin at multiples of this: a cache line, and the widest vector register."""

_HEAD = struct.Struct("<8sQQQ")
"""Magic, length of the tree, number of buffers, CRC-32 of their lengths and the tree."""

MOST_BUFFERS = 2**24
"""More in one frame are taken for damage."""


def frame(packed: Packed) -> list[Buffer]:
    """Return the buffers that, written one after another, are the frame of a packed value."""
    lengths = [len(buffer) for buffer in packed.buffers]
    table = struct.pack(f"<{len(lengths)}Q", *lengths)
    checksum = zlib.crc32(packed.tree, zlib.crc32(table))
    head = _HEAD.pack(MAGIC, len(packed.tree), len(lengths), checksum) + table
    parts: list[Buffer] = [head + packed.tree + bytes(_gap(len(head) + len(packed.tree)))]
    for buffer in packed.buffers:
        parts.append(buffer)
        gap = _gap(len(buffer))
        if gap:
            parts.append(bytes(gap))
    return parts


def framed_bytes(packed: Packed) -> int:
    """Return how long the frame of a packed value is, in bytes."""
    start = _HEAD.size + 8 * len(packed.buffers) + len(packed.tree)
    return _up(start) + sum(_up(len(buffer)) for buffer in packed.buffers)


def unframe(data: Buffer) -> Packed:
    """Return the packed value of a frame; its buffers are views into ``data``.

    Views into a ``bytearray`` become tensors without a copy, those into ``bytes`` with one.

    Args:
        data: The frame, whole; more bytes after it are an error.

    Raises:
        CorruptArtifact: It is no frame, or not all of it.
    """
    view = memoryview(data).cast("B")
    if len(view) < _HEAD.size:
        raise CorruptArtifact("packed value", f"{len(view)} bytes are too few for a frame")
    magic, n_tree, n_buffers, checksum = _HEAD.unpack_from(view)
    if magic != MAGIC:
        raise CorruptArtifact(
            "packed value",
            f"it begins with {magic!r}; frames of this version with {MAGIC!r}. Both sides have to "
            "run the same version of Glassbox",
        )
    start = _HEAD.size + 8 * n_buffers
    if n_buffers > MOST_BUFFERS or start + n_tree > len(view):
        raise CorruptArtifact("packed value", "its header asks for more bytes than there are")
    if zlib.crc32(view[_HEAD.size : start + n_tree]) != checksum:
        raise CorruptArtifact("packed value", "its header or its tree was changed on the way")
    lengths = struct.unpack_from(f"<{n_buffers}Q", view, _HEAD.size)
    ends = list(accumulate(map(_up, lengths), initial=_up(start + n_tree)))
    if ends[-1] != len(view):
        raise CorruptArtifact("packed value", f"{len(view)} bytes came, {ends[-1]} were meant to")
    return Packed(
        tree=bytes(view[start : start + n_tree]),
        buffers=tuple(
            view[at : at + length] for at, length in zip(ends[:-1], lengths, strict=True)
        ),
    )


def _up(n: int) -> int:
    return n + _gap(n)


def _gap(n: int) -> int:
    return -n % ALIGNMENT
