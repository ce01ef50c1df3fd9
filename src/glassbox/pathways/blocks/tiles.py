"""How the cotangents of many targets lie in memory: only what is inside each target's cone.

A target at position p depends on positions up to p and no other. Targets are sorted by position,
the last first; a tile is a run of positions together with the targets that reach into it, a
rectangle ``[position, target, d]``. Tiles follow one another, the last positions first, in one
flat array of rows, so that matrices are multiplied without gaps, several tiles at a time. A
tile's few rows beyond a cone stay zero by themselves. Pure arithmetic; knows nothing of blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Tile:
    """A run of positions and the first so many targets, which reach into it."""

    start: int
    """First position."""
    stop: int
    """One behind the last position."""
    n_targets: int
    row: int
    """Its first row in the flat array."""

    @property
    def n_positions(self) -> int:
        """How many positions it has."""
        return self.stop - self.start

    @property
    def n_rows(self) -> int:
        """How many rows it takes: position-major, targets inside."""
        return self.n_positions * self.n_targets

    @property
    def rows(self) -> slice:
        """Its rows in the flat array."""
        return slice(self.row, self.row + self.n_rows)


@dataclass(frozen=True)
class Strip:
    """Tiles that follow one another in the flat array and are multiplied together."""

    tiles: tuple[Tile, ...]

    @property
    def n_rows(self) -> int:
        """Rows of all its tiles."""
        return sum(tile.n_rows for tile in self.tiles)

    @property
    def rows(self) -> slice:
        """Its rows in the flat array."""
        return slice(self.tiles[0].row, self.tiles[0].row + self.n_rows)

    def inside(self) -> Iterator[tuple[Tile, slice]]:
        """Yield the tiles, with their rows counted from the strip's first."""
        first = self.tiles[0].row
        for tile in self.tiles:
            yield tile, slice(tile.row - first, tile.row - first + tile.n_rows)


@dataclass(frozen=True)
class Tiling:
    """The tiles of some targets, the last positions first."""

    ends: tuple[int, ...]
    """Position of each target, descending."""
    first: int
    """First position that matters; what is before it is left out."""
    tiles: tuple[Tile, ...]
    strips: tuple[Strip, ...]
    """All tiles again, by what is multiplied together."""

    @property
    def n_rows(self) -> int:
        """Rows of the flat array."""
        return sum(tile.n_rows for tile in self.tiles)

    def row_of(
        self, targets: Int[np.ndarray, " n"], positions: Int[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"]:
        """Return the row of some (target, position) pairs, each inside its target's cone."""
        first = np.empty(self.ends[0] + 1, np.int64)
        for tile in self.tiles:
            first[tile.start : tile.stop] = tile.row + tile.n_targets * np.arange(tile.n_positions)
        rows: np.ndarray = first[positions] + targets
        return rows

    def cones(self) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
        """Return target and position of every useful row, by target."""
        lengths = np.asarray(self.ends) + 1 - self.first
        targets = np.repeat(np.arange(len(self.ends)), lengths)
        starts = np.cumsum(lengths) - lengths
        return targets, self.first + np.arange(lengths.sum()) - np.repeat(starts, lengths)


def plan_tiles(
    ends: Sequence[int], *, first: int = 0, most_rows: int, waste: float = 0.05
) -> Tiling:
    """Return tiles for targets at some positions.

    Args:
        ends: Position of each target, descending; at least one.
        first: First position that matters.
        most_rows: Rows a tile may have; a single position with more targets is one tile still.
        waste: Rows outside cones that a tile may have, as a share of those inside.
    """
    reaching = _n_reaching(ends)
    tiles: list[Tile] = []
    stop, row = len(reaching), 0
    while stop > first:
        start, useful = stop - 1, reaching[stop - 1]
        while start > first:
            n_rows = (stop - start + 1) * reaching[start - 1]
            more = useful + reaching[start - 1]
            if n_rows > most_rows or n_rows - more > waste * more:
                break
            start, useful = start - 1, more
        tiles.append(Tile(start, stop, reaching[start], row))
        row += tiles[-1].n_rows
        stop = start
    return Tiling(tuple(ends), first, tuple(tiles), tuple(_strips(tiles, most_rows)))


def _strips(tiles: Sequence[Tile], most_rows: int) -> Iterator[Strip]:
    """Yield runs of tiles of at most so many rows, and about as many each."""
    n_rows = sum(tile.n_rows for tile in tiles)
    # Even strips: a small last one would be multiplied at a worse rate.
    even = n_rows / -(-n_rows // most_rows)
    together: list[Tile] = []
    held = done = n_strips = 0
    for tile in tiles:
        if together and (held + tile.n_rows > most_rows or done >= even * (n_strips + 1) - 0.5):
            yield Strip(tuple(together))
            together, held, n_strips = [], 0, n_strips + 1
        together.append(tile)
        held += tile.n_rows
        done += tile.n_rows
    yield Strip(tuple(together))


def _n_reaching(ends: Sequence[int]) -> list[int]:
    """Return, by position, how many targets stand on it or behind it."""
    at = np.bincount(np.asarray(ends, np.int64), minlength=ends[0] + 1)
    return [int(n) for n in np.cumsum(at[::-1])[::-1]]
