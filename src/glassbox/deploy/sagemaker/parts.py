"""What is put into the object store for a deployment: bundles file by file, adapters packed.

A bundle's files keep their names below a prefix that carries its digest, so SageMaker lays them out
as they were, nothing is compressed for nothing, and what was put once is not put again. Knows files
and addresses; talks to nobody.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glassbox.deploy.bundle.archive import write_archive
from glassbox.deploy.bundle.description import BUNDLE_FILE, Bundle
from glassbox.deploy.sagemaker.calls import Put, Upload
from glassbox.deploy.sagemaker.naming import BUNDLE_TAG, DEPLOYMENT_TAG
from glassbox.errors import AdapterMismatch, InvalidValue
from glassbox.settings import EndpointSettings

_DIGITS = 12


@dataclass(frozen=True)
class Served:
    """A bundle that is to be served, and where its files lie."""

    bundle: Bundle
    """What it holds."""
    folder: Path
    """Its folder."""


@dataclass(frozen=True)
class PackedAdapter:
    """An adapter as one ``.tar.gz``."""

    name: str
    """As people call it."""
    path: Path
    """Where the archive lies."""
    digest: str
    """SHA-256 (hex) of the adapter, as an engine reports it."""
    sha256: str
    """Of the archive (hex)."""
    note: str = ""
    """What could not be made sure of, for people."""


@dataclass(frozen=True)
class Parts:
    """What a deployment is made of."""

    served: Served
    """What answers."""
    shadow: Served | None = None
    """What gets copies, if anything."""
    adapters: tuple[PackedAdapter, ...] = ()
    """Adapters that requests may name beside those in the bundle."""
    environment: Mapping[str, str] | None = None
    """Further variables of the container."""


class Store:
    """Addresses of a deployment's objects.

    Args:
        settings: With ``artifacts`` and ``name``.

    Raises:
        InvalidValue: ``artifacts`` is no address of an object store.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        bucket, _, prefix = settings.artifacts.removeprefix("s3://").partition("/")
        if not settings.artifacts.startswith("s3://") or not bucket:
            raise InvalidValue(
                "endpoint.artifacts",
                settings.artifacts,
                "s3://bucket/prefix",
                remedy="Name a bucket of yours in the endpoint's region (--artifacts).",
            )
        self.bucket = bucket
        self._base = "/".join([f"s3://{bucket}", *(part for part in prefix.split("/") if part)])
        self._settings = settings

    @property
    def bundles(self) -> str:
        """Prefix of the bundles."""
        return f"{self._base}/bundles/{self._settings.name}/"

    @property
    def adapters(self) -> str:
        """Prefix of the packed adapters."""
        return f"{self._base}/adapters/{self._settings.name}/"

    @property
    def answers(self) -> str:
        """Prefix of the answers that are too large to be sent, which the container writes."""
        return f"{self._base}/answers/{self._settings.name}/"

    def bundle(self, bundle: Bundle) -> str:
        """Return the prefix of a bundle's files."""
        return f"{self.bundles}{bundle.digest}/"

    def adapter(self, packed: PackedAdapter) -> str:
        """Return the address of a packed adapter: another content has another one."""
        return f"{self.adapters}{packed.name}-{packed.digest[:_DIGITS]}.tar.gz"

    def put_bundle(self, served: Served) -> Put:
        """Return the files of a bundle to put; the description comes last."""
        prefix = self.bundle(served.bundle)
        files = {path: (each.sha256, each.n_bytes) for path, each in served.bundle.files.items()}
        description = (served.folder / BUNDLE_FILE).read_bytes()
        last = (hashlib.sha256(description).hexdigest(), len(description))
        uploads = tuple(
            self._upload(served.folder / path, prefix + path, *hashed, served.bundle.digest)
            for path, hashed in [*sorted(files.items()), (BUNDLE_FILE, last)]
        )
        return Put(uploads, f"bundle {served.bundle.name} ({served.bundle.digest[:_DIGITS]})")

    def put_adapter(self, packed: PackedAdapter) -> Put:
        """Return a packed adapter to put."""
        n_bytes = packed.path.stat().st_size
        one = self._upload(packed.path, self.adapter(packed), packed.sha256, n_bytes, packed.digest)
        return Put((one,), f"adapter {packed.name} ({packed.digest[:_DIGITS]})")

    def _upload(self, source: Path, url: str, sha256: str, n_bytes: int, digest: str) -> Upload:
        tags = {DEPLOYMENT_TAG: self._settings.name, BUNDLE_TAG: digest}
        return Upload(source, url, sha256, n_bytes, tags, self._settings.kms_key)


def pack_adapter(name: str, folder: Path, bundle: Bundle, out: Path) -> PackedAdapter:
    """Return an adapter as one archive, made for the base model of a bundle.

    The same adapter gives the same bytes.

    Args:
        name: As people call it.
        folder: Its folder, as ``glassbox tune`` or PEFT wrote it.
        bundle: What it is to stand on.
        out: Folder for the archive.

    Raises:
        AdapterMismatch: It was made for another base model.
        CorruptArtifact: A file is missing or damaged.
        UnsupportedModel: A PEFT adapter, but not plain LoRA.
    """
    from glassbox.engine.lora.files import CONFIG_FILE, ORIGIN_FILE, WEIGHTS_FILE, read_adapter

    adapter = read_adapter(folder)
    base = bundle.base
    if adapter.base_digest and base.digest and adapter.base_digest != base.digest:
        raise AdapterMismatch(
            f"The adapter {folder} was made for a base model with digest "
            f"{adapter.base_digest[:_DIGITS]} ({adapter.base or 'unnamed'}); the bundle "
            f"{bundle.name} has {base.reference} with {base.digest[:_DIGITS]}. Tune again on that "
            "base, or deploy a bundle of the other one."
        )
    note = "" if adapter.base_digest and base.digest else (
        f"Adapter {name}: nothing says which base model it was made for"
        f"{f' but its name, {adapter.base}' if adapter.base else ''}."
    )  # fmt: skip
    members = {
        each: folder / each
        for each in (CONFIG_FILE, WEIGHTS_FILE, ORIGIN_FILE)
        if (folder / each).exists()
    }
    path = out / f"{name}-{adapter.digest[:_DIGITS]}.tar.gz"
    sha256 = write_archive(path, members)
    return PackedAdapter(name, path, adapter.digest, sha256, note)


def adapters_of(served: Served) -> Sequence[tuple[str, Path]]:
    """Return name and folder of each adapter in a bundle."""
    return [(name, served.folder / part.path) for name, part in served.bundle.adapters.items()]
