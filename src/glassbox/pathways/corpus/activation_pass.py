"""One pass over a corpus reads what chosen latents of all layers do on every counted position.

Documents of like length go through the model together, without its output head. After each block
the counted rows of the residual stream are multiplied by that layer's chosen encoder rows; what
fires is all that is kept. Copies of a prompt run (their responses need them) but are not read.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from glassbox.engine.protocol import Progress
from glassbox.engine.states.taps import Taps
from glassbox.errors import AdapterMismatch, InvalidValue, NonFiniteOutput, OutOfMemory
from glassbox.pathways.corpus.activations import Activations, sorted_activations
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Sae
from glassbox.types import HookPoint

BATCH_TOKENS = 4096
"""Most positions, padding included, in one forward pass."""


def read_activations(
    model: Any,
    corpus: Corpus,
    rows: Mapping[int, LatentRows],
    *,
    full: Mapping[int, Sae] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    source_digest: str = "",
    progress: Progress | None = None,
) -> Activations:
    """Return the non-zero activations of the chosen latents on every counted position.

    The result does not depend on the batches beyond rounding. Out of memory, a batch is halved.

    Args:
        model: The lent causal language model, in evaluation mode.
        corpus: What to read; its context must fit the model's.
        rows: The chosen latents of each layer.
        full: The whole dictionary, for each layer where it is TopK.
        batch_tokens: Most positions in one forward pass.
        source_digest: What the result is said to be read with.
        progress: Called with (documents done, documents in all).

    Raises:
        AdapterMismatch: Rows of another width than the model's residual stream.
        InvalidHookPoint: A layer that the model does not have.
        InvalidValue: A TopK layer without its whole dictionary.
        NonFiniteOutput: The residual stream holds NaN or infinity.
        OutOfMemory: Even one document does not fit.
        UnsupportedModel: The model's blocks are not known by name.
    """
    if batch_tokens < 1:
        raise InvalidValue("batch_tokens", batch_tokens, "1 or more")
    reader = _Reader(model, corpus, rows, dict(full or {}))
    done = 0
    with torch.inference_mode(), reader.attached():
        for batch in batches(corpus, batch_tokens):
            _run(reader, batch)
            done += len(batch)
            if progress is not None:
                progress(done, len(corpus))
    return reader.found(source_digest)


def batches(corpus: Corpus, batch_tokens: int) -> Iterator[Int[np.ndarray, " m"]]:
    """Yield the documents of each forward pass, longest first; a too long one goes alone."""
    order = np.argsort(-corpus.lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // int(corpus.lengths[order[start]]))
        yield order[start : start + size]
        start += size


def laid_out(
    corpus: Corpus, documents: Int[np.ndarray, " m"]
) -> tuple[Int[np.ndarray, "m width"], Bool[np.ndarray, "m width"]]:
    """Return the corpus' tokens, by index, that some documents put side by side, and which are in.

    Padding stands behind a text. Attention looks back only, so that no mask is needed.
    """
    lengths = corpus.lengths[documents]
    places = np.arange(int(lengths.max()))[None]
    inside = places < lengths[:, None]
    return np.where(inside, corpus.offsets[documents][:, None] + places, 0), inside


def _run(reader: "_Reader", batch: Int[np.ndarray, " m"]) -> None:
    """Read a batch; out of memory, its halves.

    Raises:
        OutOfMemory: One document does not fit.
    """
    try:
        reader.read(batch)
    except torch.cuda.OutOfMemoryError:
        reader.forget()
        torch.cuda.empty_cache()
        if len(batch) == 1:
            raise OutOfMemory(
                f"Document {int(batch[0])} ({int(reader.corpus.lengths[batch[0]])} tokens) does "
                "not fit the device's memory; lower contexts.max_tokens."
            ) from None
        for half in np.array_split(batch, 2):
            _run(reader, half)


@dataclass(eq=False)
class _Reader:
    """The hooks, and what they have found."""

    model: Any
    corpus: Corpus
    rows: Mapping[int, LatentRows]
    full: Mapping[int, Sae]
    _parts: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    _batch_parts: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = next(self.model.parameters()).device
        self._device = device
        self._layers = sorted(layer for layer, rows in self.rows.items() if len(rows))
        self._on_device = {layer: self.rows[layer].to(device) for layer in self._layers}
        self._latents = tuple(
            LatentId(layer, index)
            for layer in self._layers
            for index in self.rows[layer].indices.tolist()
        )
        self._first_column: dict[int, int] = {}
        for layer in self._layers:
            self._first_column[layer] = sum(len(self.rows[each]) for each in self._first_column)
        self._require_fit()
        self._where: Tensor | None = None

    def _require_fit(self) -> None:
        width = int(self.model.config.get_text_config().hidden_size)
        for layer in self._layers:
            rows = self.rows[layer]
            if rows.layer != layer:
                raise InvalidValue(f"The layer of rows[{layer}]", rows.layer, f"{layer}")
            if rows.w_enc.shape[1] != width:
                raise AdapterMismatch(
                    f"The dictionary of layer {layer} reads {rows.w_enc.shape[1]} dimensions; the "
                    f"model's residual stream has {width}. Use the dictionaries of this model."
                )
            if rows.k is not None and layer not in self.full:
                raise InvalidValue(
                    f"full[{layer}]",
                    None,
                    "the whole dictionary of the layer: a few rows of a TopK dictionary cannot "
                    "tell which of them are among its k largest",
                )

    def attached(self) -> ExitStack:
        """Return the hooks on the blocks' outputs, to be entered."""
        stack = ExitStack()
        taps = Taps(self.model)
        for layer in self._layers:
            module = taps.module(taps.whole(HookPoint(layer)))
            stack.enter_context(taps.hooked(module, False, self._act(layer)))
        return stack

    def read(self, batch: Int[np.ndarray, " m"]) -> None:
        """Run the model over some documents and keep what fires."""
        corpus = self.corpus
        flat, inside = laid_out(corpus, batch)
        tokens = torch.from_numpy(corpus.tokens[flat].astype(np.int64)).to(self._device)
        counted: Bool[np.ndarray, "m width"] = inside & corpus.is_counted[flat]
        places = np.flatnonzero(counted.reshape(-1))
        self._where = torch.from_numpy(places).to(self._device)
        self._tokens = torch.from_numpy(flat.reshape(-1)[places]).to(self._device)
        self.model.base_model(input_ids=tokens, use_cache=False)
        self._parts += self._batch_parts
        self.forget()

    def forget(self) -> None:
        """Let go of what the running batch has found."""
        self._batch_parts = []

    def _act(self, layer: int) -> Callable[[Tensor], None]:
        rows, first = self._on_device[layer], self._first_column[layer]
        # A few rows multiplied on their own round otherwise than the whole, and the k-th largest
        # would not be equal to itself.
        whole = self.full.get(layer) if rows.k is not None else None
        chosen = rows.indices.to(self._device)

        def act(states: Tensor) -> None:
            assert self._where is not None
            x = states.reshape(-1, states.shape[-1])
            if whole is None:
                # To multiply a few padded rows costs less than to copy all others.
                values = rows.gate(rows.preactivations(x).index_select(0, self._where))
            else:
                values = whole.encode(x.index_select(0, self._where))[:, chosen]
            token, column = torch.nonzero(values, as_tuple=True)
            found = values[token, column].float()
            self._batch_parts.append((self._tokens[token], column + first, found))

        return act

    def found(self, source_digest: str) -> Activations:
        """Return everything found, in order.

        Raises:
            NonFiniteOutput: An activation is NaN or infinite.
        """
        empty = (torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
        parts = self._parts or [(*empty, torch.zeros(0))]
        token, column, value = (
            torch.cat([part[which].cpu() for part in parts]).numpy() for which in range(3)
        )
        if not np.isfinite(value).all():
            place = int(token[~np.isfinite(value)][0])
            raise NonFiniteOutput(
                f"An activation in document {int(self.corpus.document_of[place])} is NaN or "
                "infinite; look at the dictionary and the model's number format."
            )
        return sorted_activations(
            self._latents,
            self.corpus.document_of[token],
            self.corpus.position_of[token],
            column,
            value,
            corpus_digest=self.corpus.digest,
            source_digest=source_digest,
        )
