"""Adapters in an object store, fetched into a folder on this machine: whole or not at all.

A fetched adapter's folder is named by what the store said of it, so a changed adapter is fetched
anew and an unchanged one is not. The folders that were used least recently go when they outgrow
their budget. Knows object stores and files; knows nothing of what is in them.
"""

import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from glassbox.artifacts import digest_json, disk_errors
from glassbox.engine.lora.archives import ENDING, FILES, unpack_adapter
from glassbox.engine.lora.files import CONFIG_FILE, WEIGHTS_FILE
from glassbox.errors import (
    AccessDenied,
    CapacityError,
    CorruptArtifact,
    DependencyMissing,
    GlassboxError,
    InvalidValue,
    UnknownName,
    is_not_signed_in,
)

SCHEME = "s3://"
"""Start of an address in an object store."""

DISK_BYTES = 20 * 2**30
"""Disk for fetched adapters unless told otherwise."""

ABANDONED_S = 6 * 3600.0
"""Age at which a download that is not whole is taken for a killed process's."""

_UNFINISHED = ".part-"
"""Start of the names of folders that are not whole yet."""

_ARCHIVE = "adapter.part"
_CHUNK_BYTES = 1 << 20
_PATIENCE = {
    "connect_timeout": 10,
    "read_timeout": 30,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}
"""Seconds and attempts before a request is told that the store is in the way."""

_NOT_THERE = ("NoSuchBucket", "NoSuchKey", "404")
_CHANGED = ("PreconditionFailed", "412")
_UNKNOWN_CALLER = ("ExpiredToken", "InvalidToken", "RequestExpired")
"""Answered with 400: temporary credentials have run out."""
_SLOW_DOWN = ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "429")


@dataclass(frozen=True)
class _Stored:
    key: str
    etag: str
    n_bytes: int


class AdapterStore:
    """Fetches adapters named by URL.

    Args:
        folder: Where fetched adapters are kept; None fetches nothing.
        prefix: Start of the URLs that requests may name without their being loaded before
            (``s3://bucket/adapters/``); empty allows none.
        disk_bytes: Most disk for fetched adapters; the newest is kept whatever its size.

    Raises:
        InvalidValue: A prefix that is no address in an object store.
    """

    def __init__(
        self, folder: Path | None = None, *, prefix: str = "", disk_bytes: int = DISK_BYTES
    ) -> None:
        if prefix and not prefix.startswith(SCHEME):
            raise InvalidValue("the prefix of adapter URLs", prefix, f"a start with {SCHEME}")
        self.folder = folder
        self.capacity_bytes = disk_bytes
        self._prefix = prefix if not prefix or prefix.endswith("/") else prefix + "/"
        self._lock = threading.Lock()
        """Held for moments; whole downloads hold the lock of their URL."""
        self._url_locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._held: dict[str, Path] = {}
        self._reading: Counter[Path] = Counter()
        self._client: Any = None

    def allows(self, url: str) -> bool:
        """Return whether a request may name this URL although it was not loaded before."""
        return bool(self._prefix) and url.startswith(self._prefix) and ".." not in url

    @contextmanager
    def fetched(self, url: str, *, fresh: bool = True) -> Iterator[Path]:
        """Keep an adapter's files in a folder while the block runs.

        Args:
            url: ``s3://bucket/prefix`` of its files, or ``s3://bucket/key.tar.gz``.
            fresh: Ask the store for the present version, not for the one fetched before.

        Raises:
            UnknownName: The store has no adapter there.
            InvalidValue: No object store has such an address.
            AccessDenied: The store does not let this machine read it.
            CorruptArtifact: A file is missing there, or changed while it was fetched.
            CapacityError: The store cannot be reached, or asks to be left alone for a while.
            NoDiskSpace: No room for the files.
            DependencyMissing: The library that fetches is not installed.
        """
        if self.folder is None:
            raise UnknownName("adapter", url, remedy="This engine fetches none from object stores.")
        with ExitStack() as reading:
            with self._lock:
                url_lock = self._url_locks.setdefault(url, threading.Lock())
                held = None if fresh else self._held.get(url)
            with url_lock, disk_errors(self.folder):
                if held is not None:
                    reading.enter_context(self._unswept(held))
                if held is None or not held.is_dir():
                    held = self._fetch(url, self.folder, reading)
                os.utime(held)
                with self._lock:
                    self._held[url] = held
                    self._make_room(self.folder, held)
            yield held

    @contextmanager
    def _unswept(self, folder: Path) -> Iterator[None]:
        """Keep a folder from being swept while it is used, whether it is there yet or not."""
        with self._lock:
            self._reading[folder] += 1
        try:
            yield
        finally:
            with self._lock:
                self._reading[folder] -= 1
                if not self._reading[folder]:
                    del self._reading[folder]

    def _fetch(self, url: str, root: Path, reading: ExitStack) -> Path:
        """Return the folder of the store's present version, which stays while it is read."""
        bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        with store_errors(url):
            if prefix.endswith(ENDING):
                stored = self._packed(bucket, prefix)
            else:
                stored = self._list(url, bucket, prefix.rstrip("/") + "/")
            version = {name: [each.etag, each.n_bytes] for name, each in stored.items()}
            folder = root / digest_json([url, version])[:32]
            reading.enter_context(self._unswept(folder))
            if not folder.is_dir():
                self._download(url, bucket, stored, folder)
        return folder

    def _list(self, url: str, bucket: str, prefix: str) -> dict[str, _Stored]:
        pages = self._s3().get_paginator("list_objects_v2")
        found = {}
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            for each in page.get("Contents", ()):
                name = each["Key"].removeprefix(prefix)
                if name in FILES:
                    found[name] = _Stored(each["Key"], each["ETag"], each["Size"])
        if not found:
            raise UnknownName("adapter", url, remedy="The object store has no adapter there.")
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if name not in found:
                raise CorruptArtifact(f"{url.rstrip('/')}/{name}", "the file is missing")
        return found

    def _packed(self, bucket: str, key: str) -> dict[str, _Stored]:
        head = self._s3().head_object(Bucket=bucket, Key=key)
        return {_ARCHIVE: _Stored(key, head["ETag"], head["ContentLength"])}

    def _download(self, url: str, bucket: str, stored: Mapping[str, _Stored], folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
        try:
            for name, each in stored.items():
                answer = self._s3().get_object(Bucket=bucket, Key=each.key, IfMatch=each.etag)
                with (unfinished / name).open("wb") as file:
                    for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                    n_bytes = file.tell()
                if n_bytes != each.n_bytes:
                    raise CorruptArtifact(
                        f"{url}/{name}", f"{n_bytes} of {each.n_bytes} bytes arrived"
                    )
            if _ARCHIVE in stored:
                unpack_adapter(unfinished / _ARCHIVE, unfinished, url)
                (unfinished / _ARCHIVE).unlink()
            try:
                unfinished.rename(folder)
            except OSError:
                # Another process may have been faster.
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _make_room(self, root: Path, newest: Path) -> None:
        """Delete what killed processes left behind, and what was used least recently."""
        for each in root.glob(f"{_UNFINISHED}*"):
            # Another thread's download may become whole, and be gone from here, at any moment.
            with suppress(FileNotFoundError):
                if time.time() - each.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(each, ignore_errors=True)
        folders = []
        for each in root.iterdir():
            # So may a folder, where another process makes room on the same disk.
            with suppress(FileNotFoundError):
                if not each.name.startswith("."):
                    n_bytes = sum(file.stat().st_size for file in each.iterdir())
                    folders.append((each.stat().st_mtime_ns, n_bytes, each))
        total = sum(n_bytes for _, n_bytes, _ in folders)
        for _, n_bytes, each in sorted(folders):
            if total <= self.capacity_bytes:
                break
            if each != newest and not self._reading[each]:
                with suppress(FileNotFoundError):
                    shutil.rmtree(each)
                total -= n_bytes
        self._held = {url: folder for url, folder in self._held.items() if folder.is_dir()}

    def _s3(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = connect()
            return self._client


def is_url(source: object) -> bool:
    """Return whether a name is an address in an object store."""
    return isinstance(source, str) and source.startswith(SCHEME)


def connect() -> Any:
    """Return a client of object stores that waits for a bounded time.

    Raises:
        DependencyMissing: The library is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise DependencyMissing("boto3", "sagemaker") from error
    return boto3.client("s3", config=Config(**_PATIENCE))


@contextmanager
def store_errors(url: str, kind: str = "adapter") -> Iterator[None]:
    """Give the object store's own errors our words.

    Args:
        url: What is fetched or written.
        kind: What it is, as a reader would say it.
    """
    try:
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
            ParamValidationError,
        )
    except ImportError as error:
        raise DependencyMissing("boto3", "sagemaker") from error
    try:
        yield
    except ClientError as error:
        raise _in_our_words(url, kind, error, error.response) from error
    except ParamValidationError as error:
        allowed = f"{SCHEME}BUCKET/PREFIX with a bucket's name"
        raise InvalidValue(f"the address of the {kind}", url, allowed) from error
    except (BotoCoreError, HTTPClientError) as error:
        if is_not_signed_in(error):
            raise _refused(url, error) from error
        raise CapacityError(f"{url} could not be fetched ({error}). Try again later.") from error


def _in_our_words(
    url: str, kind: str, error: Exception, response: Mapping[str, Any]
) -> GlassboxError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _CHANGED:
        return CorruptArtifact(url, "it changed while it was fetched", remedy="Load it again.")
    if code in _SLOW_DOWN or status == 429 or status >= 500:
        return CapacityError(f"The object store of {url} is busy ({error}). Try again later.")
    if code in _UNKNOWN_CALLER or (code not in _NOT_THERE and status in (401, 403)):
        return _refused(url, error)
    return UnknownName(kind, url, remedy=f"The object store says {error}.")


def _refused(url: str, error: Exception) -> AccessDenied:
    return AccessDenied(
        f"The object store does not let this machine read {url} ({error}). Renew its credentials "
        "if they have run out; else give its role or key the right to list the bucket and to get "
        "the objects below that address."
    )
