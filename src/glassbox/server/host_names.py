"""The names under which a server without keys lets itself be called. Knows no route."""

import re

from fastapi import Request

from glassbox.server.refusals import Refusal


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
