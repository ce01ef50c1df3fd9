"""What another database needs to know of an API key. Light: knows no database."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KeyRecord:
    """A key as it is known elsewhere; neither it nor what it signs with follows from this."""

    id: str
    """Names it."""
    digest: str
    """SHA-256 (hex) of the key, which is 256 random bits."""
    prefix: str
    """Its first characters."""
    name: str
    """What its owner called it."""
    scopes: tuple[str, ...]
    """What it allows."""
    created_s: float
    """Unix time."""
    signing_id: str
    """Name under which it signs."""
