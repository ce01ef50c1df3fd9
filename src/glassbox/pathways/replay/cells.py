"""Measured effects as a table: one row for each target, source and dose in one text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import InvalidData

KEPT: Final = 0
"""A pathway above the cut."""
RANDOM: Final = 1
"""A random direction in the source's place: the null."""
BELOW: Final = 2
"""One of the sample below the cut."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows of the table, column by column."""

    kind: Int[np.ndarray, " n"]
    """``KEPT``, ``RANDOM`` or ``BELOW``."""
    document_id: Int[np.ndarray, " n"]
    target_layer: Int[np.ndarray, " n"]
    target_index: Int[np.ndarray, " n"]
    position: Int[np.ndarray, " n"]
    """Of the target."""
    source_layer: Int[np.ndarray, " n"]
    source_index: Int[np.ndarray, " n"]
    dose: Int[np.ndarray, " n"]
    """Place among the doses of the replay."""
    predicted: Float[np.ndarray, " n"]
    """Attribution times the dose's relative change; NaN where there is no prediction."""
    pre: Float[np.ndarray, " n"]
    """Change of the target's pre-activation."""
    post: Float[np.ndarray, " n"]
    """Change of its activation."""
    flips: Bool[np.ndarray, " n"]
    """Whether its gate opened or closed."""
    change: Float[np.ndarray, " n"]
    """Change of the source's activation, summed over its positions."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.kind)

    def take(self, at: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"]) -> "Cells":
        """Return some of the rows."""
        return Cells(*(getattr(self, each.name)[at] for each in fields(self)))


@dataclass(frozen=True, eq=False)
class MeasuredText:
    """What the replays of one text measured."""

    cells: Cells
    n_considered: int
    """(target, source) pairs looked at in this text."""
    n_below: int
    """Of these, below the cut."""
    n_unmatched: int
    """Random directions asked for that no active latent was left for."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything as named arrays, for a file."""
        counts = [self.n_considered, self.n_below, self.n_unmatched]
        columns = {each.name: getattr(self.cells, each.name) for each in fields(Cells)}
        return {**columns, "counts": np.array(counts, np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "MeasuredText":
        """Return what ``to_arrays`` wrote.

        Raises:
            InvalidData: A column is missing.
        """
        missing = {each.name for each in fields(Cells)} | {"counts"}
        missing -= set(arrays)
        if missing:
            raise InvalidData(f"measured effects lack {', '.join(sorted(missing))}")
        cells = Cells(*(arrays[each.name] for each in fields(Cells)))
        return cls(cells, *(int(each) for each in arrays["counts"]))


def joined_cells(parts: Iterable[Cells]) -> Cells:
    """Return the rows of many tables, one after the other."""
    given = list(parts) or [no_cells()]
    return Cells(*(np.concatenate([getattr(each, one.name) for each in given])
                   for one in fields(Cells)))  # fmt: skip


def no_cells() -> Cells:
    """Return a table without rows."""
    kinds = {"flips": bool} | dict.fromkeys(("predicted", "pre", "post", "change"), np.float32)
    return Cells(*(np.zeros(0, kinds.get(each.name, np.int64)) for each in fields(Cells)))
