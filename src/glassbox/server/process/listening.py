"""Where a server listens, and whom that opens it to.

Imports nothing heavy, so that a socket takes connections before the rest of the server is loaded.
"""

import errno
import socket
from typing import Final

from glassbox.errors import ConflictError, InvalidValue
from glassbox.wire.addresses import is_loopback

BACKLOG: Final = 2048
"""Connections that the system keeps for us: a thousand clients may come at once."""


def check_address(host: str, *, has_keys: bool) -> None:
    """Refuse to open a server without keys to others than this machine.

    Raises:
        InvalidValue: The address is not this machine's own and there is no key.
    """
    if not has_keys and not is_loopback(host):
        raise InvalidValue(
            "host",
            host,
            "127.0.0.1, ::1 or localhost as long as there is no API key, because everyone who "
            "reaches the server could use it",
            remedy="Make a key first: glassbox keys create NAME.",
        )


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ConflictError: Another process has the port.
        InvalidValue: No such address on this machine, or no right to it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # Its connections inherit it. Otherwise an answer's body waits 40 ms for the other end to
        # acknowledge its head. Source: RFC 896 together with RFC 1122, section 4.2.3.2.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"Port {port} of {host} is taken by another process. Choose another with --port, "
                "or 0 for any free one."
            ) from error
        reason = error.strerror or "cannot be resolved"
        raise InvalidValue(
            "host", f"{host}:{port}", f"an address of this machine ({reason})"
        ) from error


def address_of(listener: socket.socket) -> str:
    """Return the URL of a socket that listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
