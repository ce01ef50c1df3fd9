"""One request on its way through the running batch: what it has read and written so far.

Decides nothing about other rows and touches no model. Times are seconds of one steady clock.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from glassbox.engine.batching.sampling import Ask, Choices
from glassbox.engine.batching.stepper import Part
from glassbox.engine.batching.text_out import TextOut
from glassbox.engine.batching.ticket import FutureTicket
from glassbox.engine.model.attempt import attempt
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.requests import (
    CapturedStates,
    Generation,
    Listener,
    Piece,
    Request,
    Sampling,
    TokenReadings,
)
from glassbox.engine.states.pooling import Covered, covered_places
from glassbox.types import FinishReason, HookPoint

AHEAD_TOKENS = 128
"""Places that are kept free ahead of a row that writes: between this many and twice as many."""


_NOTHING = np.zeros(0, dtype=np.float32)

_LOOK = Ask(Sampling(temperature=0.0))
"""Nothing follows there: whether the model answers numbers is all that is wanted."""


@dataclass(frozen=True, eq=False)
class Read:
    """What a step says at one read position."""

    token: int
    """The token chosen, or given."""
    numbers: Float[np.ndarray, " 4"]
    """Raw log-probability and entropy, then those of the distribution sampled from."""
    top_ids: Int[np.ndarray, " k"]
    """Most probable tokens, best first."""
    top_logprobs: Float[np.ndarray, " k"]
    """Their raw log-probabilities."""

    @classmethod
    def of(cls, choices: Choices, index: int) -> "Read":
        """Return one of the reads of a step."""
        return cls(
            choices.token_ids[index],
            choices.numbers[index],
            choices.top_ids[index],
            choices.top_logprobs[index],
        )


@dataclass(eq=False)
class Row:
    """A request, and what has become of it.

    Args:
        request: With whole layers in its capture and readouts.
    """

    request: Request
    ticket: FutureTicket
    listen: Listener | None
    codec: TokenizerCodec
    ends: frozenset[int]
    """Token ids that end a text."""
    room: int
    """Most tokens to write."""
    submitted_s: float
    d_model: int
    """Width of its states."""
    deadline_s: float | None = None
    """Time at which it ends with what it has."""
    adapter: int = 0
    """Adapter slot."""
    adapter_digest: str | None = None
    slot: int = -1
    """Where its keys are; -1 while it waits."""
    n_done: int = 0
    """Places whose keys are in the slot."""
    n_sound: int = 0
    """Leading places after which the model has answered numbers."""
    n_cached: int = 0
    begun_s: float | None = None
    first_token_s: float | None = None
    reason: FinishReason | None = None
    """Why it has ended; None while it goes on."""
    error: Exception | None = None
    """Why there is no answer."""
    reads: list[Read] = field(default_factory=list)
    whole: list[Float[np.ndarray, "points n d"]] = field(default_factory=list)
    """Every position's state, where wanted."""
    readings: dict[str, list[Float[np.ndarray, " n"]]] = field(default_factory=dict)
    n_told: int = 0
    """Reads that the listener knows of."""

    def __post_init__(self) -> None:
        request = self.request
        self.tokens: list[int] = [*request.prompt, *(request.response or ())]
        self._draw = random.Random(request.sampling.seed)
        self._uniform: float | None = None
        self._text = TextOut(self.codec, request.prompt, request.sampling.stop)
        self._reads_along = self.listen is not None or bool(request.sampling.stop)
        """Whether the text matters before the end."""
        self._n_values: dict[str, int] = {}
        """Readout values that the listener knows of."""
        capture = request.capture
        self._captured = range(0) if capture is None else covered_places(request, capture.scope)
        self._read_out = (
            covered_places(request, request.readout_scope) if request.readouts else range(0)
        )
        for readout in request.readouts:
            self.readings[readout.name] = []

    @property
    def ended(self) -> bool:
        """Whether it takes no further part."""
        return self.reason is not None or self.error is not None

    @property
    def writes(self) -> bool:
        """Whether the model writes the response."""
        return self.request.response is None

    @property
    def n_left(self) -> int:
        """Known tokens that have not gone through the model: 1 for a row that is writing."""
        return len(self.tokens) - self.n_done

    @property
    def n_places(self) -> int:
        """Places it will soon need: what it has, and as much again as is written in a while.

        A row may be allowed to write far more than it will: room for all of it would keep others
        out.
        """
        return min(self.n_most, (len(self.tokens) // AHEAD_TOKENS + 2) * AHEAD_TOKENS)

    @property
    def n_most(self) -> int:
        """Places it may come to need."""
        return len(self.request.prompt) + self.room if self.writes else len(self.tokens)

    @property
    def n_reusable(self) -> int:
        """Leading tokens that need not go through the model if their keys are known.

        The last token of the prompt is always run, and so is every position whose state is wanted.
        """
        wanted = [places.start for places in (self._captured, self._read_out) if places]
        return max(0, min([len(self.request.prompt) - 1, *wanted]))

    def part(self, n: int) -> Part:
        """Return the next ``n`` known tokens as a part of a step."""
        stop = self.n_done + n
        # A row that was put back has been read in part already; an empty response is read at one
        # place all the same, to see whether the model answers numbers.
        n_prompt = len(self.request.prompt)
        first = n_prompt - 1 + len(self.reads)
        last = len(self.tokens) if self.writes else max(len(self.tokens) - 1, n_prompt)
        reads = range(max(first, self.n_done) - self.n_done, min(last, stop) - self.n_done)
        return Part(self.slot, self.n_done, self.tokens[self.n_done : stop], reads, self.adapter)

    def asks(self, part: Part) -> list[Ask]:
        """Return what is to happen at the part's reads; the same until the row advances."""
        sampling = self.request.sampling
        if not self.writes:
            following = self.tokens[part.start + 1 : part.start + len(part.tokens) + 1]
            return [
                Ask(sampling, given=following[at]) if at < len(following) else _LOOK
                for at in part.reads
            ]
        if not part.reads:
            return []
        if self._uniform is None and sampling.temperature > 0:
            self._uniform = self._draw.random()
        return [Ask(sampling, self._uniform or 0.0, n_tokens=self.codec.n_tokens)]

    def covered(self, part: Part, first: int) -> Covered:
        """Return which tokens of a part are captured and read out.

        Args:
            part: Of this row.
            first: Index of its first token in the flat step.
        """
        shift, stop = first - part.start, part.start + len(part.tokens)
        captured, read_out = (
            range(max(places.start, part.start) + shift, min(places.stop, stop) + shift)
            if places
            else places
            for places in (self._captured, self._read_out)
        )
        return Covered(self.slot, captured, self.request.readouts, read_out)

    @property
    def n_captured(self) -> int:
        """Positions that the capture has covered so far."""
        return max(0, min(self._captured.stop, self.n_done) - self._captured.start)

    def put_back(self) -> None:
        """Give up the slot; what was written is read again when there is room, and kept."""
        self.slot, self.n_done, self.n_sound = -1, 0, 0
        self.whole.clear()
        for values in self.readings.values():
            values.clear()

    def note_readouts(self, values: Mapping[str, Float[np.ndarray, " n"]]) -> None:
        """Take in the readouts of a step."""
        for name, new in values.items():
            self.readings[name].append(new)

    def advance(self, part: Part, reads: Sequence[Read], now_s: float) -> Piece | None:
        """Take in what a step said; return what the listener is to be told, if anything."""
        self.n_done += len(part.tokens)
        if part.reads:
            self.n_sound = part.start + part.reads.stop
        if self.request.response is not None:
            self.reads += reads[: len(self.request.response) - len(self.reads)]
            if self.n_done == len(self.tokens):
                self.reason = "given"
            return None
        self.reads += reads
        if not reads:
            return None
        token, self._uniform = reads[-1].token, None
        self.tokens.append(token)
        if self.first_token_s is None:
            self.first_token_s = now_s
        text, stopped = self._text.add(token) if self._reads_along else ("", False)
        if stopped or (self.request.sampling.stop_at_end and token in self.ends):
            self.reason = "stop"
        elif len(self.reads) >= self.room:
            wanted = self.request.sampling.max_tokens
            self.reason = "length" if len(self.reads) == wanted else "context"
        if self.reason is not None:
            text += self._text.rest()
        return self._piece(text)

    def tell(self, piece: Piece) -> None:
        """Hand a piece to the listener; one that fails ends the row and hears no more."""
        listen = self.listen
        if listen is not None:
            failure = attempt(lambda: listen(piece))
            if failure is not None:
                self.listen, self.error = None, failure

    def no_readings(self) -> TokenReadings:
        """Return the readings of no token."""
        return self._token_readings(len(self.reads))

    def last_piece(self) -> Piece | None:
        """Return the text that was held back when the row was ended from outside, if any."""
        text = self._text.rest()
        return self._piece(text) if text else None

    def _piece(self, text: str) -> Piece | None:
        if self.listen is None:
            return None
        values = {}
        for name, parts in self.readings.items():
            whole = np.concatenate([_NOTHING, *parts])
            values[name] = whole[self._n_values.get(name, 0) :]
            self._n_values[name] = len(whole)
            parts[:] = [whole]
        start, self.n_told = self.n_told, len(self.reads)
        return Piece(text, self._token_readings(start), values)

    def _token_readings(self, start: int) -> TokenReadings:
        reads, n_top = self.reads[start:], self.request.sampling.top_logprobs
        n = len(reads)
        numbers = np.array([read.numbers for read in reads], dtype=np.float32).reshape(n, 4)
        top_ids = np.array([read.top_ids[:n_top] for read in reads], dtype=np.int64)
        tops = np.array([read.top_logprobs[:n_top] for read in reads], dtype=np.float32)
        return TokenReadings(
            token_ids=tuple(read.token for read in reads),
            logprobs=numbers[:, 0],
            entropies=numbers[:, 1],
            sampled_logprobs=numbers[:, 2],
            sampled_entropies=numbers[:, 3],
            top_ids=top_ids.reshape(n, n_top),
            top_logprobs=tops.reshape(n, n_top),
        )

    def generation(self, states: tuple[CapturedStates, ...], now_s: float) -> Generation:
        """Return the whole answer; ``reason`` says why it has ended."""
        assert self.reason is not None
        request, begun = self.request, self.begun_s
        if self.writes and self._reads_along:
            self._text.rest()
            text = self._text.sent
        else:
            read = [read.token for read in self.reads]
            text = self.codec.continuation(request.prompt, read)
        first = now_s if self.first_token_s is None else self.first_token_s
        return Generation(
            text=text,
            finish_reason=self.reason,
            tokens=self._token_readings(0),
            states=states,
            readouts={
                name: np.concatenate([_NOTHING, *values]) for name, values in self.readings.items()
            },
            n_prompt=len(request.prompt),
            n_cached=self.n_cached,
            adapter_digest=self.adapter_digest,
            queued_s=(now_s if begun is None else begun) - self.submitted_s,
            first_token_s=first - self.submitted_s,
            total_s=now_s - self.submitted_s,
        )


def with_whole_layers(request: Request, whole: dict[HookPoint, HookPoint]) -> Request:
    """Return a request whose places have layers counted from 0.

    Args:
        request: As it came.
        whole: Each of its places, as asked for, with its layer counted from 0.
    """
    capture = request.capture
    if capture is not None:
        capture = replace(capture, points=tuple(whole[point] for point in capture.points))
    readouts = tuple(replace(readout, point=whole[readout.point]) for readout in request.readouts)
    return replace(request, capture=capture, readouts=readouts)
