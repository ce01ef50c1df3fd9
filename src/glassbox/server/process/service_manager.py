"""Tells the service manager that started this process, such as systemd, that requests are taken."""

import logging
import socket
from typing import Final

from glassbox.settings import notify_address

READY: Final = b"READY=1"
"""Source: sd_notify(3)."""

_log = logging.getLogger("glassbox.server")


def tell_ready() -> None:
    """Say so on the socket that ``NOTIFY_SOCKET`` names; nothing without one."""
    address = notify_address()
    if not address:
        return
    # Of an abstract socket the name begins with a zero byte, which no environment can hold.
    place = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(READY, place)
    except OSError as error:
        _log.warning("the service manager does not hear that the server is ready: %s", error)
