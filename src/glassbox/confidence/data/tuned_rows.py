"""Which texts an adapter was tuned on, so that it is never measured on them.

Beside an adapter's weights lie fingerprints of the texts that its tuning saw. They travel with the
folder: another seed, data that grew or another run's adapter are recognised, text by text. Knows
nothing of models.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt64

from glassbox.artifacts import atomic_file
from glassbox.confidence.data.labelled import normalise
from glassbox.errors import CorruptArtifact

TUNED_ON_FILE = "tuned_on.parquet"
"""Name of the file in an adapter's folder."""

_ADAPTER = b"adapter"


def write_tuned_on(folder: Path, adapter_digest: str, texts: Iterable[str]) -> None:
    """Write down which texts a finished fit has seen, for training or for its early stop.

    Args:
        folder: The adapter's.
        adapter_digest: Of the weights that came of it (hex).
        texts: What it has seen.

    Raises:
        NoDiskSpace: The device is full.
    """
    seen = np.unique(_fingerprints(texts))
    table = pa.table({"text": seen}).replace_schema_metadata({_ADAPTER: adapter_digest})
    with atomic_file(folder / TUNED_ON_FILE) as file:
        pq.write_table(table, file, write_page_checksum=True)


def n_tuned_on(folder: Path, adapter_digest: str, texts: Iterable[str]) -> int | None:
    """Return how many of some texts an adapter was tuned on; None where it does not say.

    Args:
        folder: The adapter's.
        adapter_digest: Of its weights (hex); what was written for other weights does not count.
        texts: What it is to be measured on; case and white space make no difference.

    Raises:
        CorruptArtifact: The file is damaged.
    """
    path = folder / TUNED_ON_FILE
    if not path.exists():
        return None
    try:
        # The other reader imports pandas. A flipped bit would be another text.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        of_adapter = (table.schema.metadata or {}).get(_ADAPTER, b"").decode()
        seen = table.column("text").to_numpy()
    except (pa.ArrowException, KeyError, OSError, UnicodeDecodeError) as error:
        raise CorruptArtifact(
            path, f"cannot be read ({error})", remedy="Tune again with --retune."
        ) from error
    if of_adapter != adapter_digest:
        return None
    return int(np.isin(_fingerprints(texts), seen).sum())


def _fingerprints(texts: Iterable[str]) -> UInt64[np.ndarray, " n"]:
    """Eight bytes of each text's SHA-256: two of a million texts collide once in 40 million."""
    digests = (
        hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).digest() for text in texts
    )
    return np.array([int.from_bytes(each[:8], "little") for each in digests], dtype=np.uint64)
