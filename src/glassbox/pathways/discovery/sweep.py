"""All upstream gradients of many targets in one way down.

Texts and their targets go down together, layers outermost, so that a dictionary is needed once
for all of them and then never again; on a processor each of its threads takes some of the texts.
At each layer the targets that stand on it enter, and the gradient by every latent that fires is
one product of a cotangent with a decoder row. The SAE's error is held constant throughout. Equal
to plain automatic differentiation (``oracle``), which takes one pass a target.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.model.memory import within_memory
from glassbox.errors import InvalidData, InvalidValue
from glassbox.pathways.blocks.tape import ContextTape, tape_context
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.blocks.workspace import Workspace
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.discovery.descent import Descent, Entrant, ReadRows
from glassbox.pathways.discovery.firing import Firing
from glassbox.pathways.discovery.gradients import (
    ContextGradients,
    LayerGradients,
    Mode,
    Path,
    join_targets,
)
from glassbox.pathways.discovery.sources import LayerSources, Sources, place_of
from glassbox.pathways.discovery.workers import Together, n_workers, split_evenly, workers
from glassbox.pathways.saes.rows import LatentRows

TILE_ROWS = {"cpu": 512, "cuda": 8192}
"""Rows multiplied together by kind of device: on a processor what fits its caches."""
DIRECT_PAIRS = 2048
"""Pairs of rows that are multiplied together for the skip connection's part."""


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is done; none of it but mode and path changes what comes out."""

    mode: Mode = "total"
    path: Path = "past"
    chunk_targets: int = 256
    """Most targets that are on their way at once."""
    chunk_positions: int = 1024
    """Most positions whose tapes are held at once, unless a single text is longer."""
    tile_rows: int | None = None
    """Rows multiplied together; None is what suits the device."""


def upstream_gradients(
    model: ModelBlocks,
    contexts: Sequence[Context],
    targets: Mapping[int, LatentRows],
    sources: Sources,
    options: SweepOptions,
) -> Iterator[ContextGradients]:
    """Yield the gradients of each context's targets, in the order of the contexts.

    Runs out of memory no sooner than at a single target: until then chunks are halved.

    Args:
        model: The blocks.
        contexts: Texts with targets.
        targets: Rows of all latents that are targets, by layer.
        sources: Latents that gradients are wanted for.
        options: How.

    Raises:
        InvalidValue: ``through`` is asked of a few rows, or a chunk of no targets.
        InvalidData: A target's row is not among the rows, or its layer is not in the model.
        OutOfMemory: A single target is too much.
    """
    return Sweep(model, targets, sources, options).run(contexts)


@dataclass(eq=False)
class _Lane:
    """One text on its way down."""

    context: Context
    taped: ContextTape
    vectors: Float[Tensor, "targets d"]
    descent: Descent
    found: list[LayerGradients] = field(default_factory=list)
    """So far, the highest layer first."""
    firing: Firing | None = None
    """On the layer it has come to; none where no target is above."""


class Sweep:
    """The way down, for as many texts as there are; see ``upstream_gradients``."""

    def __init__(
        self,
        model: ModelBlocks,
        targets: Mapping[int, LatentRows],
        sources: Sources,
        options: SweepOptions,
    ) -> None:
        if options.chunk_targets < 1:
            raise InvalidValue("chunk_targets", options.chunk_targets, "at least 1")
        self._model, self._sources, self._options = model, sources, options
        self._targets = {
            layer: rows.to(model.device, model.dtype) for layer, rows in targets.items()
        }
        self._spaces: dict[int, Workspace] = {}
        self._chunk = options.chunk_targets

    @property
    def chunk_targets(self) -> int:
        """Targets that go down together now: fewer than asked for once memory ran out."""
        return self._chunk

    def _space(self, worker: int) -> Workspace:
        return self._spaces.setdefault(worker, Workspace(self._model.device, self._model.dtype))

    def run(self, contexts: Sequence[Context]) -> Iterator[ContextGradients]:
        """Yield the gradients of each context, in order."""
        waiting = [
            Piece(at, each, (0, len(each.targets)))
            for at, each in enumerate(contexts)
            if each.targets
        ]
        done: dict[int, list[ContextGradients]] = {at: [] for at in range(len(contexts))}
        finished = 0
        while waiting:
            together, rest = pack(waiting, self._chunk, self._options.chunk_positions)
            found = self._attempt(together)
            if found is None:
                continue
            waiting = rest
            for piece, part in zip(together, found, strict=True):
                done[piece.at].append(part)
            upto = waiting[0].at if waiting else len(contexts)
            for at in range(finished, upto):
                yield self._joined(contexts[at], done.pop(at))
            finished = upto
        for context in contexts[finished:]:
            yield self._joined(context, [])

    def _joined(self, context: Context, parts: Sequence[ContextGradients]) -> ContextGradients:
        if parts:
            return join_targets(parts, context)
        return ContextGradients(context, self._options.mode, self._options.path, ())

    def _attempt(self, pieces: "Sequence[Piece]") -> list[ContextGradients] | None:
        """Return the pieces' gradients; or None where memory ran out and the chunk was halved."""
        n_targets = sum(piece.n_targets for piece in pieces)
        found = within_memory(
            lambda: self._together([piece.cut() for piece in pieces]),
            n=n_targets,
            too_much=lambda: (
                "The gradients of a single target do not fit into memory "
                f"({len(pieces[0].context.token_ids)} tokens on {self._model.device}). "
                "Use shorter contexts or a smaller number format."
            ),
            let_go=self._spaces.clear,
        )
        if found is None:
            self._chunk = n_targets // 2
        return found

    @torch.no_grad()
    def _together(self, contexts: Sequence[Context]) -> list[ContextGradients]:
        """Return the gradients of some texts that go down side by side."""
        sizes = [float(sum(t.position * t.latent.layer for t in each.targets)) for each in contexts]
        shares = split_evenly(sizes, n_workers(self._model.device, len(contexts)))
        highest = max(context.last_layer for context in contexts)
        order = [layer for layer in reversed(self._sources.layers) if layer < highest]
        lanes: dict[int, _Lane] = {}
        with workers(len(shares)) as together:

            def start(worker: int) -> None:
                for at in shares[worker]:
                    lanes[at] = self._lane(contexts[at], self._space(worker))

            together(start, range(len(shares)))
            laid = [[lanes[at] for at in share] for share in shares]
            behind = highest
            for source in self._sources.stream(order, self._model.device, self._model.dtype):
                self._layer(laid, source, range(behind, source.layer, -1), together)
                behind = source.layer
        mode, path = self._options.mode, self._options.path
        return [
            ContextGradients(context, mode, path, tuple(reversed(lanes[at].found)))
            for at, context in enumerate(contexts)
        ]

    def _layer(
        self, laid: list[list[_Lane]], source: LayerSources, span: range, together: Together
    ) -> None:
        """Take all texts down to a layer, and read their gradients by its latents."""

        def go_down(lanes: list[_Lane]) -> None:
            for lane in lanes:
                self._down(lane, span)
                above = lane.context.last_layer > source.layer
                lane.firing = self._firing(lane, source) if above else None

        def read(lanes: list[_Lane]) -> None:
            for lane in lanes:
                if lane.firing is not None:
                    lane.found.append(self._read(lane, source, lane.firing))

        together(go_down, laid)
        if self._options.path == "past":
            # All texts wait here for one another, so that the encoder makes room for what is next.
            source.drop_encoder()
        together(read, laid)
        source.drop()

    def _down(self, lane: _Lane, span: range) -> None:
        """Take a text down to a layer."""
        if self._options.mode != "direct":
            for layer in span:
                lane.descent.down(layer)

    def _firing(self, lane: _Lane, source: LayerSources) -> Firing:
        """Return what fires on a layer that has targets above it, up to the last of them."""
        stream = lane.taped.output(source.layer)[: self._reach(lane, source) + 1]
        return source.firing(stream, lane.context.excluded)

    def _reach(self, lane: _Lane, source: LayerSources) -> int:
        """Return the last position of a target above a layer."""
        above = lane.context.targets
        return max(each.position for each in above if each.latent.layer > source.layer)

    def _lane(self, context: Context, space: Workspace) -> _Lane:
        model = self._model
        if context.last_layer >= model.n_layers or len(context.token_ids) > model.context:
            raise InvalidData(
                f"context {context.document_id} has a target on layer {context.last_layer} and "
                f"{len(context.token_ids)} tokens; the model has layers 0 to {model.n_layers - 1} "
                f"and takes {model.context} tokens"
            )
        tokens = torch.tensor(context.token_ids[: context.last_position + 1])
        taped = tape_context(model, tokens, context.last_layer + 1)
        vectors = self._vectors(context)
        entrants = [
            Entrant(row, target.latent.layer, target.position, vectors[row])
            for row, target in enumerate(context.targets)
        ]
        excluded = set(context.excluded)
        descent = Descent(
            model,
            taped,
            entrants,
            space,
            way="frozen" if self._options.mode == "frozen" else "total",
            first=next(at for at in range(len(context.token_ids)) if at not in excluded),
            most_rows=self._options.tile_rows or TILE_ROWS.get(model.device.type, 512),
        )
        return _Lane(context, taped, vectors, descent)

    def _vectors(self, context: Context) -> Float[Tensor, "targets d"]:
        """Return the encoder rows of a context's targets, in their order."""
        vectors = []
        for target in context.targets:
            place = place_of(target.latent, self._targets)
            vectors.append(self._targets[target.latent.layer].w_enc[place])
        return torch.stack(vectors)

    def _read(self, lane: _Lane, source: LayerSources, firing: Firing) -> LayerGradients:
        """Return the gradients by one layer's latents."""
        through = self._options.path == "through"
        if through and not source.is_whole:
            raise InvalidValue(
                "path", "through", "'past' where sources are a few rows: through needs all latents"
            )
        first = sum(each.latent.layer <= source.layer for each in lane.context.targets)
        reach = self._reach(lane, source)
        if not through:
            firing = firing.only_counted()
        positions = firing.positions.cpu().numpy()
        starts = np.searchsorted(positions, np.arange(reach + 2))
        rows = ReadRows(
            firing,
            tuple(int(start) for start in starts),
            source.decoder().to(self._model.dtype),
            source.encoder().to(self._model.dtype) if through else None,
        )
        direct = _direct(lane, rows, first)
        gradients = direct
        if self._options.mode != "direct":
            inside = torch.zeros(len(lane.descent.rows), len(positions), device=self._model.device)
            lane.descent.read(rows, inside)
            gradients = torch.zeros_like(direct)
            gradients[torch.tensor(lane.descent.rows) - first] = inside
        if self._options.mode == "mediated":
            gradients = gradients - direct
        counted = firing.counted
        return LayerGradients(
            source.layer,
            _numpy(firing.positions[counted]),
            _numpy(source.index_of(firing.places[counted])),
            _numpy(firing.activations[counted]),
            first,
            _numpy(gradients[:, counted]),
            _numpy(direct[:, counted]),
            firing.n_excluded,
        )


@dataclass(frozen=True)
class Piece:
    """Some consecutive targets of a context."""

    at: int
    """Number of the context."""
    context: Context
    span: tuple[int, int]

    @property
    def n_targets(self) -> int:
        """How many targets."""
        return self.span[1] - self.span[0]

    def cut(self) -> Context:
        """Return the context with these targets alone."""
        return replace(self.context, targets=self.context.targets[slice(*self.span)])

    def split(self, n_targets: int) -> "tuple[Piece, Piece]":
        """Return the first so many targets, and the others."""
        start, stop = self.span
        middle = start + n_targets
        return replace(self, span=(start, middle)), replace(self, span=(middle, stop))


def pack(
    waiting: Sequence[Piece], n_targets: int, n_positions: int
) -> tuple[list[Piece], list[Piece]]:
    """Return the pieces that go down together next, and the rest, in the order given.

    Args:
        waiting: At least one piece.
        n_targets: Most targets together; a piece with more is split.
        n_positions: Most positions together, unless a single piece has more.
    """
    together: list[Piece] = []
    rest = list(waiting)
    while rest:
        room = n_targets - sum(piece.n_targets for piece in together)
        held = sum(len(piece.context.token_ids) for piece in together)
        if not room or (together and held + len(rest[0].context.token_ids) > n_positions):
            break
        piece = rest.pop(0)
        if piece.n_targets > room:
            piece, remaining = piece.split(room)
            rest.insert(0, remaining)
        together.append(piece)
    return together, rest


def _direct(lane: _Lane, rows: ReadRows, first: int) -> Float[Tensor, "targets sources"]:
    """Return encoder rows times decoder rows, where target and source share a position."""
    n_sources = len(rows.firing.positions)
    device = lane.vectors.device
    out = torch.zeros(len(lane.vectors) - first, n_sources, device=device)
    starts = np.asarray(rows.starts)
    ends = np.asarray([each.position for each in lane.context.targets[first:]], np.int64)
    counts = starts[ends + 1] - starts[ends]
    at = np.repeat(np.arange(len(ends)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = np.repeat(starts[ends], counts) + offsets
    for low in range(0, len(at), DIRECT_PAIRS):
        some = slice(low, low + DIRECT_PAIRS)
        row, column = (torch.as_tensor(each[some], device=device) for each in (at, columns))
        decoder = rows.decoder[rows.firing.places[column]].float()
        out[row, column] = (lane.vectors[first + row].float() * decoder).sum(-1)
    return out


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
