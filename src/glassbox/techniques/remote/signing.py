"""How a request to run a function is signed, and how a signature is looked at; pure functions.

What is signed: method, path with query, SHA-256 of the body, time, nonce and the key's name. The
key is derived from an API key (``storage.signing_keys``), which itself never travels. The body's
digest stands in the header, so that a signature is checked before a body is read. Knows nothing of
connections; whether a nonce was seen before is the server's to know.

Source: RFC 2104 for HMAC; RFC 9421 for what a signature of a request has to cover.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from glassbox.errors import AccessDenied
from glassbox.storage.signing_keys import SigningKey
from glassbox.techniques.calls import Buffer

SCHEME: Final = "Glassbox-HMAC-SHA256"
"""First word of the ``Authorization`` header."""

WINDOW_S: Final = 60.0
"""How far a request's time may be behind the server's."""

AHEAD_S: Final = 5.0
"""How far it may be ahead: machines that keep their time are apart by less than a second. A server
cannot know requests of its former life, so it has to refuse whatever may be one for this long."""

EMPTY: Final = hashlib.sha256(b"").hexdigest()
"""Digest of a request without a body."""

_FIELDS: Final = {
    "key": re.compile(r"[0-9a-f]{32}"),
    "time": re.compile(r"[0-9]{1,12}\.[0-9]{3}"),
    "nonce": re.compile(r"[A-Za-z0-9_-]{16,64}"),
    "body": re.compile(r"[0-9a-f]{64}"),
    "signature": re.compile(r"[0-9a-f]{64}"),
}


@dataclass(frozen=True)
class Signature:
    """What the header of a signed request says."""

    key: str
    """Name of the signing key."""
    time: str
    """Unix time, seconds with three decimals, as it was written."""
    nonce: str
    """Used once."""
    body: str
    """SHA-256 of the body (hex)."""
    signature: str
    """HMAC-SHA256 (hex)."""

    @property
    def time_s(self) -> float:
        """Unix time at which the request was made."""
        return float(self.time)


def body_digest(buffers: Iterable[Buffer]) -> str:
    """Return the SHA-256 (hex) of bytes that are sent one after another."""
    digest = hashlib.sha256()
    for each in buffers:
        digest.update(each)
    return digest.hexdigest()


def signed(
    key: SigningKey,
    method: str,
    target: str,
    *,
    now_s: float,
    body: str = EMPTY,
    nonce: str | None = None,
) -> str:
    """Return the ``Authorization`` header of a request.

    Args:
        key: What to sign with.
        method: HTTP method.
        target: Path with query, as it goes over the wire.
        now_s: Unix time.
        body: SHA-256 of the body (hex).
        nonce: Something that was never used before; None draws 128 random bits.
    """
    nonce = secrets.token_urlsafe(16) if nonce is None else nonce
    unsigned = Signature(key.id, f"{now_s:.3f}", nonce, body, "")
    made = _hmac(key, method, target, unsigned)
    return f"{SCHEME} key={key.id},time={unsigned.time},nonce={nonce},body={body},signature={made}"


def read(header: str) -> Signature:
    """Return what an ``Authorization`` header says.

    Raises:
        AccessDenied: It is no signature, or not a whole one.
    """
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != SCHEME.lower():
        raise AccessDenied(
            "Requests that may run functions are signed, and this one is not. The header is "
            f"'Authorization: {SCHEME} …'; InterpClient and HttpBackend write it."
        )
    found = dict(each.strip().partition("=")[::2] for each in rest.split(","))
    wrong = sorted(
        name for name, form in _FIELDS.items() if not form.fullmatch(found.get(name, ""))
    )
    if wrong or len(found) != len(_FIELDS):
        raise AccessDenied(
            f"The signature has no or a malformed {', '.join(wrong) or 'field'}; it needs "
            f"{', '.join(_FIELDS)}."
        )
    return Signature(**found)


def check(given: Signature, key: SigningKey, method: str, target: str, *, now_s: float) -> None:
    """Do nothing if a signature is good and of now.

    Args:
        given: What the header says.
        key: The key of that name.
        method: HTTP method of the request.
        target: Its path with query, as it came over the wire.
        now_s: Unix time here.

    Raises:
        AccessDenied: It was forged, is of another request, too old, or of the future.
    """
    if not key.key or not hmac.compare_digest(_hmac(key, method, target, given), given.signature):
        raise AccessDenied(
            "The signature is not that of this request and this key: another key, or something "
            "on the way changed method, path, time or body."
        )
    apart_s = given.time_s - now_s
    allowed_s = AHEAD_S if apart_s > 0 else WINDOW_S
    if abs(apart_s) > allowed_s:
        raise AccessDenied(
            f"The request was signed {abs(apart_s):.0f} s {'ahead of' if apart_s > 0 else 'before'}"
            f" this machine's time; allowed: {allowed_s:.0f} s. Sign it anew, and compare the two "
            "machines' clocks."
        )


def _hmac(key: SigningKey, method: str, target: str, given: Signature) -> str:
    content = "\n".join(
        (SCHEME, method.upper(), target, given.body, given.time, given.nonce, given.key)
    )
    return hmac.new(key.key, content.encode(), hashlib.sha256).hexdigest()
