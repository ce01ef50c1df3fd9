"""What verifying needs of a probe, whatever its kind; knows none."""

from typing import Protocol, runtime_checkable

from glassbox.engine.requests import Generation, Readout


@runtime_checkable
class PooledReading(Protocol):
    """What this module needs of a probe's reading."""

    @property
    def probe_logit(self) -> float | None:
        """Log-odds that the probe reads; None where its scope is empty."""
        ...


class ReadableProbe(Protocol):
    """What this module needs of a probe: a linear reading of states, and its pooled value."""

    @property
    def name(self) -> str:
        """Key of its readings."""
        ...

    def readout(self) -> Readout:
        """Return the direction that the engine reads at every position."""
        ...

    def read(self, generation: Generation) -> PooledReading:
        """Return the pooled reading of a generation that carries the readout's values."""
        ...
