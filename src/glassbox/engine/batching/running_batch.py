"""The running batch: rows join and leave at every step, and errors of one never touch another.

Plans a step from the rows at hand, runs it, hands out what it said. A step that does not fit into
memory is split and run in parts; a row that cannot be run alone ends with an error. Where rows
outgrow the room there is, the youngest is set back until others have left. Called by one thread at
a time, in inference mode. Knows rows and the model; knows nothing of threads or queues.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from glassbox.engine.batching.line import Verdict
from glassbox.engine.batching.outcomes import Told, in_our_words, is_for_want_of_memory, too_late
from glassbox.engine.batching.prompt_cache import BLOCK_TOKENS, PromptCache, common_length
from glassbox.engine.batching.row import Read, Row
from glassbox.engine.batching.sampling import Choices, choose_tokens
from glassbox.engine.batching.stepper import Part, Stepper
from glassbox.engine.layout.batches import READ_LOGITS
from glassbox.engine.model.attempt import attempt
from glassbox.engine.model.devices import return_freed_memory
from glassbox.engine.model.distributions import not_finite, require_finite
from glassbox.engine.requests import Generation
from glassbox.engine.states.pooling import Pools, Reduced, no_states
from glassbox.types import FinishReason

NextRow = Callable[[Callable[[Row], Verdict]], Row | None]
"""Gives the next waiting row for which the verdict is that it starts now."""

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
        self._rows: list[Row] = []
        """By slot."""
        self._set_back: list[Row] = []
        """Rows that had begun and gave way, oldest first."""
        self._n_crowd = 0
        """Rows that were left when the last one was set back."""
        self._suspects: dict[int, int] = {}
        """Slots whose first places may hold what is no number, and how many of them."""
        self._stepper = stepper
        self._slots = stepper.slots
        self._pools = Pools()

    @property
    def rows(self) -> list[Row]:
        """All rows that have begun and not ended."""
        return [*self._rows, *self._set_back]

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
        if not self._rows:
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
        self._slots.release()
        self._suspects.clear()
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
        n_reads = limits.n_reads
        parts = []
        for row in self._rows:
            part = self._next_part(row, n_tokens, n_reads)
            parts.append((row, part))
            if len(part.tokens) > 1:
                n_tokens -= len(part.tokens)
                n_reads -= len(part.reads)
        while n_tokens > 0 and n_reads > 0:
            new = self._returning() if self._set_back else next_row(self._judge)
            if new is None:
                break
            if self._is_over(new, time.perf_counter()):
                self._end(new, told)
                continue
            if not self._started(new, told):
                break
            part = self._next_part(new, n_tokens, n_reads)
            parts.append((new, part))
            n_tokens -= len(part.tokens)
            n_reads -= len(part.reads)
        return parts

    def _next_part(self, row: Row, n_tokens: int, n_reads: int) -> Part:
        n = row.n_left
        if n > 1:
            past = row.n_done
            most = math.isqrt(past * past // 4 + SPAN_PAIRS) - past // 2
            n = max(1, min(n, n_tokens, most))
        part = row.part(n)
        surplus = len(part.reads) - max(1, n_reads)
        return row.part(len(part.tokens) - surplus) if surplus > 0 else part

    def _judge(self, row: Row) -> Verdict:
        n_rows = len(self._rows) + 1
        n_places = max([row.n_places, *(each.n_places for each in self._rows)])
        if self._rows and (n_rows > self.limits.n_rows or not self._slots.fits(n_rows, n_places)):
            return "full"
        # A prompt that another row is just reading is not read twice: it is copied a step later.
        known = self._known(row)[0]
        for each in self._rows:
            if each.adapter_digest == row.adapter_digest and each.n_left > 1:
                shared = min(common_length(each.tokens, row.tokens), row.n_reusable)
                if shared >= max(known, each.n_done) + BLOCK_TOKENS:
                    return "later"
        return "now"

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

    def _returning(self) -> Row | None:
        """Return the oldest row that was set back, once it fits whatever the others will write."""
        row, rows = self._set_back[0], self._rows
        if rows:
            n_places = max(each.n_most for each in (row, *rows))
            if len(rows) >= self._n_crowd or not self._slots.fits(len(rows) + 1, n_places):
                return None
        return self._set_back.pop(0)

    def _started(self, row: Row, told: Told) -> bool:
        """Return whether a row could join; where others are in the way it is set back."""
        failure = attempt(partial(self._start, row))
        if failure is None:
            return True
        self._suspects[len(self._rows)] = len(row.tokens)
        if self._rows and is_for_want_of_memory(failure):
            self._set_back.insert(0, row)
            self._n_crowd = len(self._rows)
        else:
            row.error = in_our_words(failure)
            self._end(row, told)
        return False

    def _start(self, row: Row) -> None:
        n_places = max([row.n_places, *(each.n_places for each in self._rows)])
        slot = len(self._rows)
        self._slots.reserve(slot + 1, n_places)
        self._clean(slot)
        n, source = self._known(row)
        if source is not None:
            # What the prompt hangs on is in use, even where a running row has more of it.
            self.cache.touch(row.adapter_digest, row.tokens, n)
            self._slots.move(source.slot, slot, n)
        else:
            for first, states in self.cache.take(row.adapter_digest, row.tokens, n):
                self._slots.write(slot, first, states)
        self._pools.enter(slot, row.request.capture)
        if row.begun_s is None:
            row.begun_s, row.n_cached = time.perf_counter(), n
        row.slot, row.n_done = slot, n
        self._rows.append(row)

    def _grow(self, told: Told) -> None:
        """Make room for what the rows have come to need; without it the youngest yields."""
        while self._rows:
            needed = max(len(row.tokens) for row in self._rows)
            if needed <= self._slots.n_places:
                return
            n_rows, ahead = len(self._rows), max(row.n_places for row in self._rows)
            failure = attempt(partial(self._slots.reserve, n_rows, ahead))
            failure = failure and attempt(partial(self._slots.reserve, n_rows, needed))
            if failure is None:
                return
            youngest = max(self._rows, key=lambda row: row.begun_s or 0.0)
            if n_rows == 1 or not is_for_want_of_memory(failure):
                youngest.error = in_our_words(failure)
                self._end(youngest, told)
                continue
            self._remove(youngest)
            youngest.put_back()
            self._set_back.insert(0, youngest)
            self._n_crowd = len(self._rows)

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
            states = self._pools.captured(row.slot, n, row.whole)
        answer = row.generation(states, time.perf_counter())
        require_finite(*answer.readouts.values())
        return answer

    def _remove(self, row: Row) -> None:
        """Free a row's slot and close the gap; what reads its prompt stays behind what writes."""
        if row.slot < 0:
            self._set_back = [each for each in self._set_back if each is not row]
            return
        hole, last = row.slot, self._rows[-1]
        if row.error is not None or row.n_sound < row.n_done:
            self._suspects[hole] = len(row.tokens)
        if last is not row and last.n_left > 1 and last.slot - 1 > hole:
            before = self._rows[-2]
            gap = before.slot
            self._move(before, hole)
            hole = gap
        if last is not row:
            self._move(last, hole)
        self._rows.pop()
        row.slot = -1

    def _move(self, row: Row, slot: int) -> None:
        self._clean(slot)
        if row.n_sound < row.n_done:
            self._suspects[row.slot] = row.n_done
        self._slots.move(row.slot, slot, row.n_done)
        self._pools.move(row.slot, slot)
        row.slot = slot
        self._rows[slot] = row

    def _clean(self, slot: int) -> None:
        """Wipe what may be NaN: a place that attention hides still counts as NaN times zero."""
        n_places = self._suspects.pop(slot, 0)
        if n_places:
            self._slots.wipe(slot, n_places)
