"""From an HTTP error back to the exception it was: the server's codes are those of our tree.

Knows both shapes of errors: RFC 9457 problems and OpenAI's. Sends nothing.
"""

import random
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx
import orjson
from pydantic import ValidationError

from glassbox.client.version_skew import skew_hint
from glassbox.errors import (
    BY_CODE,
    AccessDenied,
    CapacityError,
    DeadlineExceeded,
    GlassboxError,
    IntegrityError,
    InvalidValue,
    QueueFull,
    Unreachable,
    UsageError,
    made_again,
)
from glassbox.wire.headers import ERROR_HEADER, ID_HEADER

RETRIED = frozenset({429, 502, 503})
"""Statuses that say: come back later. A proxy says 502 while the server behind it starts anew."""

NOT_BEGUN = frozenset({"not-ready", "queue-full", "too-many-connections", "too-many-requests"})
"""Codes of a server that turned a request away at its door; others of those statuses may have come
behind the work, as from a replica that was lost or a database that did not answer any more."""

NOT_UNDERSTOOD = frozenset({400, 404, 405, 415, 422})
"""Statuses that a field or a route gets which only one side knows."""

FIRST_WAIT_S = 0.25
"""Wait before the first repetition where the server names none, or 0; doubled each time."""


@dataclass(frozen=True)
class Retries:
    """How often, and how long apart, a request is repeated while a server is full or away."""

    n: int = 4
    """Most repetitions; 0 never repeats."""
    longest_wait_s: float = 30.0
    """A server that asks for a longer wait gets no repetition: the error is raised at once."""

    def wait_or_raise(self, response: httpx.Response, done: int, *, is_once: bool = False) -> float:
        """Return seconds until an unsuccessful request is sent again.

        Args:
            response: Its body read.
            done: Repetitions so far.
            is_once: Whether it must not be done twice.

        Raises:
            GlassboxError: There is no further try: the error that the response carries.
        """
        is_full = response.status_code in RETRIED
        if is_once and response.status_code != 429:
            is_full = is_full and _read(response)[0] in NOT_BEGUN
        wait_s = self._wait_s(done, retry_after_s(response)) if is_full else None
        if wait_s is None:
            raise error_of(response)
        return wait_s

    def wait_or_raise_refused(self, error: httpx.ConnectError, done: int) -> float:
        """Return seconds until a request is sent again for which there was no connection.

        Nobody can have acted on it, so it is sent again whatever it asks for.

        Args:
            error: Why there was none.
            done: Repetitions so far.

        Raises:
            httpx.ConnectError: There is no further try: the same error.
        """
        wait_s = None if _never_will(error) else self._wait_s(done, None)
        if wait_s is None:
            raise error
        return wait_s

    def _wait_s(self, done: int, asked_s: float | None) -> float | None:
        """Return seconds until the next try; None where there is none."""
        # A server that says 0 names no wait: at once, and again at once, would be a storm.
        wait_s = asked_s or FIRST_WAIT_S * 2**done
        if done >= self.n or wait_s > self.longest_wait_s:
            return None
        # Many clients turned away at once must not come back at once.
        return wait_s * (1.0 + random.random() / 4)


def _never_will(error: BaseException) -> bool:
    """Return whether a connection fails for a reason that another try does not change."""
    each: BaseException | None = error
    while each is not None:
        is_no_name = isinstance(each, socket.gaierror) and each.errno != socket.EAI_AGAIN
        if is_no_name or isinstance(each, ssl.SSLError):
            return True
        each = each.__cause__ or each.__context__
    return False


def checked_retries(retries: Retries) -> Retries:
    """Return the same, if it says how often and how long apart.

    Raises:
        InvalidValue: It does not, as a bare number.
    """
    if not isinstance(retries, Retries):
        raise InvalidValue(
            "retries", retries, "a glassbox.client.Retries, such as Retries(n=2); n=0 never repeats"
        )
    return retries


def require_open(client: object, *, is_closed: bool) -> None:
    """Do nothing if a client can still be used.

    Raises:
        UsageError: It was closed.
    """
    if is_closed:
        raise UsageError(
            f"{client!r} is closed, as at the end of its with block: make another, or ask before."
        )


def retry_after_s(response: httpx.Response) -> float | None:
    """Return the seconds a server asks to wait; None where it names none.

    Source: RFC 9110, section 10.2.3: seconds or, as some proxies say it, a date.
    """
    said = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None


def error_of(response: httpx.Response) -> GlassboxError:
    """Return the error that a response carries, by its class in our tree.

    It has the server's words and ``code``, the ``status`` and the ``request_id``; of further
    attributes only ``retry_after_s`` travels.

    Args:
        response: Of status 400 or more, its body read.
    """
    code, message = _read(response)
    if response.status_code in NOT_UNDERSTOOD:
        message += skew_hint(response)
    error = made_again(BY_CODE.get(code) or _kind_of(response.status_code), message)
    if code:
        # Some have a code of their own, as not-ready, which says more than the class's.
        error.code = code
    error.status = response.status_code
    error.request_id = response.headers.get(ID_HEADER)
    if isinstance(error, QueueFull):
        error.retry_after_s = retry_after_s(response) or 0.0
    return error


def _kind_of(status: int) -> type[GlassboxError]:
    if status in (401, 403):
        return AccessDenied
    if status == 429:
        return QueueFull
    if status in (408, 504):
        return DeadlineExceeded
    if status in (502, 503):
        return CapacityError
    return UsageError if status < 500 else GlassboxError


def stream_error(error: object) -> GlassboxError:
    """Return the error that ends a stream, from what the server said of it."""
    if not isinstance(error, dict):
        return GlassboxError(str(error))
    code, message = str(error.get("code")), str(error.get("message"))
    return made_again(BY_CODE.get(code, GlassboxError), message)


@contextmanager
def our_errors(url: str, request_id: str | None = None) -> Iterator[None]:
    """Turn what goes wrong between here and a server into errors of our tree.

    Args:
        url: The server's address.
        request_id: Name of the request in the server's log, once that is known.

    Raises:
        DeadlineExceeded: No answer in time.
        Unreachable: No server, or the connection broke off.
        IntegrityError: An answer that a Glassbox server would not give.
    """
    try:
        try:
            yield
        except httpx.RequestError as error:
            raise transport_error(error, url) from error
        except ValueError as error:
            # Those of orjson and pydantic are kinds of it.
            raise foreign(_reason(error)) from error
    except GlassboxError as error:
        error.request_id = error.request_id or request_id
        raise


def transport_error(error: httpx.RequestError, url: str) -> GlassboxError:
    """Return what it means that no answer came, or not all of it."""
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(
            f"No answer from {url} in time. Give the client a longer timeout_s, or ask for less."
        )
    if isinstance(error, httpx.DecodingError):
        return foreign(str(error))
    if isinstance(error, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError):
        return broken_off(str(error) or type(error).__name__)
    return Unreachable(
        f"No server answers at {url} ({error}). Start one with 'glassbox serve', or give its "
        "address."
    )


def broken_off(reason: str) -> Unreachable:
    """Return the error of an answer that did not come to its end."""
    return Unreachable(
        f"The answer broke off ({reason}): the server, or something before it, closed the "
        "connection. Ask again."
    )


def foreign(reason: str) -> IntegrityError:
    """Return the error of an answer that a Glassbox server would not give."""
    return IntegrityError(
        f"The answer cannot be read: {reason}. Is there a Glassbox server at this address, of the "
        "client's version?"
    )


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return (
            f"it is no JSON ({error})" if isinstance(error, orjson.JSONDecodeError) else str(error)
        )
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"])) or "it"
    return f"{place}: {first['msg']}"


def _read(response: httpx.Response) -> tuple[str, str]:
    text = response.text
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        short = text[:200] or response.reason_phrase
        return "", f"The server answered {response.status_code}: {short}"
    inner = body.get("error")
    found = inner if isinstance(inner, dict) else body
    message = found.get("detail") or found.get("message") or text[:200]
    # OpenAI's clients look for codes of their own; ours stands beside them in a header.
    code = response.headers.get(ERROR_HEADER) or found.get("code")
    return str(code or ""), str(message)
