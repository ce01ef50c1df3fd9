"""What is done in an account at Modal: folders put into the volume, apps deployed, errors said.

Needs a token and the network. Modal is imported inside the functions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassbox.errors import (
    AccessDenied,
    GlassboxError,
    TechniqueFailed,
    UnknownName,
    Unreachable,
    first_line,
)
from glassbox.techniques.remote.modal_image import VOLUME_NAME, modal_library


@dataclass(frozen=True)
class Upload:
    """Files of a folder that must be in the volume before a container starts.

    What else lies beside them, as notes, secrets and links to elsewhere, stays here.
    """

    folder: Path
    """Here."""
    place: str
    """There, named by the digest of what is in it."""
    files: tuple[Path, ...]
    """Those that are sent, in the folder or below it."""

    @property
    def n_bytes(self) -> int:
        """Their size."""
        return sum(each.stat().st_size for each in self.files)


@contextmanager
def modal_errors(name: str, remedy: str) -> Iterator[None]:
    """Turn Modal's errors into ours, with what to do.

    Args:
        name: The app that is meant.
        remedy: What to do where Modal has no such app.

    Raises:
        AccessDenied: No token of Modal's on this machine, or one that is not valid.
        UnknownName: Nothing was deployed under this name.
        Unreachable: Modal cannot be reached.
        TechniqueFailed: The container went away.
        GlassboxError: Modal refused for another reason.
    """
    modal = modal_library()
    try:
        yield
    except modal.exception.AuthError as error:
        raise AccessDenied(
            f"Modal does not know you ({first_line(error)}). Run 'modal token new', or set "
            "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET; nothing else of Glassbox needs them."
        ) from error
    except modal.exception.NotFoundError as error:
        raise UnknownName(
            "deployed Modal app", name, remedy=f"{remedy}; Modal says: {first_line(error)}"
        ) from error
    except (modal.exception.ConnectionError, ConnectionError, OSError) as error:
        raise Unreachable(
            f"Modal cannot be reached ({first_line(error)}). Is this machine online?"
        ) from error
    except (modal.exception.RemoteError, modal.exception.TimeoutError) as error:
        raise TechniqueFailed(
            f"The Modal container that held the model went away: {first_line(error)}"
        ) from error
    except modal.exception.Error as error:
        raise GlassboxError(f"Modal refused: {first_line(error)}") from error


def put_folders(uploads: Sequence[Upload], *, environment: str | None = None) -> None:
    """Put files of folders into our volume, those of folders that are not there yet.

    Args:
        uploads: What is put where.
        environment: Modal environment; None takes the profile's.
    """
    if not uploads:
        return
    volume = modal_library().Volume.from_name(
        VOLUME_NAME, create_if_missing=True, environment_name=environment
    )
    for each in uploads:
        put_folder(volume, each)


def put_folder(volume: Any, upload: Upload) -> bool:
    """Put a folder's files into a volume, and return whether they were not there already."""
    modal = modal_library()
    try:
        if volume.listdir(upload.place):
            return False
    except modal.exception.NotFoundError:
        pass
    with volume.batch_upload() as batch:
        for file in upload.files:
            below = file.relative_to(upload.folder).as_posix()
            batch.put_file(str(file), f"{upload.place}/{below}")
    return True
