"""What the methods about studies of pathways send: pure functions.

Knows the wire; sends nothing.
"""

from collections.abc import Mapping
from typing import Any, TypedDict
from urllib.parse import quote, urlencode

from glassbox.client.answers import reader
from glassbox.client.calls import Call
from glassbox.client.given import known_options
from glassbox.wire.latents import (
    LatentAnswered,
    LatentCardAnswered,
    LatentsAnswered,
    PathwayOrder,
    PathwaysAnswered,
    TokensAnswered,
)
from glassbox.wire.pathways import (
    GraphAnswered,
    StudiesAnswered,
    StudyAnswered,
    StudyBrief,
)

BASE = "/v1/pathways"
"""Path that all of these are below."""


class PathwayOptions(TypedDict, total=False):
    """Which pathways to list; all of them may be left out."""

    source: str
    """Only those that start in this latent, as ``L13-2044``."""
    target: str
    """Only those that end in it."""
    verified: bool
    """Only those that replay confirmed, or only those it did not."""
    order: PathwayOrder
    """``attribution`` (the default), ``mediated``, ``effect`` or ``q``."""
    limit: int
    """Most rows; 100."""
    offset: int
    """Rows passed over."""


class TokenOptions(TypedDict, total=False):
    """Which token associations to list; all of them may be left out."""

    latent: str
    """Only those of this latent."""
    token: str
    """Only those of exactly this token."""
    condition: str
    """Only those counted under this condition; ``all`` is every response."""
    limit: int
    """Most rows; 100."""
    offset: int
    """Rows passed over."""


def studies() -> Call[list[StudyBrief]]:
    """Return the request for all finished studies."""
    return Call("GET", BASE, lambda answer: reader(StudiesAnswered)(answer).studies)


def study(name: str) -> Call[StudyAnswered]:
    """Return the request for a study's figures."""
    return Call("GET", _path(name), reader(StudyAnswered))


def latents(name: str, layer: int | None) -> Call[list[LatentAnswered]]:
    """Return the request for a study's latents."""
    path = _path(name, "/latents", {"layer": layer})
    return Call("GET", path, lambda answer: reader(LatentsAnswered)(answer).latents)


def latent(name: str, latent_name: str, limit: int) -> Call[LatentCardAnswered]:
    """Return the request for all that is known of one latent."""
    path = _path(name, f"/latents/{quote(latent_name, safe='')}", {"limit": limit})
    return Call("GET", path, reader(LatentCardAnswered))


def pathways(name: str, options: PathwayOptions) -> Call[PathwaysAnswered]:
    """Return the request for a study's pathways."""
    known_options(options, PathwayOptions)
    return Call("GET", _path(name, "/pathways", options), reader(PathwaysAnswered))


def tokens(name: str, options: TokenOptions) -> Call[TokensAnswered]:
    """Return the request for a study's token associations."""
    known_options(options, TokenOptions)
    return Call("GET", _path(name, "/tokens", options), reader(TokensAnswered))


def graph(name: str, limit: int) -> Call[GraphAnswered]:
    """Return the request for the strongest part of a study's graph."""
    return Call("GET", _path(name, "/graph", {"limit": limit}), reader(GraphAnswered))


def _path(name: str, below: str = "", query: Mapping[str, Any] | None = None) -> str:
    given = {key: _said(value) for key, value in (query or {}).items() if value is not None}
    path = f"{BASE}/{quote(name, safe='')}{below}"
    return f"{path}?{urlencode(given)}" if given else path


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
