"""One SAE from wherever it lies: its format is found from its files, never from its numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, get_args

from glassbox.errors import CorruptArtifact, UnknownName
from glassbox.pathways.saes.readers.dictionary_learning import open_dictionary_learning
from glassbox.pathways.saes.readers.gemma_scope import open_gemma_scope
from glassbox.pathways.saes.readers.llama_scope import (
    WEIGHTS_FILES,
    Reading,
    open_llama_scope,
    open_llamascopium,
)
from glassbox.pathways.saes.readers.reader import SaeReader
from glassbox.pathways.saes.readers.saelens import open_saelens
from glassbox.pathways.saes.readers.sparsify import open_sparsify

SaeFormat = Literal[
    "llama_scope", "llamascopium", "saelens", "sparsify", "dictionary_learning", "gemma_scope"
]
"""Formats that are read."""

_SIGNS: Final[tuple[tuple[SaeFormat, tuple[str, ...], tuple[str, ...]], ...]] = (
    ("llama_scope", ("hyperparams.json",), WEIGHTS_FILES),
    ("saelens", ("cfg.json",), ("sae_weights.safetensors",)),
    ("sparsify", ("cfg.json",), ("sae.safetensors",)),
    ("dictionary_learning", ("config.json",), ("ae.pt",)),
    ("llamascopium", ("config.json",), ("sae_weights.safetensors",)),
    ("gemma_scope", (), ("params.npz", "params.safetensors")),
)
"""By format: the file that has to be there, and those of which one has to be."""

_DEPTH = 4
"""Folders below the one given that are searched for SAEs."""


def open_sae(
    path: Path | str,
    *,
    layer: int | None = None,
    convention: str = "openmoss",
) -> SaeReader:
    """Return a reader of one SAE; only its configuration and small vectors are read yet.

    Args:
        path: Its folder, or any file of it.
        layer: Block, 0-based, whose output it reads; needed where the file does not say.
        convention: How Llama Scope is read, ``openmoss`` or ``saelens``; other formats have one
            reading only.

    Raises:
        UnknownName: No such convention.
        CorruptArtifact: No SAE of a known format is there, a file is missing or damaged, or its
            parts contradict one another.
        UnsupportedModel: Of a known format, with something that is not read here.
        InvalidValue: ``layer`` contradicts the file.
    """
    reading = _reading(convention)
    folder = _folder(Path(path))
    match detect_format(folder):
        case "llama_scope":
            return open_llama_scope(folder, layer=layer, convention=reading)
        case "llamascopium":
            return open_llamascopium(folder, layer=layer, convention=reading)
        case "saelens":
            return open_saelens(folder, layer=layer)
        case "sparsify":
            return open_sparsify(folder, layer=layer)
        case "dictionary_learning":
            return open_dictionary_learning(folder, layer=layer)
        case "gemma_scope":
            return open_gemma_scope(folder, layer=layer)
        case None:
            raise CorruptArtifact(folder, _what_is_missing(folder))


def detect_format(folder: Path) -> SaeFormat | None:
    """Return the format that a folder's files are in; none if it holds no SAE."""
    for name, required, weights in _SIGNS:
        if all((folder / each).is_file() for each in required) and any(
            (folder / each).is_file() for each in weights
        ):
            return name
    return None


def find_saes(folder: Path) -> Iterator[Path]:
    """Yield the folders at or below a folder that hold an SAE each, in the order of their names.

    Raises:
        CorruptArtifact: There is no such folder.
    """
    if not folder.is_dir():
        raise CorruptArtifact(folder, "there is no such folder")
    yield from _found(folder, _DEPTH)


def _found(folder: Path, depth: int) -> Iterator[Path]:
    if detect_format(folder) is not None:
        yield folder
        return
    if depth:
        for each in sorted(folder.iterdir()):
            if each.is_dir():
                yield from _found(each, depth - 1)


def _reading(name: str) -> Reading:
    for known in get_args(Reading):
        if name == known:
            found: Reading = known
            return found
    raise UnknownName("convention", name, get_args(Reading))


def _folder(path: Path) -> Path:
    """Return the SAE's folder for itself or any of its files."""
    if path.is_file():
        return path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return path


def _what_is_missing(folder: Path) -> str:
    """Return why no SAE is found in a folder, by what of one is there."""
    if not folder.is_dir():
        return "there is no such folder"
    for _, required, weights in _SIGNS:
        if required and all((folder / each).is_file() for each in required):
            options = [each for name, r, w in _SIGNS if r == required for each in w]
            return f"{required[0]} is there and no tensors beside it ({' or '.join(options)})"
        if not required:
            continue
        if any((folder / each).is_file() for each in weights):
            return f"{next(w for w in weights if (folder / w).is_file())} is there and no JSON file"
    return "holds no SAE of a known format (" + ", ".join(get_args(SaeFormat)) + ")"
