"""The folder of a demo: emptied only where a demo has made it, and no demo works in it any more."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from glassbox.artifacts import locked
from glassbox.errors import ConflictError

MARK: Final = "glassbox-demo"
"""File that says that a folder is a demo's own and may be emptied; locked while a demo works."""


@contextmanager
def demo_folder(folder: Path, *, fresh: bool = True) -> Iterator[None]:
    """Have a demo's folder alone inside the block, and mark it as one.

    Args:
        folder: Where the demo keeps its files.
        fresh: Whether what a demo has left there is removed first.

    Raises:
        ConflictError: Another demo works there, or it is to be emptied and holds something else.
    """
    mark = folder / MARK
    if fresh and folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise ConflictError(f"{folder} holds something else than a demo: choose another --out.")
    taken = f"Another demo works in {folder}. Wait for it, or choose another --out."
    with locked(mark, taken) as lock:
        lock.truncate(0)
        lock.write("A demo of glassbox: this folder may be deleted.\n")
        lock.flush()
        if fresh:
            _empty(folder)
        yield


def _empty(folder: Path) -> None:
    """Remove everything but the mark."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        elif each.name != MARK:
            each.unlink()
