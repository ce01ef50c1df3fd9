"""What a client has agreed on with the other side: that it is there, fits, and what it knows.

The first call makes the model resident and compares versions; a function travels once and is then
named by its digest. Thread-safe. Knows nothing of results.
"""

import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from glassbox.errors import NotShipped, UnknownName, Unreachable
from glassbox.techniques import transport
from glassbox.techniques.calls import Call, Environment, Run, Shipment
from glassbox.techniques.client.loading import LoadingBar
from glassbox.techniques.protocol import Backend
from glassbox.techniques.shipping import environment
from glassbox.techniques.shipping.fingerprint import Fingerprint, fingerprint

SEND_AT_ONCE_BYTES = 2**16
"""A function up to this size travels with its first call; a larger one is named first."""

_log = logging.getLogger("glassbox.techniques")


def has_torch() -> bool:
    """Whether results can be torch tensors here; imports nothing."""
    return find_spec("torch") is not None


class Notes:
    """Remarks to the caller, each made once: in the log, and kept to be read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: list[str] = []

    def __call__(self, text: str) -> None:
        """Make a remark unless it was made before."""
        with self._lock:
            if text in self._made:
                return
            self._made.append(text)
        _log.warning("%s", text)

    @property
    def made(self) -> tuple[str, ...]:
        """Every remark so far, in order."""
        return tuple(self._made)


class Link:
    """One backend, and what is settled with it.

    Args:
        backend: What runs techniques.
        note: Takes remarks to the caller.
        expected: Model that a server must hold; None takes what it has.
    """

    def __init__(
        self, backend: Backend, note: Callable[[str], None], expected: str | None = None
    ) -> None:
        self.backend = backend
        self._note = note
        self._expected = expected
        self._starting = threading.Lock()
        self._is_ready = False
        self._load_s = 0.0
        self._here: Environment | None = None
        self._there: Environment | None = None
        self._known: set[str] = set()
        self._shipped: weakref.WeakKeyDictionary[
            Callable[..., Any], tuple[Fingerprint, Shipment]
        ] = weakref.WeakKeyDictionary()

    @property
    def is_ready(self) -> bool:
        """Whether the model is resident and fits, as far as this side knows."""
        return self._is_ready

    def ready(self, *, quiet: bool) -> None:
        """Make the model resident and look at the other side; returns at once when both were done.

        Raises:
            Unreachable: Nothing answers and nothing could be started.
            UnknownName: The server holds another model, which would answer in its place.
            GlassboxError: What was in the way of loading the model.
        """
        if self._is_ready:
            return
        with self._starting:
            # Another thread may have made it ready while this one waited.
            if self.is_ready:
                return
            begun = monotonic()
            bar = LoadingBar(quiet=quiet)
            try:
                self.backend.start(bar)
            finally:
                bar.close()
            self._load_s = monotonic() - begun
            self._check_model()
            self._there = self.backend.environment()
            self._is_ready = True

    def _check_model(self) -> None:
        if self._expected is None:
            return
        served = self.backend.model_info().model
        if Path(self._expected).name != Path(served).name:
            raise UnknownName("model on that server", self._expected, (served,))

    def take_load_s(self) -> float:
        """Return what loading took, seconds, to the first call that asks; 0 to later ones."""
        load_s, self._load_s = self._load_s, 0.0
        return load_s

    def shipment(self, function: Callable[..., Any]) -> Shipment:
        """Return a function ready to travel, taken apart only if it may have changed.

        Raises:
            NotShippable: It cannot travel; the message says which part of it and why.
            VersionMismatch: Code from here cannot run over there.
        """
        mark = fingerprint(function)
        if mark is not None:
            kept = self._shipped.get(function)
            if kept is not None and kept[0] == mark:
                return kept[1]
        shipment = transport.ship(function)
        self._compare(shipment)
        if mark is not None:
            self._shipped[function] = (mark, shipment)
        return shipment

    def submit(self, call: Call, shipment: Shipment | None, *, wait_s: float, quiet: bool) -> Run:
        """Submit a call, with its function if the other side does not know it yet.

        Raises:
            GlassboxError: As ``Backend.submit``.
        """
        try:
            return self._send(call, shipment, wait_s)
        except Unreachable as gone:
            # What was resident may have gone since.
            self._is_ready = False
            self._known.clear()
            # A call that was taken, or may have been, would run twice.
            if call.session is not None or not gone.never_arrived:
                raise
            self.ready(quiet=quiet)
            return self._send(call, shipment, wait_s)

    def _send(self, call: Call, shipment: Shipment | None, wait_s: float) -> Run:
        if shipment is None:
            return self.backend.submit(call, wait_s=wait_s)
        is_new = shipment.digest not in self._known
        if not (is_new and len(shipment.payload) <= SEND_AT_ONCE_BYTES):
            try:
                run = self.backend.submit(call, wait_s=wait_s)
            except NotShipped:
                pass
            else:
                self._known.add(shipment.digest)
                return run
        run = self.backend.submit(replace(call, shipment=shipment), wait_s=wait_s)
        self._known.add(shipment.digest)
        return run

    def _compare(self, shipment: Shipment) -> None:
        """Say which differences between the two sides matter to a function."""
        if self._there is None:
            return
        self._here = self._here or environment.here()
        for each in environment.require_compatible(
            shipment.name, self._here, self._there, shipment.imports
        ):
            if each.severity == "warning":
                self._note(str(each))
