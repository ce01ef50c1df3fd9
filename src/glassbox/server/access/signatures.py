"""Who signed a request, and whether it came once: the guard of everything that runs functions.

On a server with API keys a request is signed with a key that has scope ``techniques``; on one
without, with the secret in a file that only the server's owner may read. A request with an
``Origin`` is a web page's and is refused. Knows no route.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from fastapi import Request

from glassbox.errors import AccessDenied, CapacityError
from glassbox.server.access.host_names import check_host
from glassbox.server.access.key_ring import Caller, KeyRing
from glassbox.server.errors.refusals import Refusal, not_ready
from glassbox.storage.signing_keys import SigningKey, signing_key
from glassbox.techniques.remote.signing import AHEAD_S, WINDOW_S, Signature, check, read

MOST_NONCES: Final = 100_000
"""Requests of one key that are remembered at a time; one more has to wait for the window's end."""

GOOD_S: Final = WINDOW_S + AHEAD_S
"""For how long after its first arrival a request may still be good: it may be dated ahead."""

LOCAL: Final = "local"
"""The caller on a server without keys."""


class Nonces:
    """The nonces of requests that may still be good: one whose nonce is among them is a replay.

    Args:
        most: Most of one key. It is refused beyond them; forgetting one would let its replay in.
    """

    def __init__(self, most: int = MOST_NONCES) -> None:
        self._most = most
        self._seen: dict[str, OrderedDict[str, float]] = {}
        self._forgotten_s: dict[str, float] = {}

    def is_new(self, key: str, nonce: str, signed_s: float, *, now_s: float) -> bool:
        """Whether a nonce was not seen before; from now on it was.

        Args:
            key: Who signed.
            nonce: Of the request.
            signed_s: Unix time at which it was signed.
            now_s: Unix time.

        Raises:
            CapacityError: The key has sent too many requests.
        """
        seen = self._seen.setdefault(key, OrderedDict())
        while seen and next(iter(seen.values())) < now_s - GOOD_S:
            self._forgotten_s[key] = seen.popitem(last=False)[1]
        # One signed so early may be among the forgotten, which are good again where a clock that
        # was ahead has been set back.
        if nonce in seen or signed_s <= self._forgotten_s.get(key, -math.inf) + AHEAD_S:
            return False
        if len(seen) >= self._most:
            raise CapacityError(
                f"This key has sent {self._most} signed requests within {GOOD_S:.0f} s, "
                "which is the most that are told apart from replays. Try again later."
            )
        seen[nonce] = now_s
        return True


class Signatures:
    """Finds out who signed a request.

    Args:
        local_secret: Secret of a server without keys; None lets nobody in there.
        clock: Unix time in seconds.
    """

    def __init__(
        self, local_secret: str | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._local = None if local_secret is None else signing_key(local_secret)
        self._clock = clock
        # Nonces of a former life of the server are gone, so its requests are refused as a whole.
        self._started_s = clock()
        self._nonces = Nonces()

    async def caller(
        self, request: Request, keys: KeyRing, hosts: frozenset[str] | None
    ) -> tuple[Caller, Signature]:
        """Return who signed a request, and what the signature covers; once for each request.

        Args:
            request: Its body need not have been read.
            keys: The keys of this server.
            hosts: Names of this server while it has no keys.

        Raises:
            Refusal: 401 for a signature that is none, forged, of another time, or a replay; 403
                for a web page, and for a key without the scope; 503 in the first seconds of a
                server with keys.
            CapacityError: The database of keys does not answer, or too many requests were signed.
        """
        if "origin" in request.headers:
            raise Refusal(
                403,
                "A web page asks for functions to be run, which no page may. Programs send no "
                "'Origin'.",
            )
        has_keys = await keys.needs_key()
        if not has_keys:
            check_host(request, hosts)
        try:
            given = read(request.headers.get("authorization", ""))
            caller, key = await self._signer(keys if has_keys else None, given)
            check(given, key, request.method, _target(request), now_s=self._clock())
        except AccessDenied as error:
            raise _unauthorised(str(error)) from error
        request.state.key_id = caller.client
        self._once(given, has_keys=has_keys)
        return caller, given

    async def _signer(self, keys: KeyRing | None, given: Signature) -> tuple[Caller, SigningKey]:
        if keys is None:
            if self._local is None or given.key != self._local.id:
                raise AccessDenied(
                    "The request is not signed with this server's own secret. The server has no "
                    "keys yet: who runs it calls it without a key, its secret being in a file "
                    "below techniques.folder that is new after each start. Others need one of "
                    "'glassbox keys create NAME --scope techniques'."
                )
            return Caller(client=LOCAL, key=None), self._local
        found = await keys.find_signing(given.key)
        if found is None and self._local is not None and given.key == self._local.id:
            raise AccessDenied(
                "Keys were made for this server, and since then it runs functions for them alone. "
                "Give one with the scope techniques (--key, or api_key in Python)."
            )
        if found is None:
            raise AccessDenied(
                f"No key of this server signs as {given.key[:8]}…: it was revoked, is another "
                "server's, or was made before functions could be run. Make one with "
                "'glassbox keys create NAME --scope techniques'."
            )
        key, signs = found
        if not key.allows("techniques"):
            raise Refusal(
                403,
                f"The key {key.prefix}… has scope {', '.join(key.scopes)}; this call needs "
                "'techniques'. Make one with 'glassbox keys create NAME --scope techniques'.",
            )
        return Caller(client=key.id, key=key), signs

    def _once(self, given: Signature, *, has_keys: bool) -> None:
        # A former life of this server took requests dated up to AHEAD_S after its end.
        known_s = self._started_s + AHEAD_S
        if has_keys and given.time_s <= known_s:
            left_s = known_s - self._clock()
            # Its connection may have waited for this very start.
            if left_s >= 0:
                raise not_ready(
                    f"The server has just started, and cannot tell for {left_s:.1f} s yet whether "
                    "a request came before. Sign it anew then.",
                    math.floor(left_s) + 1,
                )
            raise _unauthorised(
                "The request was signed before this server started, or within "
                f"{AHEAD_S:.0f} s of it, and it cannot be known whether it came before. Sign it "
                "anew."
            )
        if not self._nonces.is_new(given.key, given.nonce, given.time_s, now_s=self._clock()):
            raise Refusal(
                401,
                "This very request came before, or so long ago that nobody can tell: a signed "
                "request is taken once. Sign it anew.",
                code="replayed-request",
            )


def _target(request: Request) -> str:
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _unauthorised(detail: str) -> Refusal:
    return Refusal(
        401,
        detail,
        code="bad-signature",
        headers={"www-authenticate": 'Glassbox-HMAC-SHA256 realm="glassbox"'},
    )
