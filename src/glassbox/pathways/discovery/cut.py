"""Which of all gradients are worth a look: sums over texts, and the cut.

A target's gradients in all its texts become one row for each source latent. The cut is unit-free:
the share of the target's summed |attribution| that a source has. The plan's own rule, a bound on
|gradient| in the raw units of two dictionaries, is there as well, and each table says which rule
it was made with and in which unit. Arithmetic on arrays; knows nothing of models.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from glassbox.errors import InvalidValue
from glassbox.pathways.corpus.contexts import Target
from glassbox.pathways.discovery.gradients import ContextGradients, LayerGradients, Mode, Path
from glassbox.pathways.latents import LatentId

Rule = Literal["share", "gradient"]
Rank = Literal["total", "mediated"]
UNITS: dict[Rule, str] = {
    "share": "fraction of the target's summed |attribution|",
    "gradient": "target pre-activation per source activation, raw units of the dictionaries",
}
"""What the bound of each rule is counted in."""


@dataclass(frozen=True)
class Cut:
    """Which sources of a target are kept."""

    rule: Rule = "share"
    least: float = 0.01
    """Smallest share, or smallest |gradient|. Source of 0.1 for the latter: the study's plan."""
    top: int = 25
    """Most sources of a target. Source: the study's plan."""
    rank_by: Rank = "total"
    """Ranked by |attribution|, or by the part of it that the skip connection does not carry."""

    def __post_init__(self) -> None:
        if self.top < 1 or self.least < 0:
            raise InvalidValue("cut", self, "top at least 1, least not negative")

    @property
    def unit(self) -> str:
        """What ``least`` is counted in."""
        return UNITS[self.rule]


@dataclass(frozen=True)
class Candidate:
    """One source of one target, over all of the target's texts."""

    target: LatentId
    source: LatentId
    n_contexts: int
    """Texts in which the source fires no later than the target."""
    n_active: int
    """Firings of the source in them."""
    gradient_mean: float
    """Of the change of the target's pre-activation for one unit more of the source wherever it
    fires; over texts."""
    gradient_sd: float
    """Over texts, with one degree of freedom taken; 0 for a single text."""
    attribution_mean: float
    """Of gradient times activation, summed over a text; over all texts of the target, those
    without the source counting as 0."""
    attribution_share: float
    """Of the target's summed |attribution| over sources, a fraction."""
    direct: float
    """Encoder row times decoder row: what the skip connection carries from the same position."""
    mediated: float
    """Mean attribution less what the skip connection carries of it."""
    same_position_share: float
    """Of the |attribution|, what comes from the target's own position; a fraction."""
    kept: bool
    """Whether the cut keeps it."""
    rank: int
    """Among the target's sources, 0 first."""
    path: Path
    mode: Mode


@dataclass(frozen=True)
class CandidateTable:
    """All sources of all targets that were looked at."""

    rows: tuple[Candidate, ...]
    """By target, then by rank."""
    cut: Cut
    n_sources: Mapping[LatentId, int]
    """Sources of each target before the cut."""
    n_excluded: int
    """Firings at excluded positions, which are no sources."""

    @property
    def kept(self) -> tuple[Candidate, ...]:
        """The pathways worth a replay."""
        return tuple(row for row in self.rows if row.kept)

    def columns(self) -> dict[str, list[object]]:
        """Return the table by column, as ``candidates.parquet`` has it."""
        columns: dict[str, list[object]] = {
            "target": [row.target.name for row in self.rows],
            "source": [row.source.name for row in self.rows],
        }
        for side in ("target", "source"):
            for part in ("layer", "index"):
                columns[f"{side}_{part}"] = [getattr(getattr(row, side), part) for row in self.rows]
        for name in _PLAIN_COLUMNS:
            columns[name] = [getattr(row, name) for row in self.rows]
        return columns


_PLAIN_COLUMNS = (
    "n_contexts",
    "n_active",
    "gradient_mean",
    "gradient_sd",
    "attribution_mean",
    "attribution_share",
    "direct",
    "mediated",
    "same_position_share",
    "kept",
    "rank",
    "path",
    "mode",
)


@dataclass(frozen=True, eq=False)
class SourceSums:
    """One occurrence of a target: its sources in one text, summed over positions."""

    target: LatentId
    sources: Int[np.ndarray, "n 2"]
    """Layer and index, distinct."""
    n_active: Int[np.ndarray, " n"]
    gradient: Float[np.ndarray, " n"]
    attribution: Float[np.ndarray, " n"]
    size: Float[np.ndarray, " n"]
    """Summed |attribution| over positions."""
    at_target: Float[np.ndarray, " n"]
    """The part of ``size`` at the target's own position."""
    direct: Float[np.ndarray, " n"]
    """Encoder row times decoder row, where the source fires at the target's position; else 0."""
    carried: Float[np.ndarray, " n"]
    """What the skip connection carries of the attribution."""


def sum_sources(found: ContextGradients) -> Iterator[SourceSums]:
    """Yield each target's sources in one text, summed over positions."""
    for row, target in enumerate(found.context.targets):
        parts = [_of_layer(each, row, target) for each in found.layers if row >= each.first_target]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        if columns:
            yield SourceSums(target.latent, *columns)


def _of_layer(layer: LayerGradients, row: int, target: Target) -> tuple[np.ndarray, ...]:
    inside = layer.positions <= target.position
    indices, place = np.unique(layer.indices[inside], return_inverse=True)
    at = row - layer.first_target
    gradients = layer.gradients[at, inside].astype(np.float64)
    direct = layer.direct[at, inside].astype(np.float64)
    activations = layer.activations[inside].astype(np.float64)
    attributions = gradients * activations
    here = layer.positions[inside] == target.position

    def total(values: np.ndarray) -> np.ndarray:
        # Of nothing at all, numpy counts in whole numbers.
        return np.bincount(place, values, len(indices)).astype(np.float64)

    return (
        np.stack([np.full(len(indices), layer.layer), indices], 1),
        np.bincount(place, minlength=len(indices)),
        total(gradients),
        total(attributions),
        total(np.abs(attributions)),
        total(np.abs(attributions) * here),
        total(direct),
        total(direct * activations),
    )


def candidates(
    found: Iterable[ContextGradients], cut: Cut | None = None, *, near: int | None = None
) -> CandidateTable:
    """Return the sources of all targets over their texts, and which of them the cut keeps.

    A target that stands in one text more than once counts as often. Sums are taken in the order
    given, in double precision.

    Args:
        found: Gradients, text by text.
        cut: What is kept.
        near: Of what is not kept, rows only of this many strongest sources; None gives all.
    """
    cut = cut or Cut()
    by_target: dict[LatentId, list[SourceSums]] = {}
    ways: set[tuple[Path, Mode]] = set()
    n_excluded = 0
    for each in found:
        ways.add((each.path, each.mode))
        n_excluded += each.n_excluded
        for sums in sum_sources(each):
            by_target.setdefault(sums.target, []).append(sums)
    if len(ways) > 1:
        raise InvalidValue("path and mode", sorted(ways), "the same for all gradients of a table")
    rows: list[Candidate] = []
    n_sources = {}
    for target in sorted(by_target):
        way = next(iter(ways))
        columns = _joined(by_target.pop(target), way[1])
        n_sources[target] = len(columns["n_contexts"])
        rows += _rows(target, columns, cut, near, way)
    return CandidateTable(tuple(rows), cut, n_sources, n_excluded)


def _joined(parts: list[SourceSums], mode: Mode) -> dict[str, np.ndarray]:
    """Return the columns of one target's sources over all its texts, distinct and ascending."""
    sources, place = np.unique(
        np.concatenate([part.sources for part in parts]), axis=0, return_inverse=True
    )
    place, n = place.reshape(-1), len(sources)

    def total(name: str) -> np.ndarray:
        return np.bincount(place, np.concatenate([getattr(part, name) for part in parts]), n)

    n_contexts = np.bincount(place, minlength=n)
    gradients = np.concatenate([part.gradient for part in parts])
    mean = np.bincount(place, gradients, n) / n_contexts
    squares = np.bincount(place, (gradients - mean[place]) ** 2, n)
    attribution = total("attribution") / len(parts)
    carried = total("carried") / len(parts)
    size, at_target = total("size"), total("at_target")
    direct_at = np.concatenate([part.direct for part in parts])
    direct = np.zeros(n)
    direct[place[direct_at != 0]] = direct_at[direct_at != 0]
    summed = np.abs(attribution).sum()
    return {
        "source_layer": sources[:, 0],
        "source_index": sources[:, 1],
        "n_contexts": n_contexts,
        "n_active": total("n_active"),
        "gradient_mean": mean,
        "gradient_sd": np.sqrt(squares / np.maximum(n_contexts - 1, 1)),
        "attribution_mean": attribution,
        "attribution_share": np.abs(attribution) / summed if summed else np.zeros(n),
        "direct": direct,
        "mediated": attribution if mode == "mediated" else attribution - carried,
        "same_position_share": np.divide(at_target, size, out=np.zeros(n), where=size > 0),
    }


def _rows(
    target: LatentId,
    columns: Mapping[str, np.ndarray],
    cut: Cut,
    near: int | None,
    way: tuple[Path, Mode],
) -> Iterator[Candidate]:
    """Yield one target's sources by rank: those that the cut keeps, and the ones near it."""
    by = np.abs(columns["attribution_mean" if cut.rank_by == "total" else "mediated"])
    order = np.lexsort((columns["source_index"], columns["source_layer"], -by))
    if cut.rule == "share":
        passes = columns["attribution_share"][order] >= cut.least
    else:
        passes = np.abs(columns["gradient_mean"])[order] >= cut.least
    kept = passes & (np.cumsum(passes) <= cut.top)
    shown = kept | (np.arange(len(order)) < (len(order) if near is None else near))
    for rank in np.flatnonzero(shown).tolist():
        of_row = {name: column[order[rank]].item() for name, column in columns.items()}
        source = LatentId(of_row.pop("source_layer"), of_row.pop("source_index"))
        of_row["n_active"] = int(of_row["n_active"])
        yield Candidate(
            target=target,
            source=source,
            kept=bool(kept[rank]),
            rank=rank,
            path=way[0],
            mode=way[1],
            **of_row,
        )
