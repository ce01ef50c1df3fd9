"""Evaluated rows on disk: what a model answered for a text is computed once.

A row is keyed by the digests of model, adapter, prompt (labels, instruction, template) and text, so
a changed input invalidates exactly what depends on it. Rows live in small Parquet parts that appear
whole or not at all; an interrupted run goes on from them. A damaged part is set aside, counted and
computed again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float

from glassbox.artifacts import atomic_file, digest_json

CACHE_SCHEMA = 1
"""Part of every key: raising it abandons all older rows."""

_COLUMNS = pa.schema(
    [("text", pa.string()), ("logprobs", pa.list_(pa.float64())), ("entropy", pa.float64())]
)


@dataclass(frozen=True)
class EvaluatorKey:
    """Everything besides the text that an answer depends on."""

    model_digest: str
    """Of the base model's files."""
    adapter_digest: str | None
    """Of the LoRA weights, if any."""
    prompt_digest: str
    """Of instruction, template and verbalisers."""
    dtype: str
    """Number format of the weights in use."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        return digest_json(
            [CACHE_SCHEMA, self.model_digest, self.adapter_digest, self.prompt_digest, self.dtype]
        )


@dataclass(frozen=True)
class CachedRows:
    """Answers found for some texts."""

    class_logprobs: Float[np.ndarray, "n n_classes"]
    """NaN rows where nothing was found."""
    entropy: Float[np.ndarray, " n"]
    """Nats; NaN where nothing was found."""

    @property
    def missing(self) -> list[int]:
        """Indices of the texts without an answer."""
        return [int(i) for i in np.flatnonzero(np.isnan(self.class_logprobs[:, 0]))]


def text_key(text: str) -> str:
    """Return the SHA-256 (hex) of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class RowCache:
    """Answers of one evaluator, in a folder of Parquet parts.

    Args:
        folder: Where all evaluators' caches of a run live.
        key: What the answers depend on.
        n_classes: Columns of ``class_logprobs``.
    """

    def __init__(self, folder: Path, key: EvaluatorKey, n_classes: int) -> None:
        self.folder = folder / key.digest[:16]
        self.n_classes = n_classes
        self.damaged: list[Path] = []
        # A number of Python takes four times the room of one in an array.
        self._places: dict[str, int] = {}
        self._blocks: list[Float[np.ndarray, "m width"]] = [np.empty((0, n_classes + 1))]
        self._n_rows = 0
        for part in sorted(self.folder.glob("part-*.parquet")):
            self._read(part)

    def __len__(self) -> int:
        return len(self._places)

    def _read(self, part: Path) -> None:
        try:
            # pyarrow's other reader, and its to_numpy, import pandas for half a second. A flipped
            # bit would be another answer.
            with pq.ParquetFile(part, page_checksum_verification=True) as file:
                table = file.read(_COLUMNS.names).cast(_COLUMNS)
            is_whole = pc.equal(pc.list_value_length(table["logprobs"]), self.n_classes)
            keys, logprobs, entropy = table.filter(is_whole).drop_null().combine_chunks().columns
            values = np.from_dlpack(logprobs.combine_chunks().flatten())
            rest = np.from_dlpack(entropy.combine_chunks())
        except (pa.ArrowException, KeyError, ValueError, OSError):
            self._set_aside(part)
            return
        self._keep(keys.to_pylist(), values.reshape(len(keys), self.n_classes), rest)

    def _keep(
        self,
        keys: Sequence[str],
        class_logprobs: Float[np.ndarray, "m n_classes"],
        entropy: Float[np.ndarray, " m"],
    ) -> None:
        self._places.update(zip(keys, range(self._n_rows, self._n_rows + len(keys)), strict=True))
        self._blocks.append(np.column_stack([class_logprobs, entropy]))
        self._n_rows += len(keys)

    def _set_aside(self, part: Path) -> None:
        part.rename(part.with_suffix(".damaged"))
        self.damaged.append(part)

    def find(self, texts: Sequence[str]) -> CachedRows:
        """Return what is known of some texts, in their order."""
        self._blocks = [np.concatenate(self._blocks)]
        places = np.array([self._places.get(text_key(text), -1) for text in texts], dtype=np.intp)
        rows = np.full((len(texts), self.n_classes + 1), np.nan)
        rows[places >= 0] = self._blocks[0][places[places >= 0]]
        return CachedRows(class_logprobs=rows[:, :-1], entropy=rows[:, -1])

    def add(
        self,
        texts: Sequence[str],
        class_logprobs: Float[np.ndarray, "n n_classes"],
        entropy: Float[np.ndarray, " n"],
    ) -> None:
        """Keep answers, on disk before this returns.

        Raises:
            NoDiskSpace: The part could not be written; earlier parts stay.
        """
        keys = [text_key(text) for text in texts]
        table = pa.table(
            {
                "text": keys,
                "logprobs": pa.array([list(map(float, row)) for row in class_logprobs]),
                "entropy": [float(value) for value in entropy],
            }
        )
        # Parts that were set aside or taken away leave gaps: never write over one that is there.
        taken = [int(each.stem.removeprefix("part-")) for each in self.folder.glob("part-*")]
        with atomic_file(self.folder / f"part-{max(taken, default=-1) + 1:05d}.parquet") as file:
            pq.write_table(table, file, write_page_checksum=True)
        self._keep(keys, class_logprobs, entropy)
