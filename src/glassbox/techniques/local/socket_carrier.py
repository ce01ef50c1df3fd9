"""Packed values through a socket: the length, then the frame; and who is at the other end.

Knows nothing of what the values say.
"""

import os
import socket
import struct
import sys
from itertools import islice

from glassbox.errors import CorruptArtifact
from glassbox.techniques.calls import Buffer, Packed
from glassbox.techniques.packed.framing import frame, unframe

LONGEST_BYTES = 2**40
"""A longer message is taken for damage."""

_LENGTH = struct.Struct("<Q")
_MOST_PARTS = 512
"""Parts given to the system at once. Source: sysconf(3), IOV_MAX is 1024 on Linux and macOS."""


def send(connection: socket.socket, packed: Packed) -> None:
    """Send a packed value; its buffers are not copied.

    Raises:
        OSError: The connection is gone.
    """
    parts: list[Buffer] = frame(packed)
    parts.insert(0, _LENGTH.pack(sum(map(len, parts))))
    waiting = [memoryview(part).cast("B") for part in parts if len(part)]
    while waiting:
        sent = connection.sendmsg(islice(waiting, _MOST_PARTS))
        n_whole = 0
        for part in waiting:
            if sent < len(part):
                break
            sent -= len(part)
            n_whole += 1
        del waiting[:n_whole]
        if sent:
            waiting[0] = waiting[0][sent:]


def receive(connection: socket.socket) -> Packed:
    """Return the next packed value; its buffers share one piece of memory of their own.

    Raises:
        EOFError: The other end closed the connection, in the midst of a message or not.
        CorruptArtifact: What came is no packed value.
        OSError: The connection is gone.
    """
    head = bytearray(_LENGTH.size)
    _fill(connection, head)
    (length,) = _LENGTH.unpack(head)
    if length > LONGEST_BYTES:
        raise CorruptArtifact("message", f"it claims to be {length} bytes long")
    body = bytearray(length)
    _fill(connection, body)
    return unframe(body)


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end of a Unix socket, as the system vouches for it.

    Source: unix(7), SO_PEERCRED; macOS, sys/un.h, LOCAL_PEERCRED and struct xucred.
    """
    if sys.platform == "linux":
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, _ = struct.unpack("3i", raw)
    else:
        raw = connection.getsockopt(0, 1, struct.calcsize("2I"))
        _, uid = struct.unpack("2I", raw)
    return int(uid)


def is_own(connection: socket.socket) -> bool:
    """Return whether the other end runs as this user."""
    return peer_uid(connection) == os.getuid()


def _fill(connection: socket.socket, room: bytearray) -> None:
    view = memoryview(room)
    while view:
        n = connection.recv_into(view)
        if not n:
            raise EOFError
        view = view[n:]
