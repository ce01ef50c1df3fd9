"""What is done in an account at Modal: folders put into the volume, apps deployed, errors said.

Needs a token and the network. Modal is imported inside the functions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def put_folders(uploads: Sequence[tuple[Path, str]], *, environment: str | None = None) -> None:
    """Put folders into our volume, those that are not there yet.

    Args:
        uploads: Local folder and its place in the volume, which its content's digest names.
        environment: Modal environment; None takes the profile's.
    """
    if not uploads:
        return
    volume = modal_library().Volume.from_name(
        VOLUME_NAME, create_if_missing=True, environment_name=environment
    )
    for folder, place in uploads:
        put_folder(volume, folder, place)


def put_folder(volume: Any, folder: Path, place: str) -> bool:
    """Put a folder into a volume, and return whether it was not there already."""
    modal = modal_library()
    try:
        if volume.listdir(place):
            return False
    except modal.exception.NotFoundError:
        pass
    with volume.batch_upload() as batch:
        batch.put_directory(str(folder), place)
    return True
