"""The corpus of a study: its response logs, or a seeded sample of them. Knows nothing of models."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glassbox.pathways.study.log_records import LogRecord, read_log_records


@dataclass(frozen=True)
class LoggedResponses:
    """The responses that the corpus is made of."""

    folder: Path
    """Folder of the logs."""
    most: int | None
    """Most distinct responses; None is all."""
    seed: int
    """Decides which."""

    def __iter__(self) -> Iterator[LogRecord]:
        """Yield them in the order of files and records; repeated ones come as often as they are."""
        if self.most is None:
            yield from read_log_records(self.folder)
            return
        last = self._last(self.most)
        for record in read_log_records(self.folder):
            if _place(record, self.seed) <= last:
                yield record

    def _last(self, most: int) -> int:
        # A text is in the sample by its own hash: the same one in every run, whatever its order.
        places = np.fromiter(
            {_place(record, self.seed) for record in read_log_records(self.folder)}, np.uint64
        )
        if len(places) <= most:
            return int(np.iinfo(np.uint64).max)
        return int(np.partition(places, most - 1)[most - 1])


def _place(record: LogRecord, seed: int) -> int:
    content = f"{seed}\0{record.prompt}\0{record.response}".encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
