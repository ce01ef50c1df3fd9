"""The functions that calls name: built-in ones by name, shipped ones by digest.

What was shipped is kept as it came and made a function of when it first runs, because making one
runs its modules' code. Knows shipments; knows nothing of who calls.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from glassbox.errors import AccessDenied, CorruptArtifact, NotShipped, UnknownName
from glassbox.techniques.calls import LIBRARY, Call, Shipment

KEPT_BYTES = 256 * 2**20
"""Most memory for functions as they were shipped; those called least recently go first."""


class Functions:
    """What can be called here; thread-safe.

    Args:
        allow_shipped: Whether functions are taken that came from outside.
        allowed_digests: Those alone may; None is any.
    """

    def __init__(self, *, allow_shipped: bool, allowed_digests: frozenset[str] | None) -> None:
        self._allow_shipped = allow_shipped
        self._allowed = allowed_digests
        self._guard = threading.Lock()
        self._shipped: OrderedDict[str, Shipment] = OrderedDict()
        self._made: dict[str, Callable[..., Any]] = {}
        self._n_bytes = 0

    @property
    def trusts_callers(self) -> bool:
        """Whether callers may run any code, so that unpickling theirs gives them nothing more."""
        return self._allow_shipped and self._allowed is None

    def take(self, call: Call) -> None:
        """Make sure that a call's function is known.

        Raises:
            NotShipped: It is not known by its digest and did not come along.
            AccessDenied: It may not run here.
            UnknownName: No such built-in technique.
            CorruptArtifact: The payload is not what its digest says.
        """
        name = call.technique
        if name.startswith(LIBRARY):
            _built_in(name.removeprefix(LIBRARY))
            return
        if not self._allow_shipped:
            raise AccessDenied("Only built-in techniques run here, not functions that are shipped.")
        if self._allowed is not None and name not in self._allowed:
            raise AccessDenied(
                f"The function {call.name} with digest {name} is not among those that may run "
                "here. Have it reviewed and its digest added to the list."
            )
        with self._guard:
            if name in self._shipped:
                self._shipped.move_to_end(name)
                return
        shipment = call.shipment
        if shipment is None:
            raise NotShipped(name)
        found = hashlib.sha256(shipment.payload).hexdigest()
        if not found == name == shipment.digest:
            raise CorruptArtifact(
                f"function {call.name}", f"its digest is {found[:12]}, not {name[:12]}"
            )
        self._keep(shipment)

    def get(self, name: str) -> Callable[..., Any]:
        """Return the function of a name or digest that was taken.

        Raises:
            NotShipped: It has been forgotten since.
            UnknownName: No such built-in technique.
            GlassboxError: It cannot be made here.
        """
        if name.startswith(LIBRARY):
            return _built_in(name.removeprefix(LIBRARY))
        made = self._made.get(name)
        if made is not None:
            return made
        from glassbox.techniques import transport

        with self._guard:
            shipment = self._shipped.get(name)
        if shipment is None:
            raise NotShipped(name)
        made = transport.receive(shipment)
        with self._guard:
            if name in self._shipped:
                self._made[name] = made
        return made

    def source(self, name: str) -> str:
        """Return the source text of a shipped function; empty where there is none."""
        with self._guard:
            shipment = self._shipped.get(name)
        return shipment.source if shipment is not None else ""

    def _keep(self, shipment: Shipment) -> None:
        with self._guard:
            if shipment.digest in self._shipped:
                return
            self._shipped[shipment.digest] = shipment
            self._n_bytes += len(shipment.payload)
            while self._n_bytes > KEPT_BYTES and len(self._shipped) > 1:
                digest, oldest = self._shipped.popitem(last=False)
                self._n_bytes -= len(oldest.payload)
                self._made.pop(digest, None)


def _built_in(name: str) -> Callable[..., Any]:
    from glassbox.techniques.catalogue.built_in import library

    known = library()
    if name not in known:
        raise UnknownName("technique", name, sorted(known))
    return known[name].function
