"""A base model in an object store, fetched into a folder on this machine: whole or not at all."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from glassbox.artifacts import digest_json, disk_errors
from glassbox.deploy.bundle.archive import unfinished_folder
from glassbox.engine.lora.object_store import connect, store_errors
from glassbox.engine.model.files import MODEL_FILES
from glassbox.errors import CorruptArtifact, UnknownName

PREFIX: Final = "model-"
"""Start of the names of fetched models' folders."""

_CHUNK_BYTES = 8 * 2**20


def fetch_model(url: str, cache: Path) -> Path:
    """Return the folder of a model that an object store holds, fetched unless it is here already.

    The folder is named by what the store says of the files, so a changed model is fetched anew.

    Args:
        url: ``s3://bucket/prefix``.
        cache: Where fetched models are kept.

    Raises:
        UnknownName: The store has no model there.
        AccessDenied: The store does not let this machine read it.
        CorruptArtifact: A file changed while it was fetched.
        CapacityError: The store cannot be reached, or asks to be left alone for a while.
        NoDiskSpace: No room for the files.
        DependencyMissing: The library that fetches is not installed.
    """
    bucket, _, rest = url.removeprefix("s3://").partition("/")
    prefix = rest.rstrip("/") + "/" if rest.strip("/") else ""
    with store_errors(url, "model"):
        client = connect()
        stored = _listed(client, bucket, prefix)
        if "config.json" not in stored:
            raise UnknownName("model", url, remedy="The object store has no config.json there.")
        version = {name: [each["ETag"], each["Size"]] for name, each in stored.items()}
        folder = cache / f"{PREFIX}{digest_json([bucket, prefix, version])[:32]}"
        if not folder.is_dir():
            with disk_errors(folder):
                _fetch(client, bucket, stored, folder)
        return folder


def _listed(client: Any, bucket: str, prefix: str) -> dict[str, Any]:
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, Delimiter="/"
    )
    found = {
        each["Key"].removeprefix(prefix): each
        for page in pages
        for each in page.get("Contents", ())
    }
    return {
        name: each
        for name, each in sorted(found.items())
        if any(fnmatchcase(name, pattern) for pattern in MODEL_FILES)
    }


def _fetch(client: Any, bucket: str, stored: dict[str, Any], folder: Path) -> None:
    with unfinished_folder(folder.parent) as unfinished:
        for name, each in stored.items():
            answer = client.get_object(Bucket=bucket, Key=each["Key"], IfMatch=each["ETag"])
            with (unfinished / name).open("wb") as file:
                for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                n_bytes = file.tell()
            if n_bytes != each["Size"]:
                raise CorruptArtifact(
                    f"s3://{bucket}/{each['Key']}", f"{n_bytes} of {each['Size']} bytes arrived"
                )
        try:
            unfinished.rename(folder)
        except OSError:
            # Another process may have been faster.
            if not folder.is_dir():
                raise
