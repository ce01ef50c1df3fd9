"""What the server needs of probes, and their readings on the wire. Knows no route."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from glassbox.engine.protocol import EngineInfo
from glassbox.engine.requests import Generation, Readout
from glassbox.introspection.probes.norm_proxy import NormProxy
from glassbox.types import Scope
from glassbox.wire.extension import ProbeAnswered


class Reading(Protocol):
    """What a probe says about one request."""

    @property
    def probe_logit(self) -> float | None:
        """Log-odds over the positions it covers."""
        ...

    @property
    def probe_prob(self) -> float | None:
        """The same, calibrated."""
        ...

    @property
    def threshold(self) -> float | None:
        """Probability from which it flags."""
        ...

    @property
    def flagged(self) -> bool | None:
        """Whether it does."""
        ...

    @property
    def token_logits(self) -> np.ndarray | None:
        """Log-odds at each position."""
        ...


class Probe(Protocol):
    """What is needed of a probe here."""

    @property
    def name(self) -> str:
        """Its name, and that of its readout."""
        ...

    @property
    def scope(self) -> Scope:
        """Positions whose states it reads."""
        ...

    def readout(self) -> Readout:
        """Return the linear reading that gives its log-odds at each position."""
        ...

    def check(self, info: EngineInfo, adapter_digest: str | None = None) -> None:
        """Do nothing if it can read the model.

        Raises:
            AdapterMismatch: It was trained on another model or adapter.
        """
        ...

    def read(self, generation: Generation, *, covered: Scope = "all") -> Reading:
        """Return what it says about an answer that carries its readout.

        Args:
            generation: The answer.
            covered: Positions that the readout covers.
        """
        ...


def readout_scope(probes: Iterable[Probe]) -> Scope:
    """Return which positions the readouts of some probes have to cover.

    Where none of them reads the prompt, a prompt that is known need not be computed again.
    """
    scopes = {probe.scope for probe in probes}
    return "generated" if scopes == {"generated"} else "all"


def proxy_answered(proxy: NormProxy) -> ProbeAnswered:
    """Return the heuristic's value for the wire, marked for what it is."""
    return ProbeAnswered(
        probe_logit=None,
        probe_prob=None,
        validated=False,
        uncertainty=proxy.uncertainty,
        note=proxy.note,
    )


def probe_answered(reading: Reading) -> ProbeAnswered:
    """Return a probe's reading for the wire."""
    return ProbeAnswered(
        probe_logit=reading.probe_logit,
        probe_prob=reading.probe_prob,
        threshold=reading.threshold,
        flagged=reading.flagged,
        token_logits=reading.token_logits,
    )
