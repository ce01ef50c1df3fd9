"""Lets pages of other origins call the server, where the settings name these origins.

Source: WHATWG Fetch, section 3.2 "HTTP CORS protocol". Knows no route.
"""

import re
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from glassbox.errors import InvalidValue
from glassbox.settings import names_in
from glassbox.wire.headers import (
    ERROR_HEADER,
    ID_HEADER,
    REPLICA_HEADER,
    TIMEOUT_HEADER,
    VERSION_HEADER,
)

METHODS: Final = ("GET", "POST", "PUT", "DELETE")
"""Methods that the routes know."""

SENT: Final = (
    "authorization",
    "content-type",
    "if-none-match",
    "traceparent",
    ID_HEADER,
    TIMEOUT_HEADER,
)
"""Headers that a page may send."""

READ: Final = (
    "etag",
    REPLICA_HEADER,
    VERSION_HEADER,
    "retry-after",
    ERROR_HEADER,
    ID_HEADER,
)
"""Headers of an answer that a page may read."""

PREFLIGHT_S: Final = 600
"""Seconds for which a browser may remember what is allowed."""

_ORIGIN = re.compile(r"(?i)https?://[a-z0-9.\-\[\]:]+")


def origins_in(text: str) -> tuple[str, ...]:
    """Return the origins in a setting, separated by commas, as browsers send them.

    Raises:
        InvalidValue: One is none; ``*`` is refused, because keys travel with the requests.
    """
    found = names_in(text)
    for each in found:
        if not _ORIGIN.fullmatch(each.rstrip("/")):
            raise InvalidValue(
                "server.cors_origins", each, "origins such as https://desk.example.org, with commas"
            )
    return tuple(_as_sent(each.rstrip("/")) for each in found)


def _as_sent(origin: str) -> str:
    """Return an origin as browsers write it: small letters, and no port that goes without saying.

    Source: WHATWG HTML, section 7.1.1 "Origins", serialisation; WHATWG URL, "default port".
    """
    origin = origin.lower()
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")


def with_cross_origin(app: ASGIApp, setting: str) -> ASGIApp:
    """Return an app that pages of some origins may call; the app itself where there are none.

    Args:
        app: The app.
        setting: Origins with commas.

    Raises:
        InvalidValue: One of them is none.
    """
    origins = origins_in(setting)
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=SENT,
        expose_headers=READ,
        max_age=PREFLIGHT_S,
    )
