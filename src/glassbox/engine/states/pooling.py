"""Hidden states of running rows, reduced where the model runs and copied once at the end.

Sums, sums of norms and last states of every row stand side by side, indexed by the row's slot, so
that a step updates all rows with a few operations: rows that write bring one token each, which
needs no loop at all. Knows flat batches and slots; knows nothing of modules or requests beyond
what they want to have read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.model.distributions import require_finite
from glassbox.engine.requests import CapturedStates, Readout, Request
from glassbox.types import Capture, HookPoint, Scope

MAX_DIRECTIONS = 64
"""Combinations of readouts whose weights are kept on the device."""

MAX_UNIONS = 256
"""Combinations of captures whose places are remembered."""

POOLED_VALUES = 1 << 23
"""Values of states that are worked on at a time (32 MiB in float32)."""


class Covered(NamedTuple):
    """What one row of a step wants of its states; ranges are of the flat step."""

    slot: int
    """Where its sums are."""
    captured: range
    """Tokens that its capture covers; empty where it has none."""
    readouts: tuple[Readout, ...]
    """What is read out, with whole layers."""
    read_out: range
    """Tokens that the readouts cover."""


@dataclass(frozen=True)
class _Union:
    """What some captures want together."""

    points: tuple[HookPoint, ...]
    where: list[int]
    """Which of all places the points are."""
    forms: frozenset[str]


@dataclass(frozen=True, eq=False)
class Reduced:
    """What one step says of the rows' states."""

    readouts: list[Mapping[str, Float[np.ndarray, " _"]]]
    """Values of each row's readouts at the tokens that they cover; empty where there are none."""
    added: Mapping[str, Float[Tensor, "n_points n_rows *d_model"]]
    """Sums, sums of norms, and last states, by form."""
    whole: Mapping[int, Float[np.ndarray, "_ _ d_model"]]
    """Every position's states where that was asked for, by slot."""
    where: list[int]
    """Which of all places the points are."""
    slots: list[int]
    """Slots of the rows."""


_NO_VALUES: Mapping[str, np.ndarray] = {}


def covered_places(request: Request, scope: Scope) -> range:
    """Return the places of a row that a scope covers; open at the end where the row still grows."""
    n_prompt, first = len(request.prompt), request.n_hidden
    if scope == "prompt":
        return range(first, n_prompt)
    return range(n_prompt if scope == "generated" else first, 2**31)


class Pools:
    """Reduced states of all running rows."""

    def __init__(self) -> None:
        self._points: dict[HookPoint, int] = {}
        self._captures: dict[int, tuple[int, Capture]] = {}
        """What is captured of the row in each slot; equal captures have one number."""
        self._n_captures = 0
        self._unions: dict[frozenset[int], _Union] = {}
        self._directions: dict[tuple[int, ...], tuple[list[Readout], Tensor]] = {}
        self._sums = torch.empty(0, 0, 0)
        self._norms = torch.empty(0, 0)
        self._lasts = torch.empty(0, 0, 0)

    def enter(self, slot: int, capture: Capture | None) -> None:
        """Begin a row anew.

        Args:
            slot: Where its sums will be.
            capture: What it wants, its points with whole layers.
        """
        if slot < self._sums.shape[1]:
            for table in (self._sums, self._norms, self._lasts):
                table[:, slot] = 0
        if capture is not None:
            self._n_captures += 1
            alike = (known for known in self._captures.values() if known[1] == capture)
            self._captures[slot] = next(alike, (self._n_captures, capture))

    def move(self, source: int, target: int) -> None:
        """Let a row's sums follow it to another slot."""
        if source in self._captures:
            self._captures[target] = self._captures[source]
        if source < self._sums.shape[1] <= target:
            self._make_room(target + 1, self._sums)
        n = self._sums.shape[1]
        if target < n:
            for table in (self._sums, self._norms, self._lasts):
                table[:, target] = table[:, source] if source < n else 0

    def release(self) -> None:
        """Forget everything, when no row is running."""
        self._points.clear()
        self._captures.clear()
        self._unions.clear()
        self._directions.clear()
        self._sums, self._norms = torch.empty(0, 0, 0), torch.empty(0, 0)
        self._lasts = self._sums

    def points(self, rows: Sequence[Covered]) -> tuple[HookPoint, ...]:
        """Return the places where the rows of a step want their states."""
        points = self._union([row for row in rows if row.captured]).points
        asked = [readout.point for row in rows if row.read_out for readout in row.readouts]
        return tuple(dict.fromkeys((*points, *asked))) if asked else points

    def reduce(
        self, hidden: Mapping[HookPoint, Float[Tensor, "1 n d_model"]], rows: Sequence[Covered]
    ) -> Reduced:
        """Return what one step adds to the rows' sums; nothing is changed until it is kept."""
        readouts = self._read_out(hidden, rows)
        # Those that bring one token come first: they need no sum.
        captured = sorted(
            (row for row in rows if row.captured), key=lambda row: len(row.captured) > 1
        )
        if not captured:
            return Reduced(readouts, {}, {}, [], [])
        union = self._union(captured)
        first = min(row.captured.start for row in captured)
        stop = max(row.captured.stop for row in captured)
        spans = [range(row.captured.start - first, row.captured.stop - first) for row in captured]
        added: dict[str, list[Tensor]] = {form: [] for form in union.forms - {"none"}}
        whole: dict[int, dict[HookPoint, Float[np.ndarray, "_ d_model"]]] = {}
        like = hidden[union.points[0]]
        # In float32 all places at once may be larger than the model's own states.
        n_places = max(1, POOLED_VALUES // like.numel())
        for at in range(0, len(union.points), n_places):
            some = union.points[at : at + n_places]
            states = torch.stack([hidden[point][0, first:stop] for point in some]).float()
            for form, tensor in _pooled(states, spans, added).items():
                added[form].append(tensor)
            if "none" in union.forms:
                self._copy_whole(states, some, captured, spans, whole)
        self._make_room(max(row.slot for row in captured) + 1, like)
        return Reduced(
            readouts,
            {form: p[0] if len(p) == 1 else torch.cat(p) for form, p in added.items()},
            {
                slot: np.stack([states[point] for point in self._captures[slot][1].points])
                for slot, states in whole.items()
            },
            union.where,
            [row.slot for row in captured],
        )

    def keep(self, reduced: Reduced) -> None:
        """Add what a step adds."""
        if not reduced.slots:
            return
        at = _place(self._sums, reduced.where, reduced.slots)
        if "mean" in reduced.added:
            self._sums[at] += reduced.added["mean"]
        if "norm" in reduced.added:
            self._norms[at] += reduced.added["norm"]
        if "last" in reduced.added:
            self._lasts[at] = reduced.added["last"]

    def captured(
        self, slot: int, n: int, whole: Sequence[Float[np.ndarray, "points _ d_model"]]
    ) -> tuple[CapturedStates, ...]:
        """Return a row's states in the forms it asked for.

        Args:
            slot: The row's.
            n: Positions that were covered; 1 or more.
            whole: Every position's state, step by step; nothing where that was not asked for.

        Raises:
            NonFiniteOutput: They are not all numbers.
        """
        _, capture = self._captures[slot]
        where, forms = [self._points[point] for point in capture.points], capture.pooling
        count = np.float32(n)
        means = self._sums[where, slot].cpu().numpy() / count if "mean" in forms else None
        lasts = self._lasts[where, slot].cpu().numpy() if "last" in forms else None
        norms = self._norms[where, slot].cpu().numpy() / count if "norm" in forms else None
        nones = np.concatenate(whole, axis=1) if "none" in forms else None
        require_finite(*(each for each in (means, lasts, norms, nones) if each is not None))
        return tuple(
            CapturedStates(
                point=point,
                scope=capture.scope,
                n_positions=n,
                mean=None if means is None else means[index],
                last=None if lasts is None else lasts[index],
                norm=None if norms is None else float(norms[index]),
                none=None if nones is None else nones[index],
            )
            for index, point in enumerate(capture.points)
        )

    def _union(self, rows: Sequence[Covered]) -> _Union:
        name = frozenset([self._captures[row.slot][0] for row in rows])
        if name not in self._unions:
            captures = dict(self._captures[row.slot] for row in rows).values()
            points = tuple(dict.fromkeys(p for capture in captures for p in capture.points))
            for point in points:
                self._points.setdefault(point, len(self._points))
            if len(self._unions) >= MAX_UNIONS:
                self._unions.clear()
            self._unions[name] = _Union(
                points,
                [self._points[point] for point in points],
                frozenset(form for capture in captures for form in capture.pooling),
            )
        return self._unions[name]

    def _copy_whole(
        self,
        states: Float[Tensor, "n_points n_tokens d_model"],
        points: Sequence[HookPoint],
        rows: Sequence[Covered],
        spans: Sequence[range],
        whole: dict[int, dict[HookPoint, Float[np.ndarray, "_ d_model"]]],
    ) -> None:
        host = dict(zip(points, states.cpu().numpy(), strict=True))
        for row, span in zip(rows, spans, strict=True):
            _, capture = self._captures[row.slot]
            if "none" in capture.pooling:
                mine = {
                    point: host[point][span.start : span.stop].copy()
                    for point in capture.points
                    if point in host
                }
                whole.setdefault(row.slot, {}).update(mine)

    def _read_out(
        self, hidden: Mapping[HookPoint, Float[Tensor, "1 n d_model"]], rows: Sequence[Covered]
    ) -> list[Mapping[str, Float[np.ndarray, " _"]]]:
        asked: dict[HookPoint, dict[int, Readout]] = {}
        for row in rows:
            if row.read_out:
                for readout in row.readouts:
                    asked.setdefault(readout.point, {})[id(readout.weight)] = readout
        if not asked:
            return [_NO_VALUES] * len(rows)
        values = {}
        for point, readouts in asked.items():
            states = hidden[point][0].float()
            table = (states @ self._direction(readouts, states).T).cpu().numpy()
            values[point] = {key: table[:, column] for column, key in enumerate(readouts)}
        return [
            {
                readout.name: values[readout.point][id(readout.weight)][
                    row.read_out.start : row.read_out.stop
                ]
                + np.float32(readout.bias)
                for readout in row.readouts
            }
            if row.read_out
            else _NO_VALUES
            for row in rows
        ]

    def _direction(self, readouts: dict[int, Readout], like: Tensor) -> Tensor:
        key = tuple(readouts)
        if key not in self._directions:
            if len(self._directions) >= MAX_DIRECTIONS:
                self._directions.clear()
            # The readouts are kept too: the id of an array that is gone may come again.
            kept = list(readouts.values())
            weights = np.stack([np.asarray(each.weight, np.float32) for each in kept])
            self._directions[key] = (kept, torch.from_numpy(weights).to(like.device))
        return self._directions[key][1]

    def _make_room(self, n_slots: int, like: Tensor) -> None:
        known, slots = self._sums.shape[:2]
        n_points, d_model = len(self._points), like.shape[-1]
        if n_points <= known and n_slots <= slots:
            return
        if n_slots > slots:
            slots = max(n_slots, 2 * slots)
        shape = (n_points, slots, d_model)
        self._sums = _enlarged(self._sums, shape, like.device)
        self._norms = _enlarged(self._norms, shape[:2], like.device)
        self._lasts = _enlarged(self._lasts, shape, like.device)


def no_states(capture: Capture | None, d_model: int) -> tuple[CapturedStates, ...]:
    """Return what a capture shows where no position was covered."""
    if capture is None:
        return ()
    nothing = np.zeros((0, d_model), dtype=np.float32) if "none" in capture.pooling else None
    return tuple(CapturedStates(point, capture.scope, 0, none=nothing) for point in capture.points)


def _pooled(
    states: Float[Tensor, "n_points n_tokens d_model"],
    spans: Sequence[range],
    forms: Mapping[str, object],
) -> dict[str, Float[Tensor, "n_points n_rows *d_model"]]:
    """Return what the tokens of each row add to each of the forms; single tokens come first."""
    ends = _taken(states, [span.stop - 1 for span in spans])
    n_single = sum(len(span) == 1 for span in spans)
    longer = [slice(span.start, span.stop) for span in spans[n_single:]]
    pooled = {}
    if "last" in forms:
        pooled["last"] = ends
    if "mean" in forms:
        # Row by row: in a product with zeros and ones, one row's NaN would reach the others.
        sums = [states[:, span].sum(dim=1, keepdim=True) for span in longer]
        pooled["mean"] = torch.cat([ends[:, :n_single], *sums], dim=1) if sums else ends
    if "norm" in forms:
        norms = torch.linalg.vector_norm(states if longer else ends, dim=-1)
        if longer:
            singles = _taken(norms, [span.start for span in spans[:n_single]])
            sums = [norms[:, span].sum(dim=1, keepdim=True) for span in longer]
            norms = torch.cat([singles, *sums], dim=1)
        pooled["norm"] = norms
    return pooled


def _taken(states: Float[Tensor, "n_points n *d"], at: list[int]) -> Float[Tensor, "n_points m *d"]:
    """Return the states of some tokens; a view where they are neighbours."""
    run = _run(at)
    return states[:, at] if run is None else states[:, run]


def _place(
    table: Float[Tensor, "n_points n_slots d_model"], where: list[int], slots: list[int]
) -> tuple[slice | Tensor, slice | Tensor]:
    """Return the index of some slots at some places: without gaps, it selects a view."""
    rows, columns = _run(where), _run(slots)
    if rows is not None and columns is not None:
        return rows, columns
    device = table.device
    return torch.tensor(where, device=device)[:, None], torch.tensor(slots, device=device)[None]


def _enlarged(table: Tensor, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return a table of a larger shape that holds what it held, else zeros."""
    larger = torch.zeros(shape, device=device)
    if table.numel():
        larger[: table.shape[0], : table.shape[1]] = table
    return larger


def _run(numbers: list[int]) -> slice | None:
    """Return the slice that has these numbers in their order, if one has."""
    if not numbers:
        return slice(0, 0)
    first, stop = numbers[0], numbers[-1] + 1
    return slice(first, stop) if numbers == list(range(first, stop)) else None
