"""Hidden states of running rows, reduced where the model runs and copied once at the end.

Sums, sums of norms and last states of every row stand side by side, indexed by the row's slot, so
that a step updates all rows with a few operations. Knows flat batches and slots; knows nothing of
modules or requests beyond what they want to have read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.requests import CapturedStates, Readout, Request
from glassbox.types import Capture, HookPoint, Scope

MAX_DIRECTIONS = 64
"""Combinations of readouts whose weights are kept on the device."""

POOLED_VALUES = 1 << 23
"""Values of states that are worked on at a time (32 MiB in float32)."""


@dataclass(frozen=True)
class Covered:
    """What one row of a step wants of its states; indices are into the flat step."""

    slot: int
    """Where its sums are."""
    capture: Capture | None
    """What is captured, its points with whole layers."""
    captured: range
    """Tokens that the capture covers."""
    readouts: tuple[Readout, ...]
    """What is read out, with whole layers."""
    read_out: range
    """Tokens that the readouts cover."""

    @property
    def points(self) -> tuple[HookPoint, ...]:
        """Places that are captured."""
        return () if self.capture is None else self.capture.points


@dataclass(frozen=True, eq=False)
class Reduced:
    """What one step says of the rows' states."""

    added: dict[str, Float[Tensor, "n_points n_rows *d_model"]]
    """Sums, sums of norms, and last states, by form."""
    whole: dict[int, Float[np.ndarray, "_ _ d_model"]]
    """Every position's states where that was asked for, by slot."""
    where: list[int]
    """Which of all places the points are."""
    slots: list[int]
    """Slots of the rows."""
    readouts: list[dict[str, Float[np.ndarray, " _"]]]
    """Values of each row's readouts at the tokens that they cover; empty where there are none."""


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
        self._sums = torch.empty(0, 0, 0)
        self._norms = torch.empty(0, 0)
        self._lasts = torch.empty(0, 0, 0)
        self._directions: dict[tuple[int, ...], tuple[list[Readout], Tensor]] = {}

    def reduce(
        self, hidden: dict[HookPoint, Float[Tensor, "1 n d_model"]], rows: Sequence[Covered]
    ) -> Reduced:
        """Return what one step adds to the rows' sums; nothing is changed until it is kept."""
        readouts = self._read_out(hidden, rows)
        captured = [row for row in rows if row.capture is not None and row.captured]
        if not captured:
            return Reduced({}, {}, [], [], readouts)
        points = list(dict.fromkeys(p for row in captured for p in row.points))
        wanted = {form for row in captured if row.capture for form in row.capture.pooling}
        first, stop = captured[0].captured.start, captured[-1].captured.stop
        spans = [slice(row.captured.start - first, row.captured.stop - first) for row in captured]
        added: dict[str, list[Tensor]] = {form: [] for form in wanted - {"none"}}
        whole: dict[int, dict[HookPoint, Float[np.ndarray, "_ d_model"]]] = {}
        # In float32 all places at once may be larger than the model's own states.
        n_places = max(1, POOLED_VALUES // hidden[points[0]].numel())
        for at in range(0, len(points), n_places):
            some = points[at : at + n_places]
            states = torch.stack([hidden[point][0, first:stop] for point in some]).float()
            for form, parts in added.items():
                parts.append(_pooled(form, states, spans))
            if "none" in wanted:
                host = dict(zip(some, states.cpu().numpy(), strict=True))
                for row, span in zip(captured, spans, strict=True):
                    if row.capture is not None and "none" in row.capture.pooling:
                        mine = {p: host[p][span].copy() for p in row.points if p in host}
                        whole.setdefault(row.slot, {}).update(mine)
        self._make_room(points, max(row.slot for row in captured) + 1, hidden[points[0]])
        return Reduced(
            {form: torch.cat(parts) for form, parts in added.items()},
            {
                row.slot: np.stack([whole[row.slot][point] for point in row.points])
                for row in captured
                if row.slot in whole
            },
            [self._points[point] for point in points],
            [row.slot for row in captured],
            readouts,
        )

    def keep(self, reduced: Reduced) -> None:
        """Add what a step adds."""
        if not reduced.slots:
            return
        at = _index(self._sums.device, reduced.where, reduced.slots)
        if "mean" in reduced.added:
            self._sums[at] += reduced.added["mean"]
        if "norm" in reduced.added:
            self._norms[at] += reduced.added["norm"]
        if "last" in reduced.added:
            self._lasts[at] = reduced.added["last"]

    def move(self, source: int, target: int) -> None:
        """Let a row's sums follow it to another slot."""
        n = self._sums.shape[1]
        if target >= n:
            return
        for table in (self._sums, self._norms, self._lasts):
            table[:, target] = table[:, source] if source < n else 0

    def clear(self, slot: int) -> None:
        """Begin a row anew."""
        if slot < self._sums.shape[1]:
            for table in (self._sums, self._norms, self._lasts):
                table[:, slot] = 0

    def release(self) -> None:
        """Forget all places, when no row is running."""
        self._points.clear()
        self._directions.clear()
        self._sums, self._norms = torch.empty(0, 0, 0), torch.empty(0, 0)
        self._lasts = self._sums

    def captured(
        self,
        slot: int,
        capture: Capture,
        n: int,
        whole: Float[np.ndarray, "points n d_model"],
    ) -> tuple[CapturedStates, ...]:
        """Return a row's states in the forms asked for.

        Args:
            slot: The row's.
            capture: What it wants.
            n: Positions that were covered; 1 or more.
            whole: Every position's state; no positions where that was not asked for.
        """
        where, forms = [self._points[point] for point in capture.points], capture.pooling
        sums, norms, lasts = (
            table[where, slot].cpu().numpy() for table in (self._sums, self._norms, self._lasts)
        )
        return tuple(
            CapturedStates(
                point=point,
                scope=capture.scope,
                n_positions=n,
                mean=sums[index] / np.float32(n) if "mean" in forms else None,
                last=lasts[index] if "last" in forms else None,
                norm=float(norms[index]) / n if "norm" in forms else None,
                none=whole[index] if "none" in forms else None,
            )
            for index, point in enumerate(capture.points)
        )

    def _read_out(
        self, hidden: dict[HookPoint, Float[Tensor, "1 n d_model"]], rows: Sequence[Covered]
    ) -> list[dict[str, Float[np.ndarray, " _"]]]:
        asked: dict[HookPoint, dict[int, Readout]] = {}
        for row in rows:
            if row.read_out:
                for readout in row.readouts:
                    asked.setdefault(readout.point, {})[id(readout.weight)] = readout
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
            else {}
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

    def _make_room(self, points: Sequence[HookPoint], n_slots: int, like: Tensor) -> None:
        known = len(self._points)
        for point in points:
            self._points.setdefault(point, len(self._points))
        if len(self._points) == known and n_slots <= self._sums.shape[1]:
            return
        n_points, d_model = len(self._points), like.shape[-1]
        slots = (
            max(n_slots, 2 * self._sums.shape[1])
            if n_slots > self._sums.shape[1]
            else (self._sums.shape[1])
        )
        for name in ("_sums", "_norms", "_lasts"):
            before = getattr(self, name)
            shape = (n_points, slots) if name == "_norms" else (n_points, slots, d_model)
            larger = torch.zeros(shape, device=like.device)
            if known:
                larger[:known, : before.shape[1]] = before
            setattr(self, name, larger)


def no_states(capture: Capture | None, d_model: int) -> tuple[CapturedStates, ...]:
    """Return what a capture shows where no position was covered."""
    if capture is None:
        return ()
    nothing = np.zeros((0, d_model), dtype=np.float32) if "none" in capture.pooling else None
    return tuple(CapturedStates(point, capture.scope, 0, none=nothing) for point in capture.points)


def _pooled(
    form: str, states: Float[Tensor, "n_points n_tokens d_model"], spans: Sequence[slice]
) -> Float[Tensor, "n_points n_rows *d_model"]:
    """Return what the tokens of each row add to one of the forms."""
    if form == "last" or all(span.stop - span.start == 1 for span in spans):
        whole = states.shape[1] == len(spans)
        ends = states if whole else states[:, [span.stop - 1 for span in spans]]
        return ends.norm(dim=-1) if form == "norm" else ends
    # Row by row: in a product with zeros and ones, one row's NaN would reach the others.
    values = states.norm(dim=-1) if form == "norm" else states
    return torch.stack([values[:, span].sum(dim=1) for span in spans], dim=1)


def _index(device: torch.device, where: list[int], slots: list[int]) -> tuple[Tensor, Tensor]:
    rows = torch.tensor(where, device=device)[:, None]
    return rows, torch.tensor(slots, device=device)[None]
