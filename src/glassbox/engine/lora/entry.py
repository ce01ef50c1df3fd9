"""One registered adapter, whatever its weights are: who names it, who uses it, where it is.

Knows no locks and no budgets; ``tiers`` moves it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

from glassbox.engine.requests import AdapterInfo


@runtime_checkable
class Weights(Protocol):
    """What moves between the tiers."""

    @property
    def digest(self) -> str:
        """SHA-256 of where it comes from (hex)."""
        ...

    @property
    def rank(self) -> int:
        """Largest rank among its layers."""
        ...

    @property
    def n_bytes(self) -> int:
        """Memory it takes."""
        ...


W = TypeVar("W", bound=Weights)


@dataclass(eq=False)
class Entry(Generic[W]):
    """One adapter under all its names."""

    digest: str
    """SHA-256 of where it comes from (hex)."""
    rank: int
    """Largest rank among its layers."""
    n_bytes: int
    """Memory it takes in each tier."""
    load: Callable[[], W]
    """Reads the weights from disk to the host."""
    names: set[str] = field(default_factory=set)
    """What requests may call it; empty: it leaves when its last claim and lease end."""
    claims: int = 0
    """Claims on it, which keep it known wherever its weights are."""
    pins: int = 0
    """Leases on it, those on their way included, which keep it on the device."""
    host: W | None = None
    """Weights on the host, if they are kept there."""
    device: W | None = None
    """Weights on the device, if they are there."""
    slot: int = 0
    """Its number on the device."""

    def info(self, name: str) -> AdapterInfo:
        """Return what is known of it under one of its names."""
        where: Literal["disk", "host", "device"] = "disk" if self.host is None else "host"
        if self.device is not None:
            where = "device"
        return AdapterInfo(name, self.digest, self.rank, self.n_bytes, where)
