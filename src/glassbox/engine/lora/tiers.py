"""Where each adapter's weights are: on disk, in host memory, on the device, within byte budgets.

Registered is not resident: a registered adapter is brought to the device when a request asks for
it, by one thread while others wait for the same load, and it stays pinned there until the last
lease on it ends. Whoever was used least recently goes first; who is pinned never goes. A device
full of pinned adapters makes callers wait in line, and after a while tells them so. While somebody
waits, nobody who comes later is served first: steady traffic on some adapters keeps none out.

Thread-safe. Knows sizes, names and digests; what the weights are and how they move is handed in.
"""

import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Generic

from glassbox.engine.lora.entry import Entry, W
from glassbox.engine.lora.host import HostTier
from glassbox.engine.lora.leases import Claim, Lease
from glassbox.engine.lora.single_flight import SingleFlight
from glassbox.engine.requests import AdapterInfo
from glassbox.errors import CapacityError, ConflictError, InvalidValue, OutOfMemory, UnknownName
from glassbox.wording import counted


class _DeviceFull(CapacityError):
    """No adapter in use left the device in time."""


class AdapterTiers(Generic[W]):
    """The registered adapters and their places.

    Args:
        host_bytes: Most memory for weights kept on the host.
        device_bytes: Most memory for weights on the device.
        upload: Brings weights from the host to the device; raises ``OutOfMemory``.
        dropped: Told that a slot's weights have left the device.
    """

    def __init__(
        self,
        *,
        host_bytes: int,
        device_bytes: int,
        upload: Callable[[W], W],
        dropped: Callable[[int], None] = lambda _slot: None,
    ) -> None:
        for what, value in (("host bytes", host_bytes), ("device bytes", device_bytes)):
            if value < 0:
                raise InvalidValue(f"adapter {what}", value, "0 or more")
        self.device_capacity_bytes = device_bytes
        self.device_bytes = 0
        """Bytes on the device, those on their way included."""
        self._upload = upload
        self._dropped = dropped
        self._changed = threading.Condition()
        self._names: dict[str, Entry[W]] = {}
        self._digests: dict[str, Entry[W]] = {}
        self._host: HostTier[W] = HostTier(host_bytes)
        self._device: OrderedDict[Entry[W], None] = OrderedDict()
        self._claims: dict[int, Entry[W]] = {}
        self._leases: dict[int, Entry[W]] = {}
        self._numbers = itertools.count(1)
        self._slots: dict[int, W] = {}
        self._slot_numbers = itertools.count(1)
        self._line: deque[object] = deque()
        """Those who wait for room on the device, and those who came after them."""
        self._loads: SingleFlight[Entry[W], None] = SingleFlight()
        self._is_closed = False

    @property
    def host_bytes(self) -> int:
        """Bytes kept on the host."""
        return self._host.n_bytes

    def register(self, name: str, weights: W, load: Callable[[], W]) -> AdapterInfo:
        """Return what is known of an adapter that requests may name from now on.

        Args:
            name: Its name; the same adapter may have several.
            weights: As just read; kept on the host if there is room.
            load: Reads them again.

        Raises:
            ConflictError: Another adapter has that name, or that digest as its name; or closed.
            OutOfMemory: It is larger than the whole device tier.
        """
        if weights.n_bytes > self.device_capacity_bytes:
            raise OutOfMemory(
                f"Adapter {name!r} takes {weights.n_bytes:,} bytes; all adapters on the device may "
                f"take {self.device_capacity_bytes:,}. Raise engine.adapter_device_bytes."
            )
        with self._changed:
            self._check_open()
            for word in (name, weights.digest):
                held = self._names.get(word) or self._digests.get(word)
                if held is not None and held.digest != weights.digest:
                    raise ConflictError(
                        f"The name {word!r} belongs to adapter {held.digest[:12]}; this one is "
                        f"{weights.digest[:12]}. Unload the first, or choose another name."
                    )
            entry = self._digests.get(weights.digest)
            if entry is None:
                entry = Entry(weights.digest, weights.rank, weights.n_bytes, load)
                self._digests[entry.digest] = entry
            entry.load = load
            entry.names.add(name)
            self._names[name] = entry
            self._host.keep(entry, weights)
            self._changed.notify_all()
            return entry.info(name)

    def infos(self) -> tuple[AdapterInfo, ...]:
        """Return the adapters that requests may name, sorted by name."""
        with self._changed:
            return tuple(self._names[name].info(name) for name in sorted(self._names))

    def unregister(self, name: str, *, timeout_s: float | None = None) -> bool:
        """Return whether the adapter's memory is free; new requests cannot name it from now on.

        Args:
            name: Its name, or its digest, which takes all its names away.
            timeout_s: How long to wait for the requests that use it; None as long as it takes.
                The memory of one that is still in use is freed when the last of them ends.

        Raises:
            UnknownName: No such adapter.
        """
        with self._changed:
            entry = self._find(name)
            gone = {name} if name in self._names else set(entry.names)
            entry.names -= gone
            for each in gone:
                del self._names[each]
            self._drop_if_unwanted(entry)
            return self._changed.wait_for(
                lambda: bool(entry.names) or self._digests.get(entry.digest) is not entry,
                timeout=timeout_s,
            )

    def close(self) -> None:
        """Take all names away for good and free the memory, of adapters in use when that ends."""
        with self._changed:
            self._is_closed = True
            self._names.clear()
            for entry in list(self._digests.values()):
                entry.names.clear()
                self._drop_if_unwanted(entry)

    def claim(self, name: str) -> Claim:
        """Return the right to acquire an adapter later.

        Args:
            name: Its name or digest.

        Raises:
            UnknownName: No such adapter.
        """
        with self._changed:
            entry = self._find(name)
            entry.claims += 1
            claim = Claim(name, next(self._numbers))
            self._claims[claim.number] = entry
            return claim

    def acquire(self, adapter: str | Claim, *, timeout_s: float) -> Lease:
        """Return a lease on an adapter that is on the device until the lease is released.

        Args:
            adapter: Its name or digest, or a claim on it.
            timeout_s: How long to wait for room beside pinned adapters.

        Raises:
            UnknownName: No such adapter.
            CorruptArtifact: Its files have changed since it was registered.
            CapacityError: The device was full of adapters in use for too long.
            OutOfMemory: The device has no room although the budget does.
        """
        until = time.monotonic() + timeout_s
        entry = self._pinned(adapter, until)
        try:
            while entry.device is None:
                self._bring(entry, until)
        except BaseException:
            with self._changed:
                self._unpin(entry)
            raise
        with self._changed:
            return self._lease(entry)

    def acquire_now(self, adapter: str | Claim) -> Lease | None:
        """Return a lease on an adapter that is on the device, if nobody waits for room, else None.

        Reads, waits for and moves nothing.

        Args:
            adapter: Its name or digest, or a claim on it.
        """
        with self._changed:
            try:
                entry = self._find(adapter)
            except (UnknownName, ConflictError):
                return None
            if self._line or entry.device is None:
                return None
            entry.pins += 1
            return self._lease(entry)

    def release(self, held: Claim | Lease) -> None:
        """End a claim or a lease; ending it again does nothing."""
        with self._changed:
            if isinstance(held, Claim):
                entry = self._claims.pop(held.number, None)
                if entry is not None:
                    entry.claims -= 1
                    self._drop_if_unwanted(entry)
            else:
                entry = self._leases.pop(held.number, None)
                if entry is not None:
                    self._unpin(entry)

    def on_device(self, slot: int) -> W:
        """Return the weights in a slot.

        Raises:
            ConflictError: The slot's lease has ended.
        """
        try:
            return self._slots[slot]
        except KeyError:
            raise ConflictError(
                f"Adapter slot {slot} holds nothing: its lease has ended, or never was."
            ) from None

    def _find(self, adapter: str | Claim) -> Entry[W]:
        if isinstance(adapter, Claim):
            claimed = self._claims.get(adapter.number)
            if claimed is not None:
                return claimed
            adapter = adapter.name
        self._check_open()
        entry = self._names.get(adapter) or self._digests.get(adapter)
        if entry is None or not entry.names:
            whole = [digest for digest, each in self._digests.items() if each.names]
            is_prefix = len(adapter) >= 4 and any(digest.startswith(adapter) for digest in whole)
            remedy = "Give the whole digest." if is_prefix else "Load it first."
            raise UnknownName("adapter", adapter, sorted(self._names), remedy=remedy)
        return entry

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConflictError("The engine is closed: load the model again.")

    def _pinned(self, adapter: str | Claim, until: float) -> Entry[W]:
        """Return an adapter that stays on the device if it is there, or once it gets there."""
        with self._changed:
            entry = self._find(adapter)
            entry.claims += 1
            try:
                if entry.device is not None and self._line:
                    # Pinned at once, it would keep those from getting room who were here before.
                    # Out of patience it is served all the same: it is here and needs no room.
                    self._wait_in_line(until)
                entry.pins += 1
            finally:
                entry.claims -= 1
                self._drop_if_unwanted(entry)
            return entry

    def _lease(self, entry: Entry[W]) -> Lease:
        """Return a lease on an entry that is pinned for it."""
        lease = Lease(entry.slot, entry.digest, next(self._numbers))
        self._leases[lease.number] = entry
        self._device.move_to_end(entry)
        return lease

    def _wait_in_line(self, until: float, is_ready: Callable[[], bool] = lambda: True) -> bool:
        """Return whether it came in time that nobody was before us and we were ready."""
        us = object()
        self._line.append(us)
        try:
            return self._changed.wait_for(
                lambda: self._line[0] is us and is_ready(), max(0.0, until - time.monotonic())
            )
        finally:
            self._line.remove(us)
            self._changed.notify_all()

    def _bring(self, entry: Entry[W], until: float) -> None:
        """Bring a pinned entry to the device, or try to: by one thread however many ask."""
        try:
            self._loads.run(entry, partial(self._load, entry, until))
        except _DeviceFull:
            # Another's patience may have ended sooner than ours.
            if time.monotonic() >= until:
                raise

    def _load(self, entry: Entry[W], until: float) -> None:
        with self._changed:
            if entry.device is not None:
                return
            weights = self._host.use(entry)
        if weights is None:
            weights = entry.load()
            with self._changed:
                self._host.keep(entry, weights)
        with self._changed:
            if not self._wait_in_line(until, partial(self._make_room, entry.n_bytes)):
                raise self._full(entry)
            self.device_bytes += entry.n_bytes
        try:
            device = self._uploaded(weights)
        except BaseException:
            with self._changed:
                self.device_bytes -= entry.n_bytes
                self._changed.notify_all()
            raise
        with self._changed:
            entry.slot, entry.device = next(self._slot_numbers), device
            self._slots[entry.slot] = device
            self._device[entry] = None
            self._changed.notify_all()

    def _uploaded(self, weights: W) -> W:
        while True:
            try:
                return self._upload(weights)
            except OutOfMemory:
                with self._changed:
                    if not self._evict_one():
                        raise

    def _full(self, entry: Entry[W]) -> "_DeviceFull":
        with self._changed:
            n_pinned = sum(1 for each in self._device if each.pins)
        return _DeviceFull(
            f"No room on the device for adapter {entry.digest[:12]} ({entry.n_bytes:,} bytes): "
            f"{counted(n_pinned, 'adapter in use fills', 'adapters in use fill')} the "
            f"{self.device_capacity_bytes:,} bytes of "
            "engine.adapter_device_bytes. Try again later, or raise that."
        )

    def _make_room(self, n_bytes: int) -> bool:
        """Return whether so many bytes are free, after evicting for them what is not pinned."""
        idle = sum(each.n_bytes for each in self._device if not each.pins)
        if self.device_bytes - idle + n_bytes > self.device_capacity_bytes:
            return False
        while self.device_bytes + n_bytes > self.device_capacity_bytes:
            self._evict_one()
        return True

    def _evict_one(self) -> bool:
        """Return whether the idle adapter that was used least recently could leave the device."""
        idle = next((each for each in self._device if not each.pins), None)
        if idle is not None:
            self._leave_device(idle)
        return idle is not None

    def _leave_device(self, entry: Entry[W]) -> None:
        del self._device[entry]
        entry.device = None
        self.device_bytes -= entry.n_bytes
        del self._slots[entry.slot]
        self._dropped(entry.slot)
        self._changed.notify_all()

    def _unpin(self, entry: Entry[W]) -> None:
        entry.pins -= 1
        self._drop_if_unwanted(entry)
        self._changed.notify_all()

    def _drop_if_unwanted(self, entry: Entry[W]) -> None:
        if entry.names or entry.claims or entry.pins:
            return
        if entry.device is not None:
            self._leave_device(entry)
        self._host.drop(entry)
        del self._digests[entry.digest]
        self._changed.notify_all()
