"""Hands out the built front end: the pages for people, their script, style and icon.

Everything comes from the package, so it works without a network, and the content policy lets the
page load and call nothing but this server. The files are read once and handed out by exact name:
no path is ever joined with what a request says. Holds no secrets, so no key is asked for; the
calls that the page makes ask for one. Knows nothing of models.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from fastapi import APIRouter, Request, Response

from glassbox.errors import UnknownName

PAGE = "index.html"
"""The one file behind every address; its script draws what the address says."""

_REFUSED = re.compile(r";\s*q=0(\.0*)?\s*$")
"""The weight of an encoding that a client does not take. Source: RFC 9110, section 12.4.2."""

ADDRESSES = (
    "/",
    "/inferences",
    "/rollout",
    "/drift",
    "/calibration",
    "/versions",
    "/fleet",
    "/pathways",
    "/playground",
)
"""The pages, as in ``web/dashboard/src/app/pages.ts``."""

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a browser may load for the page: files of this server alone, nothing written inline."""

_SAFE = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

FOR_EVER = "public, max-age=31536000, immutable"
"""Files whose name holds a digest of their content never change."""

ASK_FIRST = "no-cache"
"""Other files may be kept, but are compared by their tag before each use."""

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What the build writes; a table of our own, because the machine's may be changed or missing."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class BuiltFile:
    """One file of the front end, ready to be sent."""

    content: bytes
    """As built."""
    compressed: bytes | None
    """The same with gzip; None where it would gain nothing."""
    media_type: str
    """With its character set."""
    tag: str
    """Quoted digest of the content."""
    keep: str
    """How long a browser may keep it."""


def page(request: Request) -> Response:
    """Return the page."""
    return _answer(request, PAGE)


for each_address in ADDRESSES:
    router.add_api_route(each_address, page, methods=["GET", "HEAD"])


@router.api_route("/ui/{name:path}", methods=["GET", "HEAD"])
def built_file(request: Request, name: str) -> Response:
    """Return a file that the page loads."""
    return _answer(request, name)


@cache
def built_files() -> dict[str, BuiltFile]:
    """Return every file of the built front end by its path below the folder."""
    folder = files("glassbox") / "assets" / "web"
    return dict(_walk(folder, "")) if folder.is_dir() else {}


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, BuiltFile]]:
    found = []
    for each in folder.iterdir():
        name = f"{prefix}{each.name}"
        if each.is_dir():
            found += _walk(each, f"{name}/")
        else:
            found.append((name, _built(name, each.read_bytes())))
    return found


def _built(name: str, content: bytes) -> BuiltFile:
    return BuiltFile(
        content=content,
        compressed=gzip.compress(content) if len(content) > 1024 else None,
        media_type=_MEDIA_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream"),
        # Weak, because it stands for the compressed bytes as well.
        tag=f'W/"{hashlib.sha256(content).hexdigest()[:32]}"',
        keep=FOR_EVER if name.startswith("assets/") else ASK_FIRST,
    )


def _answer(request: Request, name: str) -> Response:
    built = built_files().get(name)
    if built is None:
        remedy = "" if name != PAGE else "The front end was not built: run 'make web'."
        raise UnknownName("file of the front end", name, remedy=remedy)
    headers = {**_SAFE, "Cache-Control": built.keep, "ETag": built.tag, "Vary": "Accept-Encoding"}
    if built.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = built.content
    if built.compressed is not None and _takes_gzip(request):
        content, headers["Content-Encoding"] = built.compressed, "gzip"
    headers["Content-Length"] = str(len(content))
    body = b"" if request.method == "HEAD" else content
    return Response(body, media_type=built.media_type, headers=headers)


def _takes_gzip(request: Request) -> bool:
    offers = request.headers.get("accept-encoding", "").split(",")
    return any(
        offer.split(";")[0].strip() == "gzip" and _REFUSED.search(offer) is None for offer in offers
    )
