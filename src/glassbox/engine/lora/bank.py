"""Many LoRA adapters on one resident model, each row of a batch answered by its own.

Puts the pieces together: folders are read and checked, weights move between the tiers, and around
a forward pass the updates are added to the rows they belong to. The base model's rows are touched
by nothing, so its answer is the same bit for bit. Knows nothing of prompts or requests.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int

from glassbox.engine.lora.files import read_adapter
from glassbox.engine.lora.leases import BASE_LEASE, Claim, Lease
from glassbox.engine.lora.object_store import DISK_BYTES, AdapterStore, is_url
from glassbox.engine.lora.plan import BASE_SLOT, Rows
from glassbox.engine.lora.single_flight import SingleFlight
from glassbox.engine.lora.tables import Tables
from glassbox.engine.lora.tiers import AdapterTiers
from glassbox.engine.lora.update import Update, update_of_one, update_of_rows, updating
from glassbox.engine.lora.urls import NamedUrls
from glassbox.engine.lora.weights import AdapterWeights, BaseModel, linear_layers, prepare
from glassbox.engine.model.memory import running_out_named
from glassbox.engine.requests import AdapterInfo
from glassbox.errors import (
    ConflictError,
    CorruptArtifact,
    InvalidValue,
    UnknownName,
)

HOST_BYTES = 2 * 2**30
"""Memory for adapters on the host unless told otherwise."""

DEVICE_BYTES = 2**30
"""Memory for adapters on the device unless told otherwise: some 30 of rank 16 on the attention of
an 8B model in 16 bits."""

N_URLS = 1000
"""URLs that stay known because requests named them, unless told otherwise."""

WAIT_S = 30.0
"""How long a request waits for room beside adapters in use unless told otherwise."""


@dataclass(frozen=True)
class AdapterPlaces:
    """How much room adapters may take, and where they may come from."""

    host_bytes: int = HOST_BYTES
    """Most memory for adapters kept on the host."""
    device_bytes: int = DEVICE_BYTES
    """Most memory for adapters on the device. Batches that mix adapters need as much again for the
    adapters in them, padded to the largest rank."""
    folder: Path | None = None
    """Where adapters from object stores are kept; None fetches none."""
    disk_bytes: int = DISK_BYTES
    """Most disk for them."""
    url_prefix: str = ""
    """Start of the URLs that requests may name without their being loaded before."""
    n_urls: int = N_URLS
    """Most of these that stay known; the one named least recently is forgotten first."""

    def __post_init__(self) -> None:
        if self.n_urls < 1:
            raise InvalidValue("n_urls", self.n_urls, "1 or more")


_Key = tuple[tuple[tuple[int, int], ...], bytes | None]


class AdapterBank:
    """The adapters of one resident model.

    Registering, acquiring and releasing may happen on any thread, beside running passes;
    ``applying`` and ``applying_all`` belong to the one thread that runs the model.

    Args:
        base: The resident model, without any adapter.
        places: How much room they may take, and where they may come from.
    """

    def __init__(self, base: BaseModel, places: AdapterPlaces | None = None) -> None:
        places = places or AdapterPlaces()
        self.base = base
        self._layers = linear_layers(base.model)
        head = base.model.get_output_embeddings()
        self._head = next((name for name, each in self._layers.items() if each is head), "")
        self.store = AdapterStore(
            places.folder, prefix=places.url_prefix, disk_bytes=places.disk_bytes
        )
        self._tables = Tables()
        self._last: tuple[_Key, Update] | None = None
        self._is_running = False
        self._named_urls = NamedUrls(places.n_urls)
        self._fetches: SingleFlight[str, None] = SingleFlight()
        self.tiers: AdapterTiers[AdapterWeights] = AdapterTiers(
            host_bytes=places.host_bytes,
            device_bytes=places.device_bytes,
            upload=self._upload,
            dropped=self._forget,
        )
        """Where the weights are."""

    def register(self, source: Path | str, name: str | None = None) -> AdapterInfo:
        """Return what is known of an adapter that requests may name from now on.

        Registering the same adapter under the same name again does nothing.

        Args:
            source: Its folder, or its URL in an object store.
            name: Its name; its digest by default.

        Raises:
            UnknownName: There is no such folder.
            CorruptArtifact: The folder is no complete PEFT adapter.
            AdapterMismatch: It was made for another base model or does not fit its shapes.
            UnsupportedModel: It is not plain LoRA.
            ConflictError: Another adapter has that name.
            OutOfMemory: It is larger than the whole device tier.
            DependencyMissing: A URL without the library that fetches it.
        """
        info = self._register(source, name)
        # What was loaded on purpose is not forgotten as requests name others.
        self._named_urls.discard(info.name)
        return info

    def infos(self) -> tuple[AdapterInfo, ...]:
        """Return the adapters that requests may name, sorted by name."""
        return self.tiers.infos()

    def claim(self, name: str) -> Claim:
        """Return the right to acquire an adapter later, whoever unloads it meanwhile.

        Needs neither the disk nor waiting; nothing is fetched.

        Args:
            name: Name, digest, or a URL that requests may name.

        Raises:
            UnknownName: No such adapter.
            ConflictError: The bank is closed.
        """
        self._named_urls.touch(name)
        try:
            return self.tiers.claim(name)
        except UnknownName:
            if not self._is_offered(name):
                raise
            return Claim(name)

    def unregister(self, name: str, *, timeout_s: float | None = None) -> bool:
        """Return whether the adapter's memory is free; new requests cannot name it from now on.

        Args:
            name: Its name, or its digest, which takes all its names away.
            timeout_s: How long to wait for the requests that use it; None as long as it takes.

        Raises:
            UnknownName: No such adapter.
        """
        self._named_urls.discard(name)
        return self.tiers.unregister(name, timeout_s=timeout_s)

    def acquire(self, adapter: str | Claim, *, timeout_s: float = WAIT_S) -> Lease:
        """Return a lease on an adapter, now on the device and pinned there.

        May read the disk or the network and wait for room: not for the model's own thread.

        Args:
            adapter: Name or digest, or a claim; a URL that requests may name is fetched.
            timeout_s: How long to wait for room beside adapters in use.

        Raises:
            UnknownName: No such adapter.
            CorruptArtifact: Its files have changed since it was registered.
            CapacityError: The device was full of adapters in use for too long.
            OutOfMemory: The device has no room although the budget does.
        """
        if isinstance(adapter, Claim) and adapter.number:
            return self.tiers.acquire(adapter, timeout_s=timeout_s)
        claim = self._fetched(adapter.name if isinstance(adapter, Claim) else adapter)
        try:
            return self.tiers.acquire(claim, timeout_s=timeout_s)
        finally:
            self.tiers.release(claim)

    def acquire_now(self, adapter: str | Claim) -> Lease | None:
        """Return a lease on an adapter that is on the device already, else None; for any thread.

        None too while others wait for room there: who comes later is not served before them.

        Args:
            adapter: Name or digest, or a claim.
        """
        return self.tiers.acquire_now(adapter)

    def release(self, held: Claim | Lease) -> None:
        """End a claim or a lease; ending it again does nothing."""
        self.tiers.release(held)

    def close(self) -> None:
        """Forget all adapters and give their memory back, of those in use when that ends.

        Like ``applying`` for the thread whose turn at the model it is. Whoever asks for an adapter
        from now on is told that the engine is closed.
        """
        self.tiers.close()
        self._tables.clear()
        self._last = None

    @contextmanager
    def leased(self, name: str | None) -> Iterator[Lease]:
        """Lease an adapter inside the block; None is the base model.

        Raises:
            GlassboxError: As ``acquire``.
        """
        lease = BASE_LEASE if name is None else self.acquire(name)
        try:
            yield lease
        finally:
            self.release(lease)

    def applying(
        self, rows: Rows, reads: Int[np.ndarray, " n_reads"] | None = None
    ) -> AbstractContextManager[None]:
        """Update each row of a flat batch by its adapter, for one forward pass.

        Args:
            rows: (slot of a lease, number of tokens) of each row in the order of the batch; slot 0
                is the base model.
            reads: Places of the flat batch (ascending) to which the output head is cut down; None
                where it sees all.

        Raises:
            ConflictError: A slot without a lease, or another pass is under way.
        """
        slots = {slot for slot, _ in rows} - {BASE_SLOT}
        if not slots:
            return nullcontext()
        adapters = {slot: self.tiers.on_device(slot) for slot in slots}
        if not any(self._head in adapter.layers for adapter in adapters.values()):
            reads = None
        key = (tuple(rows), None if reads is None else reads.tobytes())
        last = self._last
        if last is not None and last[0] == key:
            return self._running(last[1])
        if len(slots) == 1 and all(slot for slot, _ in rows):
            return self.applying_all(slots.pop())
        # The tables are about to change under whatever was planned before.
        self._last = None
        update = update_of_rows(rows, reads, adapters, self._tables)
        self._last = (key, update)
        return self._running(update)

    def applying_all(self, slot: int) -> AbstractContextManager[None]:
        """Update every token by one adapter inside the block, whatever the batches look like.

        Args:
            slot: Slot of a lease; 0 is the base model.

        Raises:
            ConflictError: A slot without a lease, or another pass is under way.
        """
        if slot == BASE_SLOT:
            return nullcontext()
        return self._running(update_of_one(self.tiers.on_device(slot)))

    @contextmanager
    def _running(self, update: Update) -> Iterator[None]:
        if self._is_running:
            raise ConflictError("One forward pass at a time: another one's adapters are in place.")
        self._is_running = True
        try:
            with updating(self._layers, update):
                yield
        finally:
            self._is_running = False

    def _register(self, source: Path | str, name: str | None) -> AdapterInfo:
        weights = self._read(source)
        name = weights.digest if name is None else name
        if not name:
            raise InvalidValue("the adapter's name", name, "a text that is not empty")
        if name == self.base.name:
            raise ConflictError(f"{name!r} is the name of the base model. Choose another name.")
        return self.tiers.register(name, weights, lambda: self._again(source, weights.digest))

    def _is_offered(self, name: str) -> bool:
        """Return whether requests may name an adapter by this URL that nobody has loaded."""
        return is_url(name) and self.store.allows(name)

    def _fetched(self, name: str) -> Claim:
        """Return a claim on an adapter that is registered, now if it was not before."""
        claim = self.claim(name)
        while not claim.number:
            self._fetches.run(name, partial(self._fetch, name))
            claim = self.claim(name)
        return claim

    def _fetch(self, url: str) -> None:
        """Make an adapter known by its URL, and forget what nobody has named for long."""
        if any(url == info.name for info in self.tiers.infos()):
            # Another thread was here between our look and our turn.
            return
        self._register(url, url)
        for each in self._named_urls.add(url):
            with suppress(UnknownName):
                self.tiers.unregister(each, timeout_s=0)

    def _read(self, source: Path | str, *, fresh: bool = True) -> AdapterWeights:
        if isinstance(source, str) and is_url(source):
            with self.store.fetched(source, fresh=fresh) as folder:
                return prepare(read_adapter(folder), self.base, self._layers)
        return prepare(read_adapter(Path(source)), self.base, self._layers)

    def _again(self, source: Path | str, digest: str) -> AdapterWeights:
        if not is_url(source) and not Path(source).is_dir():
            # Who names the adapter now has made no mistake: it was there.
            raise CorruptArtifact(
                source,
                "the adapter's folder is gone since it was loaded",
                remedy="Put it back, or unload it.",
            )
        weights = self._read(source, fresh=False)
        if weights.digest != digest:
            raise CorruptArtifact(
                source,
                f"the adapter has changed since it was loaded: its digest is "
                f"{weights.digest[:12]}, it was {digest[:12]}",
                remedy="Unload it and load it again.",
            )
        return weights

    def _upload(self, weights: AdapterWeights) -> AdapterWeights:
        def too_much() -> str:
            return (
                f"Adapter {weights.digest[:12]} does not fit beside the model: "
                f"{weights.n_bytes:,} bytes. Free device memory, or lower "
                "engine.adapter_device_bytes so that fewer adapters are kept there."
            )

        with running_out_named(too_much):
            return weights.to(self.base.model.device)

    def _forget(self, slot: int) -> None:
        last = self._last
        if last is not None and any(slot == each for each, _ in last[0][0]):
            self._last = None
