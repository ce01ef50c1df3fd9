"""Where a server may listen: this machine alone, until there is a key."""

import socket

import pytest

from glassbox.errors import ConflictError, InvalidValue
from glassbox.server.process.listening import address_of, bind, check_address
from glassbox.wire.addresses import is_loopback
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machines_own_addresses_need_no_key(host: str) -> None:
    assert is_loopback(host)
    check_address(host, has_keys=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_others_need_a_key_first(host: str) -> None:
    with pytest.raises(InvalidValue, match="glassbox keys create"):
        check_address(host, has_keys=False)
    check_address(host, has_keys=True)


def test_a_taken_port_says_so() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConflictError, match=f"Port {port} of 127.0.0.1 is taken"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_says_so() -> None:
    with pytest.raises(InvalidValue, match="an address of this machine"):
        bind("192.0.2.1", 0)


def test_a_socket_takes_connections_before_anyone_answers() -> None:
    with (
        bind("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname(), timeout=PATIENCE_S) as waiting,
    ):
        assert waiting.getpeername() == listener.getsockname()
