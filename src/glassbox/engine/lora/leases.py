"""What a request holds of an adapter: first a claim, then a lease.

Knows numbers and names alone; ``tiers`` gives them out and takes them back.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """The right to acquire an adapter until it is released, even if its names are taken away.

    Says nothing of where the weights are: it is had at once and keeps no memory busy.
    """

    name: str
    """What the request calls the adapter."""
    number: int = 0
    """Of the claim; 0 holds nothing: a URL that is yet to be fetched."""


@dataclass(frozen=True)
class Lease:
    """The right to use an adapter on the device until it is released."""

    slot: int
    """Its number in a batch's rows; never given to another adapter. 0 is the base model."""
    digest: str | None
    """Its digest (hex); None is the base model."""
    number: int = 0
    """Of the lease."""


BASE_LEASE = Lease(slot=0, digest=None)
"""Stands for the base model; releasing it does nothing."""
