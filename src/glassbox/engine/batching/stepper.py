"""One step of the running batch: some tokens of many rows through the model in one flat pass.

Knows slots and the library's modules; knows nothing of requests, sampling or queues.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from glassbox.engine.batching.slot_attention import NAME, Span, StepCall
from glassbox.engine.batching.slots import Slots
from glassbox.engine.model.attending import Attending
from glassbox.engine.model.packed_linear import PackedLinears
from glassbox.engine.states.taps import Taps
from glassbox.types import HookPoint

Applying = Callable[
    [Sequence[tuple[int, int]], Int[np.ndarray, " n_reads"]], AbstractContextManager[None]
]
"""Makes adapters act on a flat pass: (adapter slot, tokens) of each row in order, slot 0 is none,
and the places that the output head is cut down to."""


@dataclass(frozen=True)
class Part:
    """Tokens of one row that go through the model in one step."""

    slot: int
    """Where the row's keys and values are."""
    start: int
    """Place of the first token in its row."""
    tokens: Sequence[int]
    """Vocabulary ids; one or more."""
    reads: range = range(0)
    """Which of the tokens are followed by something that is read: indices into ``tokens``."""
    adapter: int = 0
    """Adapter slot; 0 is the base model."""


@dataclass(frozen=True, eq=False)
class Stepped:
    """What one step showed, on the model's device."""

    logits: Float[Tensor, "n_reads d_vocab"]
    """Next-token logits at the reads, part after part, in the model's dtype."""
    hidden: dict[HookPoint, Float[Tensor, "1 n_tokens d_model"]]
    """States of all tokens at the tapped places."""


class Stepper:
    """Runs steps of one model.

    Args:
        model: The library's model, in evaluation mode.
        slots: Keys and values of the running rows.
        taps: Where states are read; None where the model shows none.
        applying: Makes adapters act; None where there are none.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        slots: Slots,
        taps: Taps | None = None,
        applying: Applying | None = None,
    ) -> None:
        self.model = model
        self.slots = slots
        self.taps = taps
        self._applying = applying
        self._attending = Attending(model, NAME)
        self._packed = PackedLinears(model)
        self.windows: dict[int, int | None] = {}
        """The sliding window that each layer asked for in the last step."""

    def run(self, parts: Sequence[Part], points: Collection[HookPoint] = ()) -> Stepped:
        """Return what the model says after some tokens, whose keys are then in their slots.

        Args:
            parts: At least one; no row twice. Parts of one token in neighbouring slots come first.
            points: Places to tap.
        """
        call, tokens, positions = self._call(parts)
        reads, first = [], 0
        for part in parts:
            reads += [first + at for at in part.reads]
            first += len(part.tokens)
        device = self.model.device
        # The library keeps all positions where it is told to keep none.
        kept = np.array(reads or [0], dtype=np.int64)
        adapters: AbstractContextManager[None] = nullcontext()
        if self._applying is not None:
            rows = [(part.adapter, len(part.tokens)) for part in parts]
            adapters = self._applying(rows, kept)
        tapped: AbstractContextManager[dict[HookPoint, Tensor]] = nullcontext({})
        if self.taps is not None and points:
            tapped = self.taps.tapped(points)
        with self._attending(), self._packed(len(tokens)), adapters, tapped as hidden:
            output = self.model(
                input_ids=torch.tensor(tokens, device=device)[None],
                position_ids=torch.tensor(positions, device=device)[None],
                use_cache=False,
                logits_to_keep=torch.from_numpy(kept).to(device),
                step=call,
            )
        self.windows = call.windows
        return Stepped(output.logits[0, : len(reads)], hidden)

    def _call(self, parts: Sequence[Part]) -> tuple[StepCall, list[int], list[int]]:
        n_writing = 0
        while n_writing < len(parts) and len(parts[n_writing].tokens) == 1:
            if parts[n_writing].slot != parts[0].slot + n_writing:
                break
            n_writing += 1
        kv_heads, n_places = self.slots.states.shape[3:5]
        tokens: list[int] = []
        positions: list[int] = []
        targets: list[int] = []
        spans = []
        for index, part in enumerate(parts):
            first, n = len(tokens), len(part.tokens)
            tokens += part.tokens
            positions += range(part.start, part.start + n)
            base = part.slot * kv_heads * n_places + part.start
            targets += range(base, base + n)
            if index >= n_writing:
                spans.append(Span(first, first + n, part.slot, part.start))
        device = self.model.device
        heads = torch.arange(0, kv_heads * n_places, n_places, device=device)
        ends = [part.start + 1 for part in parts[:n_writing]]
        call = StepCall(
            states=self.slots.states,
            targets=(heads[:, None] + torch.tensor(targets, device=device)).flatten(),
            first_slot=parts[0].slot,
            ends=torch.tensor(ends, dtype=torch.long, device=device),
            longest=max(ends, default=0),
            spans=tuple(spans),
        )
        return call, tokens, positions
