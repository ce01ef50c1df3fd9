"""Cause and effect inside one model: what an answer becomes when states of another run stand there.

Two ways to the same numbers: put the states there and look (batched, one row of the batch for each
place), or follow the gradient, which is exact where the rest of the model is linear. Knows no
texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.errors import InvalidValue
from glassbox.techniques.measures.anatomy import Anatomy, Spot, Writer
from glassbox.techniques.measures.encoding import Batch, encode, next_token, pieces


@dataclass(frozen=True)
class Answer:
    """What is measured at the last position."""

    target: int
    """Token whose logit or log-probability it is."""
    against: int | None = None
    """Token whose logit is taken off; without one it is the target's log-probability."""

    def measure(self, logits: Float[Tensor, "batch pos d_vocab"]) -> Float[Tensor, " batch"]:
        """Return the difference of logits, or the log-probability (nats), of each row."""
        last = logits[:, -1].float()
        if self.against is None:
            return last.log_softmax(dim=-1)[:, self.target]
        return last[:, self.target] - last[:, self.against]


@dataclass(frozen=True)
class Cell:
    """A part of a place: where states are put."""

    spot: Spot
    """Layer and place."""
    position: int | None = None
    """Token; None means all."""
    columns: tuple[int, int] | None = None
    """Part of the width, from and up to; None means all."""

    def of(self, row: int) -> tuple[int, int | slice, slice]:
        """Return where it is in one row of a batch: row, positions and columns."""
        positions = slice(None) if self.position is None else self.position
        columns = slice(None) if self.columns is None else slice(*self.columns)
        return row, positions, columns

    def put(self, values: Tensor, source: Float[Tensor, "1 pos width"], row: int) -> None:
        """Copy the source's values of this cell into one row."""
        values[self.of(row)] = source[self.of(0)]


Sources = dict[Spot, Tensor]
"""States of another run by place, each [1, pos, width]."""


def cells_of(
    anatomy: Anatomy, site: str, sources: Sources, shown: Sequence[int]
) -> tuple[list[Cell], tuple[int, int]]:
    """Return every cell of a site, and the shape of their table.

    The table is [n_layers, n_positions]; for ``heads`` it is [n_layers, n_heads], each head at all
    positions at once.
    """
    spots = anatomy.spots(anatomy.part(site))
    if site == "heads":
        each = sources[spots[0]].shape[-1] // anatomy.n_heads
        bounds = [(head * each, (head + 1) * each) for head in range(anatomy.n_heads)]
        cells = [Cell(spot, columns=columns) for spot in spots for columns in bounds]
        return cells, (anatomy.n_layers, anatomy.n_heads)
    cells = [Cell(spot, position) for spot in spots for position in shown]
    return cells, (anatomy.n_layers, len(shown))


@dataclass(frozen=True, eq=False)
class Pair:
    """Two texts of equal length, one of whose states are to be put into the other's run."""

    anatomy: Anatomy
    """The model."""
    batch: Batch
    """The text that is run: the corrupted one."""
    sources: Sources
    """States of the clean one at every place of the site."""
    cells: list[Cell]
    """What is replaced, one after another."""
    shape: tuple[int, int]
    """Layers, and positions or heads."""
    answer: Answer
    """What is measured."""
    measured: str
    """Its tokens in words: the target, and the one whose logit is taken off."""
    clean: float
    """The measure of the clean run."""
    corrupted: float
    """The measure of the corrupted run."""


def paired(
    model: Any,
    tokenizer: Any,
    texts: tuple[str, str],
    site: str,
    answers: tuple[str, str | None],
) -> Pair:
    """Return two texts ready to be patched.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        texts: The clean and the corrupted one.
        site: A place of ``anatomy.PARTS``.
        answers: Text whose first token is measured, and the one it is measured against.

    Raises:
        InvalidValue: Texts of different length in tokens, or an answer that begins no new token.
    """
    anatomy = Anatomy(model)
    spots = anatomy.spots(anatomy.part(site))
    clean, corrupted = (encode(model, tokenizer, [text]) for text in texts)
    if clean.lengths != corrupted.lengths:
        raise InvalidValue(
            "tokens of the clean and the corrupted text", (*clean.lengths, *corrupted.lengths),
            "equal numbers, so that positions correspond",
        )  # fmt: skip
    asked = [each for each in answers if each is not None]
    ids = [next_token(tokenizer, texts[0], each) for each in asked]
    answer = Answer(*ids)
    ran = anatomy.run(clean, read=spots, last_only=True)
    before = anatomy.run(corrupted, last_only=True)
    sources = dict(ran.seen)
    cells, shape = cells_of(anatomy, site, sources, corrupted.shown[0])
    values = [float(answer.measure(each.logits)[0]) for each in (ran, before)]
    measured = " against ".join(map(repr, pieces(tokenizer, ids)))
    return Pair(anatomy, corrupted, sources, cells, shape, answer, measured, *values)


def effects_by_patching(pair: Pair, *, batch_size: int = 32) -> Float[np.ndarray, " n_cells"]:
    """Return the measure of the corrupted run with each cell alone replaced by the clean values.

    Args:
        pair: The two runs; each cell takes a row of a forward pass.
        batch_size: Rows of one forward pass.

    Raises:
        InvalidValue: A batch size below 1.
    """
    if batch_size < 1:
        raise InvalidValue("batch_size", batch_size, "1 or more")
    cells, batch, found = pair.cells, pair.batch, []
    for start in range(0, len(cells), batch_size):
        group = list(enumerate(cells[start : start + batch_size]))
        write = {
            spot: _putting([each for each in group if each[1].spot == spot], pair.sources[spot])
            for spot in {cell.spot for _, cell in group}
        }
        logits = pair.anatomy.run(batch.repeated(len(group)), write=write, last_only=True).logits
        found.append(pair.answer.measure(logits).cpu().numpy())
    return np.concatenate(found)


def _putting(cells: Sequence[tuple[int, Cell]], source: Tensor) -> Writer:
    def put(values: Tensor) -> Tensor:
        values = values.clone()
        for row, cell in cells:
            cell.put(values, source.to(values.dtype), row)
        return values

    return put


def effects_by_gradient(pair: Pair) -> Float[np.ndarray, " n_cells"]:
    """Return by how much the measure would change with each cell replaced, to first order.

    The change of the states times the gradient of the measure at the unchanged run; one forward
    and one backward pass for all cells.
    """
    nudges: dict[Spot, Tensor] = {}
    before: Sources = {}

    def nudging(spot: Spot) -> Callable[[Tensor], Tensor]:
        def nudge(values: Tensor) -> Tensor:
            before[spot] = values.detach()
            nudges[spot] = torch.zeros_like(values, requires_grad=True)
            return values + nudges[spot]

        return nudge

    spots = list(pair.sources)
    write = {spot: nudging(spot) for spot in spots}
    logits = pair.anatomy.run(pair.batch, write=write, last_only=True, grad=True).logits
    with torch.inference_mode(mode=False), torch.enable_grad():
        measure = pair.answer.measure(logits)[0]
    gradients = torch.autograd.grad(measure, [nudges[spot] for spot in spots])
    products = {
        spot: ((pair.sources[spot] - before[spot]) * gradient).float()
        for spot, gradient in zip(spots, gradients, strict=True)
    }
    found = [products[cell.spot][cell.of(0)].sum() for cell in pair.cells]
    return torch.stack(found).cpu().numpy()


Effects = tuple[str, str, tuple[str, ...], Float[np.ndarray, "n_layers n_columns"], float, float]
"""Site, what is measured, the corrupted text, effects, and the measures of both runs."""


def patching(
    model: Any,
    tokenizer: Any,
    texts: tuple[str, str],
    site: str,
    answers: tuple[str, str | None],
    batch_size: int,
) -> Effects:
    """Return the effects of a site by patching.

    Raises:
        InvalidValue: As ``paired``, and as ``effects_by_patching``.
    """
    pair = paired(model, tokenizer, texts, site, answers)
    return _told(pair, site, effects_by_patching(pair, batch_size=batch_size) - pair.corrupted)


def attribution(
    model: Any,
    tokenizer: Any,
    texts: tuple[str, str],
    site: str,
    answers: tuple[str, str | None],
) -> Effects:
    """Return the effects of a site by the gradient.

    Raises:
        InvalidValue: As ``paired``.
    """
    pair = paired(model, tokenizer, texts, site, answers)
    return _told(pair, site, effects_by_gradient(pair))


def _told(pair: Pair, site: str, effect: Float[np.ndarray, " n_cells"]) -> Effects:
    table = effect.reshape(pair.shape)
    return site, pair.measured, pair.batch.tokens[0], table, pair.clean, pair.corrupted
