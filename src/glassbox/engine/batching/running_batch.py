"""The running batch: rows join and leave at every step, and errors of one never touch another.

Plans a step from the rows at hand, runs it, hands out what it said. A step that does not fit into
memory is split and run in parts; a row that cannot be run alone ends with an error. Where rows
outgrow the room there is, the youngest is set back until others have left; where a client has more
than its share while another waits, its youngest give way. Called by one thread at a time, in
inference mode. Knows rows and the model; knows nothing of threads or queues.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from glassbox.engine.batching.line import Verdict
from glassbox.engine.batching.outcomes import Told, in_our_words, is_for_want_of_memory, too_late
from glassbox.engine.batching.prompt_cache import BLOCK_TOKENS, PromptCache, common_length
from glassbox.engine.batching.row import Read, Row
from glassbox.engine.batching.sampling import Choices, choose_tokens
from glassbox.engine.batching.seats import Seats
from glassbox.engine.batching.set_back import SetBack
from glassbox.engine.batching.shares import (
    claim,
    first_to_give,
    has_enough_to_read,
    held_by,
    in_the_way,
    readers,
)
from glassbox.engine.batching.stepper import Part, Stepper
from glassbox.engine.layout.batches import READ_LOGITS
from glassbox.engine.model.attempt import attempt
from glassbox.engine.model.devices import return_freed_memory
from glassbox.engine.model.distributions import not_finite, require_finite
from glassbox.engine.requests import Generation
from glassbox.engine.states.pooling import Pools, Reduced, no_states
from glassbox.types import FinishReason

NextRow = Callable[[Callable[[Row], Verdict], Counter[str]], Row | None]
"""Gives the next waiting row that starts now, by a verdict and the rows of each client."""

SPAN_PAIRS = 1 << 23
"""Pairs of a query and a key in one part: its mask takes 32 MiB in float32, and a soft cap makes
every head hold as many weights."""


@dataclass(frozen=True)
class Limits:
    """How large the running batch may be."""

    n_rows: int
    """Rows at a time."""
    step_tokens: int
    """Tokens of one step."""
    interleaved_tokens: int
    """Prompt tokens of a step in which somebody writes: each of those waits for the whole step."""
    d_vocab: int
    """Logits at each read position."""

    @property
    def n_reads(self) -> int:
        """Positions read in one step, besides the last one of each row."""
        return max(1, READ_LOGITS // self.d_vocab)


class RunningBatch:
    """Rows that are answered together.

    Args:
        stepper: Runs the model.
        cache: Prompts that were computed before.
        limits: How large it may be.
    """

    def __init__(self, stepper: Stepper, cache: PromptCache, limits: Limits) -> None:
        self.cache = cache
        self.limits = limits
        self._stepper = stepper
        self._slots = stepper.slots
        self._pools = Pools()
        self._seats = Seats(self._slots, self._pools, limits.n_rows)
        self._rows = self._seats.rows
        """By slot."""
        self._set_back = SetBack(self._slots, self._pools, limits.n_rows)

    @property
    def rows(self) -> list[Row]:
        """All rows that have begun and not ended."""
        return [*self._rows, *self._set_back.rows]

    def step(self, next_row: NextRow, told: Told) -> None:
        """Run one step.

        Args:
            next_row: Where new rows come from.
            told: Takes what each row is told; valid even if the step raises.
        """
        self._leave(told)
        parts = self._plan(next_row, told)
        if parts:
            self._run(parts, told)
        # Only now, for a row that leaves moves another one to its slot.
        for row in [row for row in self._rows if row.ended]:
            self._end(row, told)
        if not self.rows:
            self._pools.release()

    def abandon(self, reason: FinishReason | Exception, told: Told) -> None:
        """End all rows with what they have, or with an error.

        Args:
            reason: Why.
            told: Takes what each row is told.
        """
        for row in self.rows:
            if isinstance(reason, Exception):
                row.error = in_our_words(reason)
            else:
                row.reason = reason
            self._end(row, told)

    def rest(self) -> None:
        """Give back memory that only rows need; there are none."""
        self._seats.release()
        return_freed_memory(self._slots.states.device)

    def _leave(self, told: Told) -> None:
        """End rows that were cancelled or whose time is up."""
        now = time.perf_counter()
        for row in self.rows:
            if self._is_over(row, now):
                self._end(row, told)

    def _is_over(self, row: Row, now_s: float) -> bool:
        """Return whether a row has ended, or ends now for a reason from outside."""
        if row.ticket.cancelled.is_set():
            row.reason = "cancelled"
        elif row.deadline_s is not None and now_s >= row.deadline_s:
            if row.first_token_s is None:
                row.error = too_late(row, now_s)
            row.reason = "deadline"
        return row.ended

    def _plan(self, next_row: NextRow, told: Told) -> list[tuple[Row, Part]]:
        self._grow(told)
        limits = self.limits
        writing = any(row.n_left == 1 for row in self._rows)
        n_tokens = limits.interleaved_tokens if writing else limits.step_tokens
        while (new := self._next(next_row, n_tokens)) is not None:
            if self._is_over(new, time.perf_counter()):
                self._end(new, told)
                continue
            for row in in_the_way(new, self._rows, partial(self._seats.has_room, new)) or ():
                self._give_way(row)
            if not self._started(new, told):
                break
        return self._parts(n_tokens)

    def _parts(self, n_tokens: int) -> list[tuple[Row, Part]]:
        """Return what each row does in a step that may read so many prompt tokens."""
        parts = {row: row.part(1) for row in self._rows if row.n_left == 1}
        n_reads, clients = self.limits.n_reads, readers(self._rows)
        for n_left, rows in zip(range(len(clients), 0, -1), clients, strict=True):
            tokens, reads = n_tokens // n_left, n_reads // n_left
            n_tokens, n_reads = n_tokens - tokens, n_reads - reads
            for row in rows:
                parts[row] = self._next_part(row, tokens, reads)
                tokens -= len(parts[row].tokens)
                reads -= len(parts[row].reads)
            # What one client does not need is the others'.
            n_tokens, n_reads = n_tokens + tokens, n_reads + reads
        return [(row, parts[row]) for row in self._rows]

    def _next_part(self, row: Row, n_tokens: int, n_reads: int) -> Part:
        part = row.part(max(1, min(n_tokens, self._most(row))))
        surplus = len(part.reads) - max(1, n_reads)
        return row.part(len(part.tokens) - surplus) if surplus > 0 else part

    def _most(self, row: Row) -> int:
        """Return how many of its tokens a row can take in one step."""
        past = row.n_done
        return min(row.n_left, max(1, math.isqrt(past * past // 4 + SPAN_PAIRS) - past // 2))

    def _next(self, next_row: NextRow, n_tokens: int) -> Row | None:
        """Return the row that joins next: of those that wait and of those that were set back."""
        held = held_by(self._rows)
        verdict: Verdict = "later"
        back = self._set_back.first(held)

        def judge(row: Row) -> Verdict:
            nonlocal verdict
            verdict = "later"
            if back is None or claim(row, held) < claim(back, held):
                verdict = self._judge(row, n_tokens)
            return verdict

        new = next_row(judge, held)
        if new is None and back is not None and verdict != "full" and self._returns(back, n_tokens):
            return back
        return new

    def _judge(self, row: Row, n_tokens: int) -> Verdict:
        if row.n_left > 1 and has_enough_to_read(
            row, self._rows, n_tokens, self.limits.n_reads, self._most
        ):
            return "later"
        if in_the_way(row, self._rows, partial(self._seats.has_room, row)) is None:
            return "full"
        # A prompt that another row is just reading is not read twice: it is copied a step later.
        known = self._known(row)[0]
        for each in self._rows:
            if each.adapter_digest == row.adapter_digest and each.n_left > 1:
                shared = min(common_length(each.tokens, row.tokens), row.n_reusable)
                if shared >= max(known, each.n_done) + BLOCK_TOKENS:
                    return "later"
        return "now"

    def _returns(self, row: Row, n_tokens: int) -> bool:
        """Return whether a row that was set back joins now.

        One that found no memory does once it fits whatever the others will write.
        """
        n, n_crowd = len(self._rows), self._set_back.n_crowd(row)
        if n_crowd is None or not n:
            return self._judge(row, n_tokens) == "now"
        n_places = max(each.n_most for each in (row, *self._rows))
        return n < n_crowd and self._slots.fits(n + 1, n_places)

    def _known(self, row: Row) -> tuple[int, Row | None]:
        """Return how many leading tokens need not be run, and the running row that has them."""
        most = row.n_reusable
        best, source = self.cache.find(row.adapter_digest, row.tokens, most), None
        for each in self._rows:
            if each.adapter_digest == row.adapter_digest and min(each.n_done, most) > best:
                shared = min(common_length(each.tokens[: each.n_done], row.tokens), most)
                if shared > best:
                    best, source = shared, each
        return best, source

    def _started(self, row: Row, told: Told) -> bool:
        """Return whether a row could join; where others are in the way it is set back."""
        failure = attempt(partial(self._start, row))
        if failure is None:
            return True
        self._seats.distrust_next(row)
        if self._rows and is_for_want_of_memory(failure):
            self._set_back.wait(row, len(self._rows))
        else:
            row.error = in_our_words(failure)
            self._end(row, told)
        return False

    def _start(self, row: Row) -> None:
        slot = self._seats.prepare(row)
        if not self._set_back.restore(row, slot):
            self._read_known(row, slot)
        if row.begun_s is None:
            row.begun_s, row.n_cached = time.perf_counter(), row.n_done
        self._seats.take(row)

    def _read_known(self, row: Row, slot: int) -> None:
        """Copy what is known of a row's prompt to its slot."""
        n, source = self._known(row)
        if source is not None:
            # What the prompt hangs on is in use, even where a running row has more of it.
            self.cache.touch(row.adapter_digest, row.tokens, n)
            self._slots.move(source.slot, slot, n)
        else:
            for first, states in self.cache.take(row.adapter_digest, row.tokens, n):
                self._slots.write(slot, first, states)
        self._pools.enter(slot, row.request.capture)
        row.n_done = n

    def _grow(self, told: Told) -> None:
        """Make room for what the rows have come to need; without it one of them gives way."""
        while self._rows:
            needed = max(len(row.tokens) for row in self._rows)
            if needed <= self._slots.n_places:
                return
            n_rows, ahead = len(self._rows), max(row.n_places for row in self._rows)
            failure = attempt(partial(self._slots.reserve, n_rows, ahead))
            failure = failure and attempt(partial(self._slots.reserve, n_rows, needed))
            if failure is None:
                return
            giver = first_to_give(self._rows, held_by(self._rows))
            if n_rows == 1 or not is_for_want_of_memory(failure):
                giver.error = in_our_words(failure)
                self._end(giver, told)
            else:
                self._give_way(giver, n_crowd=n_rows - 1)

    def _give_way(self, row: Row, *, n_crowd: int | None = None) -> None:
        """Set a row back; its slot is free afterwards."""
        self._set_back.keep(row)
        self._seats.free(row)
        self._set_back.wait(row, n_crowd)

    def _run(self, parts: Sequence[tuple[Row, Part]], told: Told) -> None:
        """Run some parts together, or in halves where they do not fit or one of them fails."""
        said = attempt(partial(self._said, parts))
        if not isinstance(said, Exception):
            self._take_in(parts, *said, told)
            return
        short = is_for_want_of_memory(said)
        if short:
            # The traceback holds the tensors that did not fit.
            said.__traceback__ = None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        if len(parts) > 1:
            half = (len(parts) + 1) // 2
            self._run(parts[:half], told)
            self._run(parts[half:], told)
            return
        row, part = parts[0]
        if short and len(part.tokens) > 1:
            self._run([(row, row.part(len(part.tokens) // 2))], told)
            return
        row.error = in_our_words(said)

    def _said(self, parts: Sequence[tuple[Row, Part]]) -> tuple[Choices, Reduced]:
        """Return what the model says to some parts; nothing but keys is changed by it."""
        covered, first = [], 0
        for row, part in parts:
            covered.append(row.covered(part, first))
            first += len(part.tokens)
        stepped = self._stepper.run([part for _, part in parts], self._pools.points(covered))
        choices = choose_tokens(stepped.logits, [ask for row, p in parts for ask in row.asks(p)])
        return choices, self._pools.reduce(stepped.hidden, covered)

    def _take_in(
        self, parts: Sequence[tuple[Row, Part]], choices: Choices, reduced: Reduced, told: Told
    ) -> None:
        now = time.perf_counter()
        self._pools.keep(reduced)
        at, sound = 0, bool(choices.finite.all())
        for (row, part), values in zip(parts, reduced.readouts, strict=True):
            span = range(at, at + len(part.reads))
            at = span.stop
            if not (sound or choices.finite[span.start : span.stop].all()):
                row.error = not_finite()
                continue
            if row.slot in reduced.whole:
                row.whole.append(reduced.whole[row.slot])
            row.note_readouts(values)
            reads = [Read.of(choices, index) for index in span]
            piece = attempt(partial(row.advance, part, reads, now))
            if isinstance(piece, Exception):
                row.error = in_our_words(piece)
                continue
            if piece is not None:
                told.append((row, piece))
            if span:
                self._keep_prompt(row, part)

    def _keep_prompt(self, row: Row, part: Part) -> None:
        """Keep a prompt's keys when its last token has been run, if there is memory for them."""
        prompt = row.request.prompt
        if not (part.start < len(prompt) <= row.n_done and self.cache.capacity_bytes):
            return
        missing = self.cache.missing(row.adapter_digest, prompt)
        if not 0 < len(missing) * self._slots.place_bytes <= self.cache.capacity_bytes:
            return
        states = attempt(partial(self._slots.read, row.slot, missing.start, missing.stop))
        if not isinstance(states, Exception):
            self.cache.put(row.adapter_digest, prompt, missing, states)
        elif not is_for_want_of_memory(states):
            raise states

    def _end(self, row: Row, told: Told) -> None:
        """Tell a row what has become of it; its slot is free afterwards."""
        if row.error is None:
            for outcome in (attempt(row.last_piece), attempt(partial(self._answer, row))):
                if isinstance(outcome, Exception):
                    row.error = in_our_words(outcome)
                    break
                if outcome is not None:
                    told.append((row, outcome))
        if row.error is not None:
            told.append((row, row.error))
        self._remove(row)

    def _answer(self, row: Row) -> Generation:
        capture, n = row.request.capture, row.n_captured
        states = no_states(capture, row.d_model)
        if capture is not None and n:
            place = row.slot if row.slot >= 0 else self._set_back.place(row)
            states = self._pools.captured(place, n, row.whole)
        answer = row.generation(states, time.perf_counter())
        require_finite(*answer.readouts.values())
        return answer

    def _remove(self, row: Row) -> None:
        self._set_back.forget(row)
        if row.slot >= 0:
            self._seats.free(row)
