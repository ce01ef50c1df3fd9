"""The secret of a server without API keys: a file that only its owner may read, found by port.

Whoever can read it has the server's account anyway; a web page, another user and another machine
cannot. Knows nothing of HTTP.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from glassbox.errors import AccessDenied, CapacityError

FOLDER: Final = "servers"
"""Folder of the secrets, below that of techniques."""

_START: Final = "gbl_"


def secret_path(folder: Path, port: int) -> Path:
    """Return where the secret of the server on a port is kept."""
    return folder / FOLDER / f"{port}.secret"


@contextmanager
def local_secret(folder: Path, port: int) -> Iterator[str]:
    """Give a new secret that is in its file as long as the block lasts.

    Args:
        folder: Folder of techniques.
        port: Where the server listens.

    Raises:
        CapacityError: The file cannot be written.
    """
    path = secret_path(folder, port)
    secret = _START + secrets.token_urlsafe(32)
    try:
        for each in (folder, path.parent):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made anew and whole: never readable for others, never an old server's.
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
        fresh.replace(path)
    except OSError as error:
        raise CapacityError(
            f"The secret of this server cannot be written to {path}: {error.strerror}. Set "
            "techniques.folder to a folder of your own."
        ) from error
    try:
        yield secret
    finally:
        # A newer server on this port may have put its own there.
        with suppress(OSError):
            if path.read_text(encoding="ascii").strip() == secret:
                path.unlink()


def read_secret(path: Path) -> str | None:
    """Return the secret of a server on this machine; None where there is none.

    Raises:
        AccessDenied: Others than its owner may read or write the file, or it is somebody else's.
    """
    try:
        with path.open(encoding="ascii") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise AccessDenied(
                    f"{path} is not yours alone (mode {found.st_mode & 0o777:03o}); it is not "
                    "used. Remove it and start the server again."
                )
            return file.read().strip() or None
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise AccessDenied(
            f"{path} belongs to another user: only who runs the server may run functions on it "
            "without an API key."
        ) from error
