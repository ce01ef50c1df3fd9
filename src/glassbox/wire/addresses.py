"""Names and addresses of machines, as clients and servers read them."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, which nobody else can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
