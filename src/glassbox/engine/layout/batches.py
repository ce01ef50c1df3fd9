"""Which rows go through the model together, and what happens when they do not fit.

Rows are sorted by length, longest first, so that padding is small and a batch that does not fit
fails at once. Knows lengths and budgets; knows nothing of models.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from glassbox.engine.model.memory import within_memory

T = TypeVar("T")

KEYS_PER_TOKEN = 16
"""Keys that a batch may attend to for each token of its budget: a long shared prefix counts here.

Source: 60 rows of 34 tokens after a prefix of 74 have 3 keys a token; 16 leaves long
few-shot prompts room without letting attention outgrow the linear layers.
"""

READ_LOGITS = 1 << 25
"""Logits that a batch may read (128 MiB in float32)."""


NO_TEXT_FITS = (
    "Not even one text fits into memory beside the model. Shorten the text, choose a smaller model "
    "or number format, or free memory."
)


@dataclass(frozen=True)
class Budget:
    """How large a batch may be."""

    n_tokens: int
    """Tokens fed."""
    n_prefix: int
    """Tokens of the shared prefix, not fed again."""
    n_reads: int
    """Positions read in each row, the last of the prompt included."""
    d_vocab: int
    """Logits at each position read."""

    def fits(self, n_rows: int, length: int) -> bool:
        """Return whether some rows of at most a length fit.

        Args:
            n_rows: Rows.
            length: Tokens of the longest, prefix included.
        """
        fed = length - self.n_prefix + self.n_reads - 1
        return (
            n_rows * fed <= self.n_tokens
            and n_rows * (fed + self.n_prefix) <= KEYS_PER_TOKEN * self.n_tokens
            and n_rows * self.n_reads * self.d_vocab <= READ_LOGITS
        )


def cut_batches(lengths: Sequence[int], budget: Budget) -> list[list[int]]:
    """Return the rows of each batch, longest rows first; a row that fits nowhere stands alone."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batches and budget.fits(len(batches[-1]) + 1, lengths[batches[-1][0]]):
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def run_batches(
    batches: Sequence[list[int]], run: Callable[[list[int]], T]
) -> Iterator[tuple[list[int], T]]:
    """Yield the rows and the answer of each batch; one that does not fit is halved.

    Raises:
        OutOfMemory: Not even one row fits.
    """
    waiting = [list(batch) for batch in reversed(batches)]
    while waiting:
        rows = waiting.pop()
        answer = within_memory(partial(run, rows), n=len(rows), too_much=lambda: NO_TEXT_FITS)
        if answer is not None:
            yield rows, answer
            continue
        half = (len(rows) + 1) // 2
        waiting += [rows[half:], rows[:half]]
