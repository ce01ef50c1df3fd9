"""What some latents do on every counted position of a corpus: the non-zero values, as a list.

The list is sorted by (document, position, latent), so that a document, or a token, is one slice.
Saved as safetensors whose header says of which corpus and which latents it is. No torch.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glassbox.artifacts import write_bytes
from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName
from glassbox.pathways.latents import LatentId
from glassbox.pathways.shards import sorted_header

ACTIVATIONS_SCHEMA = 1
"""Version of the layout of the file."""

_ARRAYS = ("document", "position", "latent", "value")


@dataclass(frozen=True, eq=False)
class Activations:
    """Non-zero activations: four arrays of one length.

    Raises:
        InvalidValue: The arrays are of different lengths.
    """

    latents: tuple[LatentId, ...]
    """Which latents were read; column ``c`` of anything is the c-th of these."""
    document: Int[np.ndarray, " n"]
    """Document of the corpus; int32, ascending."""
    position: Int[np.ndarray, " n"]
    """Position in the document; int32."""
    latent: Int[np.ndarray, " n"]
    """Index into ``latents``; int32."""
    value: Float[np.ndarray, " n"]
    """The activation, above 0; float32."""
    corpus_digest: str
    """The corpus that was read."""
    source_digest: str = ""
    """What it was read with: model, dictionaries, convention."""

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in _ARRAYS}
        if len(set(lengths.values())) > 1:
            raise InvalidValue("The lengths of the activations' arrays", lengths, "one length")

    def __len__(self) -> int:
        return len(self.value)

    @cached_property
    def columns(self) -> dict[LatentId, int]:
        """Index of each latent in ``latents``."""
        return {latent: column for column, latent in enumerate(self.latents)}

    def column(self, latent: LatentId) -> int:
        """Return the index of a latent.

        Raises:
            UnknownName: It was not read.
        """
        if latent not in self.columns:
            raise UnknownName("latent", latent.name, [each.name for each in self.latents])
        return self.columns[latent]

    @cached_property
    def by_latent(self) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n_latents_and_1"]]:
        """Entries ordered by (latent, document, position), and where each latent's begin."""
        # Short integers are sorted in a few passes, others by comparing.
        short = np.uint16 if len(self.latents) <= 1 << 16 else np.int32
        order = np.argsort(self.latent.astype(short), kind="stable")
        counts = np.bincount(self.latent, minlength=len(self.latents))
        return order, np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])

    def entries_of(self, column: int) -> Int[np.ndarray, " m"]:
        """Return the entries of one latent, in the order of the corpus."""
        order, starts = self.by_latent
        return order[starts[column] : starts[column + 1]]

    def entries_in(self, document_id: int) -> slice:
        """Return where a document's entries are."""
        start, stop = np.searchsorted(self.document, [document_id, document_id + 1])
        return slice(int(start), int(stop))

    def save(self, path: Path) -> None:
        """Write them as one file, whole or not at all; equal content gives equal bytes.

        Raises:
            NoDiskSpace: The device is full.
        """
        header = {
            "schema_version": str(ACTIVATIONS_SCHEMA),
            "latents": json.dumps([each.name for each in self.latents]),
            "corpus_digest": self.corpus_digest,
            "source_digest": self.source_digest,
        }
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        write_bytes(path, sorted_header(save(arrays, metadata=header)))


def load_activations(path: Path) -> Activations:
    """Return the activations in a file.

    Raises:
        CorruptArtifact: The file is absent, damaged, or of another layout.
    """
    if not path.is_file():
        raise CorruptArtifact(path, "the file is missing")
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
    except SafetensorError as error:
        raise CorruptArtifact(path, f"not readable as safetensors ({error})") from error
    if header.get("schema_version") != str(ACTIVATIONS_SCHEMA):
        raise CorruptArtifact(path, f"schema_version is {header.get('schema_version')!r}, not 1")
    return Activations(
        latents=tuple(LatentId.parse(name) for name in json.loads(header["latents"])),
        corpus_digest=header["corpus_digest"],
        source_digest=header["source_digest"],
        **arrays,
    )


def sorted_activations(
    latents: tuple[LatentId, ...],
    document: Shaped[np.ndarray, " n"],
    position: Shaped[np.ndarray, " n"],
    latent: Shaped[np.ndarray, " n"],
    value: Shaped[np.ndarray, " n"],
    *,
    corpus_digest: str,
    source_digest: str = "",
) -> Activations:
    """Return activations in order, whatever the order of the arrays."""
    # One number for each place keeps the runs in which activations come, and sorts them fast.
    width = int(position.max(initial=0)) + 1
    place = (document.astype(np.int64) * width + position) * max(1, len(latents)) + latent
    order = np.argsort(place, kind="stable")
    return Activations(
        latents=latents,
        document=document[order].astype(np.int32, copy=False),
        position=position[order].astype(np.int32, copy=False),
        latent=latent[order].astype(np.int32, copy=False),
        value=value[order].astype(np.float32, copy=False),
        corpus_digest=corpus_digest,
        source_digest=source_digest,
    )
