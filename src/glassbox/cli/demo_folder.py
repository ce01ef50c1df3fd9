"""The folder of a demo, which is emptied only where a demo has made it."""

import shutil
from pathlib import Path
from typing import Final

from glassbox.artifacts import write_bytes
from glassbox.errors import ConflictError

MARK: Final = "glassbox-demo"
"""File that says that a folder is a demo's own and may be emptied."""


def make_demo_folder(folder: Path, *, fresh: bool = True) -> None:
    """Make a demo's folder and mark it as one.

    Args:
        folder: Where the demo keeps its files.
        fresh: Whether what a demo has left there is removed first.

    Raises:
        ConflictError: It is to be emptied and holds something else.
    """
    if fresh and folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise ConflictError(f"{folder} holds something else than a demo: choose another --out.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / MARK, b"A demo of glassbox: this folder may be deleted.\n")
