"""Files and bytes in words, as tables and notes show them. Powers of a thousand."""

from glassbox.wording import counted


def size_of(n_bytes: float) -> str:
    """Return a size for people: ``450 bytes``, ``1.4 MB``."""
    if n_bytes < 1000:
        return f"{n_bytes:.0f} bytes"
    for unit in ("kB", "MB"):
        n_bytes /= 1000
        if n_bytes < 1000:
            return f"{n_bytes:.1f} {unit}"
    return f"{n_bytes / 1000:,.1f} GB"


def files_of(n_files: int, n_bytes: float) -> str:
    """Return how many files there are, and their size together."""
    if n_files == 0:
        return "no files of its own"
    return f"{counted(n_files, 'file')}, {size_of(n_bytes)}"
