"""Whether the server runs another version than the client, from a header of its answers.

Versions of one minor release understand each other. Between minor releases most calls work, so
there is a warning, once for each version met; between major ones nothing is promised, so there is
an error. Servers that name no version are taken as they are.
"""

import importlib.metadata
import re
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import httpx

from glassbox.errors import VersionMismatch
from glassbox.wire.headers import VERSION_HEADER

Skew = Literal["none", "minor", "major"]
"""How far two versions are apart."""

_RELEASE = re.compile(r"v?(\d+)\.(\d+)")


class VersionSkewWarning(UserWarning):
    """The server runs another minor version than the client."""


def own_version() -> str:
    """Return the version of this Glassbox."""
    return importlib.metadata.version("glassbox-llm")


def skew_of(own: str, other: str) -> Skew:
    """Return how far two versions are apart; what is no version is not apart."""
    releases = [_RELEASE.match(each) for each in (own, other)]
    if None in releases:
        return "none"
    (own_major, own_minor), (major, minor) = (each.groups() for each in releases if each)
    if int(own_major) != int(major):
        return "major"
    return "none" if int(own_minor) == int(minor) else "minor"


def skew_hint(response: httpx.Response) -> str:
    """Return a sentence for the error that an answer carries; empty where versions agree."""
    own, other = own_version(), response.headers.get(VERSION_HEADER, "")
    if skew_of(own, other) == "none":
        return ""
    return (
        f" The server runs Glassbox {other} and this client {own}: install the same version on "
        "both sides if that is the reason."
    )


class VersionWatch:
    """Looks at the answers of one client.

    Args:
        own: Version of the client; None takes the installed one.
    """

    def __init__(self, own: str | None = None) -> None:
        self._own = own_version() if own is None else own
        self._met: set[str] = set()

    def look(self, response: httpx.Response) -> None:
        """Warn, once for each version, of a server of another minor version.

        Raises:
            VersionMismatch: It is of another major version.
        """
        other = response.headers.get(VERSION_HEADER, "")
        if other in self._met:
            return
        skew = skew_of(self._own, other)
        if skew == "major":
            raise VersionMismatch(
                f"The server runs Glassbox {other} and this client {self._own}: they speak "
                f"different versions of the API. Install glassbox-llm=={other} here, or upgrade "
                "the server."
            )
        self._met.add(other)
        if skew == "minor":
            warnings.warn(
                f"The server runs Glassbox {other} and this client {self._own}: most calls work, "
                "fields that only one side knows are left out or refused. Install the same "
                "version on both sides.",
                VersionSkewWarning,
                stacklevel=2,
            )

    def hooks(self) -> dict[str, list[Callable[..., Any]]]:
        """Return what makes ``httpx.Client`` look at every answer."""
        return {"response": [self.look]}

    def async_hooks(self) -> dict[str, list[Callable[..., Coroutine[Any, Any, None]]]]:
        """Return what makes ``httpx.AsyncClient`` look at every answer."""

        async def look(response: httpx.Response) -> None:
            self.look(response)

        return {"response": [look]}
