"""One pass over a corpus reads what chosen latents of all layers do on every counted position.

Documents of like length go through the model together, without its output head. After each block
the counted rows of the residual stream are multiplied by that layer's chosen encoder rows; what
fires is all that is kept. Copies of a prompt run (their responses need them) but are not read.
The passes are planned for the whole corpus; each can be done apart from the others, and all of
them put together are the same whoever did them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from glassbox.engine.states.taps import Taps
from glassbox.errors import AdapterMismatch, InvalidValue, NonFiniteOutput
from glassbox.pathways.corpus.activations import Activations, sorted_activations
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.halving import by_halves
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Sae
from glassbox.progress import Progress
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
    parts = []
    done = 0
    with open_reader(model, corpus, rows, full=full) as reader:
        for batch in batches(corpus, batch_tokens):
            parts.append(reader.read([batch]))
            done += len(batch)
            if progress is not None:
                progress(done, len(corpus))
    return join_read(parts, reader.latents, corpus, source_digest)


@contextmanager
def open_reader(
    model: Any,
    corpus: Corpus,
    rows: Mapping[int, LatentRows],
    *,
    full: Mapping[int, Sae] | None = None,
) -> "Iterator[CorpusReader]":
    """Lend what reads some passes of a corpus; arguments and errors as ``read_activations``."""
    reader = CorpusReader(model, corpus, rows, dict(full or {}))
    with torch.inference_mode(), reader.attached():
        yield reader


def join_read(
    parts: "Iterable[Read]", latents: tuple[LatentId, ...], corpus: Corpus, source_digest: str
) -> Activations:
    """Return what all passes of a corpus found, in order.

    Args:
        parts: What the reader gave, in any order.
        latents: Those that were read, in the reader's order.
        corpus: What was read.
        source_digest: What it is said to be read with.
    """
    nothing = Read(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    found = [nothing, *parts]
    token = np.concatenate([part.token for part in found])
    return sorted_activations(
        latents,
        corpus.document_of[token],
        corpus.position_of[token],
        np.concatenate([part.latent for part in found]),
        np.concatenate([part.value for part in found]),
        corpus_digest=corpus.digest,
        source_digest=source_digest,
    )


@dataclass(frozen=True, eq=False)
class Read:
    """What some passes found: one entry for each latent that fires on a counted token."""

    token: Int[np.ndarray, " n"]
    """Index into the corpus' tokens."""
    latent: Int[np.ndarray, " n"]
    """Index into the reader's latents."""
    value: Float[np.ndarray, " n"]
    """The activation, above 0; float32."""


def batches(corpus: Corpus, batch_tokens: int = BATCH_TOKENS) -> list[Int[np.ndarray, " _"]]:
    """Return the documents of each forward pass, longest first; a too long one goes alone.

    Raises:
        InvalidValue: A pass of no positions.
    """
    if batch_tokens < 1:
        raise InvalidValue("batch_tokens", batch_tokens, "1 or more")
    order = np.argsort(-corpus.lengths, kind="stable")
    found = []
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // int(corpus.lengths[order[start]]))
        found.append(order[start : start + size])
        start += size
    return found


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


@dataclass(eq=False)
class CorpusReader:
    """Reads chosen latents in some passes of a corpus; see ``open_reader``."""

    model: Any
    corpus: Corpus
    rows: Mapping[int, LatentRows]
    full: Mapping[int, Sae]
    _found: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = next(self.model.parameters()).device
        self._device = device
        self._layers = sorted(layer for layer, rows in self.rows.items() if len(rows))
        self._on_device = {layer: self.rows[layer].to(device) for layer in self._layers}
        self.latents = tuple(
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

    def read(self, passes: Sequence[Int[np.ndarray, " _"]]) -> Read:
        """Return what some passes find, each the documents that go through the model together.

        Raises:
            NonFiniteOutput: An activation is NaN or infinite.
            OutOfMemory: One document does not fit.
        """
        # What was found leaves the device with each pass: a long corpus must not fill it.
        parts = [part for batch in passes for part in self._pass(batch)]
        empty = torch.zeros(0, dtype=torch.int64)
        columns = zip(*(parts or [(empty, empty, torch.zeros(0))]), strict=True)
        token, latent, value = (torch.cat(column).numpy() for column in columns)
        if not np.isfinite(value).all():
            place = int(token[~np.isfinite(value)][0])
            raise NonFiniteOutput(
                f"An activation in document {int(self.corpus.document_of[place])} is NaN or "
                "infinite; look at the dictionary and the model's number format."
            )
        return Read(token, latent, value)

    def _pass(self, batch: Int[np.ndarray, " m"]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Run the model over some documents; out of memory, over their halves."""
        parts = by_halves(
            batch,
            self._forward,
            too_much=lambda one: (
                f"Document {int(one[0])} ({int(self.corpus.lengths[one[0]])} tokens) does "
                "not fit the device's memory; lower contexts.max_tokens."
            ),
            let_go=self._forget,
        )
        return [part for some in parts for part in some]

    def _forget(self) -> None:
        self._found = []

    def _forward(self, batch: Int[np.ndarray, " m"]) -> list[tuple[Tensor, Tensor, Tensor]]:
        corpus = self.corpus
        flat, inside = laid_out(corpus, batch)
        tokens = torch.from_numpy(corpus.tokens[flat].astype(np.int64)).to(self._device)
        counted: Bool[np.ndarray, "m width"] = inside & corpus.is_counted[flat]
        places = np.flatnonzero(counted.reshape(-1))
        self._where = torch.from_numpy(places).to(self._device)
        self._tokens = torch.from_numpy(flat.reshape(-1)[places]).to(self._device)
        self._found = []
        self.model.base_model(input_ids=tokens, use_cache=False)
        found = [(token.cpu(), latent.cpu(), value.cpu()) for token, latent, value in self._found]
        self._found = []
        return found

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
            self._found.append((self._tokens[token], column + first, found))

        return act
