"""Names under which a server without keys lets itself be called, and whose pages may call it.

Knows no route.
"""

import re

from fastapi import Request

from glassbox.server.access.cross_origin import origins_in
from glassbox.server.errors.refusals import Refusal


def check_host(request: Request, hosts: frozenset[str] | None) -> None:
    """Refuse a page from elsewhere whose name was made to lead to this machine.

    Args:
        request: Its ``Host`` is looked at.
        hosts: Names that are let in; None lets all in.

    Source: "DNS rebinding", Jackson et al. 2007.
    """
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if re.search(r":[0-9]*$", host) else host
    if hosts is not None and name.lower() not in hosts:
        raise Refusal(
            421,
            f"The request was sent to {name[:80]!r}. Without API keys this server answers to "
            f"{', '.join(sorted(hosts))} only.",
            code="misdirected-request",
        )


def check_origin(request: Request, hosts: frozenset[str] | None, cors_origins: str) -> None:
    """Refuse a page that did not come from this server.

    Before it sends JSON elsewhere a browser asks whether it may. What has no body it just sends:
    the page cannot read the answer, but the work is done.

    Args:
        request: Its ``Origin`` is looked at; programs send none.
        hosts: As for ``check_host``; None lets all in.
        cors_origins: The setting: origins with commas whose pages may call this server.

    Source: WHATWG Fetch, section 3.2 "HTTP CORS protocol"; RFC 6454, section 7.
    """
    origin = request.headers.get("origin")
    if hosts is None or origin is None:
        return
    host = request.headers.get("host", "")
    if origin.partition("://")[2].lower() != host.lower() and origin not in origins_in(
        cors_origins
    ):
        raise Refusal(
            403,
            f"A page of {origin[:80]!r} asks. Without API keys this server answers its own pages "
            "and those of server.cors_origins only.",
        )
