"""The chosen latents' rows in a folder of their own: row by row, folded, memory-mapped.

Made once from the dictionaries, of which it reads the rows only; it carries the digests of what
it was made from and refuses to stand for anything else. Knows nothing of models.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from glassbox.artifacts import read_object, write_bytes, write_json
from glassbox.errors import CorruptArtifact, UnknownName
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.saes.rows import LatentRows

BANK_FILE: Final = "row_bank.json"
"""Name of the manifest."""

_SCHEMA: Final = 1
_TENSORS: Final = ("indices", "w_enc", "b_enc", "w_dec", "threshold")


class RowBank:
    """Chosen rows by layer; nothing is read before it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Open a finished bank.

        Raises:
            CorruptArtifact: It is missing, unfinished or of another version.
        """
        self.folder = folder
        self._about = read_object(folder / BANK_FILE, schema=_SCHEMA)

    @classmethod
    def build(
        cls,
        folder: Path,
        dictionaries: Dictionaries,
        latents: Iterable[LatentId],
        *,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """Return a bank of these latents, made now unless the folder holds just that already.

        Args:
            folder: Where it is kept.
            dictionaries: Where the rows come from.
            latents: Which; repeated ones count once.
            dtype: Number format of the rows; thresholds stay float32.

        Raises:
            UnknownName: No SAE is there for a latent's layer.
            InvalidValue: A latent's index is not in its dictionary.
            NoDiskSpace: The device is full.
        """
        wanted: dict[int, list[int]] = {}
        for latent in sorted(set(latents)):
            wanted.setdefault(latent.layer, []).append(latent.index)
        about: dict[str, Any] = {
            "schema_version": _SCHEMA,
            "dtype": str(dtype).removeprefix("torch."),
            "layers": {
                str(layer): _described(dictionaries, layer, indices)
                for layer, indices in wanted.items()
            },
        }
        if not cls._holds(folder, about):
            (folder / BANK_FILE).unlink(missing_ok=True)
            for layer, indices in wanted.items():
                rows = dictionaries.reader(layer).read_rows(torch.tensor(indices)).to(dtype=dtype)
                write_bytes(_file(folder, layer), save({n: getattr(rows, n) for n in _TENSORS}))
            write_json(folder / BANK_FILE, about)
        return cls(folder)

    @classmethod
    def _holds(cls, folder: Path, about: dict[str, Any]) -> bool:
        try:
            return cls(folder)._about == about
        except CorruptArtifact:
            return False

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks, 0-based and ascending, that have rows here."""
        return tuple(sorted(int(each) for each in self._about["layers"]))

    @property
    def latents(self) -> tuple[LatentId, ...]:
        """All latents here, ascending."""
        return tuple(
            LatentId(layer, index)
            for layer in self.layers
            for index in self._about["layers"][str(layer)]["indices"]
        )

    def source_digest(self, layer: int) -> str:
        """Return the SHA-256 (hex) of the files that a layer's rows came from."""
        found: str = self._described(layer)["source_digest"]
        return found

    def rows(self, layer: int) -> LatentRows:
        """Return a layer's rows, memory-mapped, ascending by index.

        Raises:
            UnknownName: There are none for the layer.
            CorruptArtifact: The file is damaged.
        """
        about = self._described(layer)
        path = _file(self.folder, layer)
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                tensors = {name: file.get_tensor(name) for name in _TENSORS}
        except (SafetensorError, OSError) as error:
            raise CorruptArtifact(
                path, f"damaged or missing ({error})", remedy="Remove the folder and build it anew."
            ) from error
        if tensors["indices"].tolist() != about["indices"]:
            raise CorruptArtifact(path, "holds other latents than the manifest says")
        return LatentRows(layer, **tensors, k=about["k"])

    def all_rows(self) -> dict[int, LatentRows]:
        """Return all rows by layer; raises like ``rows``."""
        return {layer: self.rows(layer) for layer in self.layers}

    def _described(self, layer: int) -> dict[str, Any]:
        if str(layer) not in self._about["layers"]:
            raise UnknownName("rows of layer", str(layer), map(str, self.layers))
        found: dict[str, Any] = self._about["layers"][str(layer)]
        return found


def _described(dictionaries: Dictionaries, layer: int, indices: list[int]) -> dict[str, Any]:
    reader = dictionaries.reader(layer)
    source = reader.source
    return {
        "indices": indices,
        "k": reader.k,
        "source_digest": source.digest,
        "convention": source.convention,
    }


def _file(folder: Path, layer: int) -> Path:
    return folder / f"layer_{layer}.safetensors"
