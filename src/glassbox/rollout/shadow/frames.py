"""JSON values through a socket, length first; what comes from a challenger is never trusted.

Knows nothing of what the values say. Nothing is pickled.
"""

import socket
import struct
import time
from typing import Any

import orjson

from glassbox.errors import CorruptArtifact

LONGEST_BYTES = 64 * 2**20
"""A longer message is taken for damage."""

_LENGTH = struct.Struct(">I")


def send(connection: socket.socket, value: Any, *, until_s: float | None = None) -> None:
    """Send one value.

    Args:
        connection: Stream socket.
        value: JSON; ``orjson.Fragment`` for parts that are JSON already.
        until_s: Moment of ``time.monotonic`` by which it must be sent; None waits for ever.

    Raises:
        TimeoutError: It could not be sent in time.
        OSError: The connection is gone.
    """
    body = orjson.dumps(value)
    connection.settimeout(_left_s(until_s))
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive(connection: socket.socket, *, until_s: float | None = None) -> Any:
    """Return the next value.

    Args:
        connection: Stream socket.
        until_s: Moment of ``time.monotonic`` by which all of it must be there.

    Raises:
        TimeoutError: It did not come in time.
        EOFError: The other end is closed, in the midst of a message or not.
        CorruptArtifact: What came is no such message.
        OSError: The connection is gone.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, until_s))
    if length > LONGEST_BYTES:
        raise CorruptArtifact("message", f"it claims to be {length} bytes long")
    body = _exactly(connection, length, until_s)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise CorruptArtifact("message", f"it is no JSON ({error})") from error


def _exactly(connection: socket.socket, n_bytes: int, until_s: float | None) -> bytearray:
    room = bytearray(n_bytes)
    view = memoryview(room)
    while view:
        connection.settimeout(_left_s(until_s))
        n = connection.recv_into(view)
        if not n:
            raise EOFError
        view = view[n:]
    return room


def _left_s(until_s: float | None) -> float | None:
    if until_s is None:
        return None
    left = until_s - time.monotonic()
    if left <= 0.0:
        raise TimeoutError
    return left
