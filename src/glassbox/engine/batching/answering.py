"""From a request to the running batch: checks, room, sizes, and one worker behind it all.

Puts the pieces of generating together as ``scorer`` does for scoring. A model that cannot join a
running batch is answered by the library's plain way behind the same line. Knows requests; knows
nothing of files, prompts as text or HTTP.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from glassbox.engine.batching.choose_way import choose_slots, goes_on
from glassbox.engine.batching.plain_batch import PlainBatch
from glassbox.engine.batching.plain_generation import end_ids
from glassbox.engine.batching.prompt_cache import PromptCache
from glassbox.engine.batching.row import Row, with_whole_layers
from glassbox.engine.batching.running_batch import Limits, RunningBatch
from glassbox.engine.batching.slots import PLACES_STEP
from glassbox.engine.batching.stepper import Stepper
from glassbox.engine.batching.ticket import FutureTicket
from glassbox.engine.batching.worker import Batch, Worker
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.lora.leases import Claim, Lease
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.model.turns import Turns
from glassbox.engine.protocol import EngineInfo
from glassbox.engine.requests import Generation, Listener, Request
from glassbox.engine.states.taps import NAMES, Taps
from glassbox.errors import GlassboxError, InvalidValue, TextTooLong, UnsupportedModel

KEYS_BYTES = {"cpu": 2**30, "mps": 2 * 2**30}
"""Memory for keys and values of running rows, by device."""

KEYS_SHARE = 0.5
"""Share of a CUDA device's free memory that running rows may take."""

INTERLEAVED_TOKENS = {"cpu": 256, "cuda": 2048, "mps": 512}
"""Prompt tokens read in a step in which others write, by device: each of them waits for it.

Source: on two CPU cores a step of 256 tokens of the 40M benchmark model takes about 0.15 s; the
others are guesses that were not measured.
"""


@dataclass(frozen=True)
class Capacity:
    """How much may be under way."""

    n_rows: int = 64
    """Requests that are answered at a time."""
    n_waiting: int = 1024
    """Requests that may wait."""
    keys_bytes: int | None = None
    """Memory for keys and values of running requests; None takes the device's default."""
    cache_bytes: int = 256 * 2**20
    """Memory for keys and values of prompts that may come again; 0 keeps none."""

    def __post_init__(self) -> None:
        for name in ("n_rows", "n_waiting"):
            if getattr(self, name) < 1:
                raise InvalidValue(name, getattr(self, name), "1 or more requests")
        if self.cache_bytes < 0 or (self.keys_bytes is not None and self.keys_bytes < 0):
            raise InvalidValue("bytes", (self.keys_bytes, self.cache_bytes), "0 or more")


class Answering:
    """Answers requests of one resident model.

    Args:
        model: The library's model.
        info: What is resident.
        codec: Its tokenizer.
        bank: Its adapters.
        turns: Who may use the model.
        step_tokens: Most tokens in one forward pass.
        capacity: How much may be under way.

    Raises:
        UnsupportedModel: What is read off the model is not what the library shows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        info: EngineInfo,
        codec: TokenizerCodec,
        bank: AdapterBank,
        turns: Turns,
        *,
        step_tokens: int,
        capacity: Capacity,
    ) -> None:
        self._info = info
        self._codec = codec
        self._ends = end_ids(model)
        config = model.config.get_text_config()
        self.taps = Taps(model) if config.model_type in NAMES else None
        # Why requests are answered one at a time, in words; empty where they share a batch.
        slots, self.alone_because = None, "its scoring path is the plain one"
        if info.scoring_path == "packed":
            budget_bytes = capacity.keys_bytes
            if budget_bytes is None:
                budget_bytes = _keys_bytes(model.device)
            slots, self.alone_because = choose_slots(
                model, context=info.context, budget_bytes=budget_bytes
            )
        self._slots = slots
        self.cache = PromptCache(capacity.cache_bytes)
        batch: Batch
        if slots is None:
            batch = PlainBatch(model, codec, bank, info.context, goes_on=goes_on(model))
        else:
            limits = Limits(
                capacity.n_rows,
                step_tokens,
                min(step_tokens, INTERLEAVED_TOKENS.get(model.device.type, 256)),
                info.d_vocab,
            )
            stepper = Stepper(model, slots, self.taps, bank.applying)
            batch = RunningBatch(stepper, self.cache, limits)
        self._longest = info.context
        if slots is not None:
            n_places = slots.budget_bytes // slots.place_bytes // PLACES_STEP * PLACES_STEP
            if not n_places:
                least = slots.place_bytes * PLACES_STEP
                raise InvalidValue("keys_bytes", slots.budget_bytes, f"{least} or more bytes")
            self._longest = min(info.context, n_places)
        self._leases = _BankLeases(bank)
        self.worker = Worker(batch, turns, self._leases, capacity=capacity.n_waiting)

    def submit(self, request: Request, listen: Listener | None = None) -> FutureTicket:
        """Return a ticket for a request.

        Raises:
            GlassboxError: As ``Engine.submit``.
        """
        row = self._row(self._checked(request), listen)
        self._hand_in([row], bounded=True)
        return row.ticket

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """Return the answers to some requests, in their order.

        Raises:
            GlassboxError: The first one ends the others.
        """
        rows = [self._row(self._checked(request), None) for request in requests]
        self._hand_in(rows, bounded=False)
        try:
            return [row.ticket.result() for row in rows]
        finally:
            for row in rows:
                row.ticket.cancel()

    def close(self) -> None:
        """End all requests and give the memory back."""
        self.worker.close()
        if self._slots is not None:
            self._slots.release()

    def _hand_in(self, rows: Sequence[Row], *, bounded: bool) -> None:
        try:
            for row in rows:
                self._leases.claim(row)
            self.worker.submit(*rows, bounded=bounded)
        except GlassboxError:
            for row in rows:
                self._leases.release(row)
            raise

    def _row(self, request: Request, listen: Listener | None) -> Row:
        now = time.perf_counter()
        return Row(
            request=request,
            ticket=FutureTicket(),
            listen=listen,
            codec=self._codec,
            ends=self._ends,
            room=min(request.sampling.max_tokens, self._longest - len(request.prompt)),
            d_model=self._info.d_model,
            submitted_s=now,
            deadline_s=None if request.deadline_s is None else now + request.deadline_s,
        )

    def _checked(self, request: Request) -> Request:
        info = self._info
        if not request.prompt:
            raise InvalidValue("prompt", request.prompt, "one or more token ids")
        if not 0 <= request.n_hidden <= len(request.prompt):
            raise InvalidValue("n_hidden", request.n_hidden, f"0 to {len(request.prompt)}")
        tokens = (*request.prompt, *(request.response or ()))
        odd = [token for token in tokens if not 0 <= token < info.d_vocab]
        if odd:
            raise InvalidValue("token ids", odd[0], f"each from 0 to {info.d_vocab - 1}")
        if request.sampling.top_logprobs > info.d_vocab:
            raise InvalidValue(
                "top_logprobs", request.sampling.top_logprobs, f"0 to {info.d_vocab}"
            )
        if request.deadline_s is not None and not request.deadline_s >= 0:
            raise InvalidValue("deadline_s", request.deadline_s, "0 or more seconds")
        n_room = self._longest - (request.response is None)
        if len(tokens) > n_room:
            # A hidden system prompt is not counted where the caller can read it.
            n_own, n_left = len(tokens) - request.n_hidden, max(0, n_room - request.n_hidden)
            which = "text, prompt and response together," if request.response else "prompt"
            raise TextTooLong(n_own, n_left, which=which if n_room else "text")
        return self._with_places(request)

    def _with_places(self, request: Request) -> Request:
        capture = request.capture
        asked = [] if capture is None else list(capture.points)
        asked += [readout.point for readout in request.readouts]
        if not asked:
            return request
        if self.taps is None:
            raise UnsupportedModel(
                f"The layers of {self._info.architecture} are not known by name, so that its "
                f"hidden states cannot be read. Known: {', '.join(NAMES)}."
            )
        shows = capture is not None and capture.scope != "generated" and "none" in capture.pooling
        if shows and request.n_hidden:
            raise InvalidValue("pooling", "none", "mean, last or norm with a hidden prompt")
        for readout in request.readouts:
            if readout.weight.shape != (self._info.d_model,):
                raise InvalidValue(
                    f"readout {readout.name!r}",
                    readout.weight.shape,
                    f"{self._info.d_model} weights",
                )
        names = [readout.name for readout in request.readouts]
        if len(set(names)) < len(names):
            raise InvalidValue("readouts", names, "readouts of different names")
        whole = {point: self.taps.whole(point) for point in asked}
        if capture is not None and len({whole[p] for p in capture.points}) < len(capture.points):
            raise InvalidValue("points", capture.points, "places that are all different")
        return with_whole_layers(request, whole)


class _BankLeases:
    """Claims the adapters of rows in the bank, and pins them."""

    def __init__(self, bank: AdapterBank) -> None:
        self._bank = bank
        self._claims: dict[Row, Claim] = {}
        self._leases: dict[Row, Lease] = {}

    def claim(self, row: Row) -> None:
        """Make sure that the row gets the adapter it names, if any, whoever unloads it meanwhile.

        Raises:
            UnknownName: No such adapter.
        """
        if row.request.adapter is not None:
            self._claims[row] = self._bank.claim(row.request.adapter)

    def acquire(self, row: Row) -> None:
        """Pin the row's adapter and note its slot in the row; may take long."""
        self._note(row, self._bank.acquire(self._claims[row]))

    def acquire_now(self, row: Row) -> bool:
        """Return whether the row's adapter was at hand, and is pinned now; never waits."""
        lease = self._bank.acquire_now(self._claims[row])
        if lease is not None:
            self._note(row, lease)
        return lease is not None

    def _note(self, row: Row, lease: Lease) -> None:
        self._leases[row] = lease
        row.adapter, row.adapter_digest = lease.slot, lease.digest

    def release(self, row: Row) -> None:
        """Give back what the row holds of an adapter, if anything."""
        for held in (self._leases.pop(row, None), self._claims.pop(row, None)):
            if held is not None:
                self._bank.release(held)


def _keys_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(KEYS_SHARE * torch.cuda.mem_get_info(device)[0])
    return KEYS_BYTES.get(device.type, 2**30)
