"""What an API key signs with: derived from the key, so that the key itself never has to travel.

Nothing but the standard library, because clients derive it too. Knows nothing of requests.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

_KEY: Final = b"glassbox signing key, version 1"
_ID: Final = b"glassbox signing key's name, version 1"


@dataclass(frozen=True)
class SigningKey:
    """A key that signs, and the name under which a server finds it."""

    id: str
    """32 hexadecimal digits; no secret."""
    key: bytes = b""
    """32 secret bytes."""

    def __repr__(self) -> str:
        """Return the name alone: logs and tracebacks show what they hold."""
        return f"SigningKey({self.id!r})"


def signing_key(secret: str) -> SigningKey:
    """Return what an API key signs with.

    Neither the API key nor its kept SHA-256 follows from it, and it does not follow from that
    SHA-256.

    Source: RFC 5869 (HKDF), its expansion step with the API key, 256 random bits, as the key.
    """
    return SigningKey(
        id=hmac.digest(secret.encode(), _ID, hashlib.sha256).hex()[:32],
        key=hmac.digest(secret.encode(), _KEY, hashlib.sha256),
    )
