"""A batch of one for models that cannot join a running batch: the library's plain way in turn.

Stands where the running batch would, behind the same line, and like it goes on by one pass of the
model at each step: deadlines and cancellations count between tokens, for whoever waits too. Knows
rows; knows nothing of threads.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from transformers import PreTrainedModel

from glassbox.engine.batching.outcomes import Told, in_our_words, too_late
from glassbox.engine.batching.plain_generation import PlainAnswer
from glassbox.engine.batching.row import Row
from glassbox.engine.batching.running_batch import NextRow
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.model.attempt import attempt
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.requests import Generation, Piece
from glassbox.types import FinishReason


class PlainBatch:
    """Answers one row after another.

    Args:
        model: The library's model.
        codec: Its tokenizer.
        bank: Its adapters.
        context: Most tokens of prompt and response together.
        goes_on: Whether the model goes on from what it keeps of a text.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        codec: TokenizerCodec,
        bank: AdapterBank,
        context: int,
        *,
        goes_on: bool = True,
    ) -> None:
        self._model = model
        self._codec = codec
        self._bank = bank
        self._context = context
        self._goes_on = goes_on
        self._running: _Running | None = None

    @property
    def rows(self) -> list[Row]:
        """The row that has begun and not ended, if any."""
        return [] if self._running is None else [self._running.row]

    def step(self, next_row: NextRow, told: Told) -> None:
        """Run one pass for the row that has begun, or else for the next one."""
        if self._running is None:
            row = next_row(lambda _: "now", Counter())
            if row is None:
                return
            row.begun_s = time.perf_counter()
            begun = attempt(partial(self._begin, row))
            if isinstance(begun, Exception):
                told.append((row, in_our_words(begun)))
                return
            self._running = begun
        running = self._running
        end: FinishReason | Exception | None = running.reason_outside()
        if end is None:
            with self._bank.applying_all(running.row.adapter):
                end = attempt(running.answer.step)
        # A listener that failed ends its own row.
        end = running.row.error or end
        if end is not None:
            self._end(end, told)

    def abandon(self, reason: FinishReason | Exception, told: Told) -> None:
        """End the row that has begun with what it has, or with an error."""
        if self._running is not None:
            self._end(reason, told)

    def rest(self) -> None:
        """Do nothing: a row keeps all it needs itself."""

    def _begin(self, row: Row) -> "_Running":
        answer = partial(
            PlainAnswer, self._model, self._codec, row.request,
            context=self._context, goes_on=self._goes_on,
        )  # fmt: skip
        return _Running(row, answer)

    def _end(self, reason: FinishReason | Exception, told: Told) -> None:
        running, self._running = self._running, None
        assert running is not None
        outcome: Generation | Exception
        if isinstance(reason, Exception):
            outcome = reason
        else:
            outcome = attempt(partial(running.outcome, reason))
        if isinstance(outcome, Exception):
            outcome = in_our_words(outcome)
        told.append((running.row, outcome))


class _Running:
    """A row that has begun.

    Args:
        row: Whose.
        answer: Makes its answer, of which ``listen`` is told each piece.
    """

    def __init__(self, row: Row, answer: Callable[..., PlainAnswer]) -> None:
        self.row = row
        self._n_sent = 0
        self.answer = answer(listen=self._listen)

    def _listen(self, piece: Piece) -> None:
        self._n_sent += len(piece.text)
        self.row.tell(piece)

    def reason_outside(self) -> FinishReason | None:
        """Return why the row ends now although the model has not come to an end, if it does."""
        if self.row.ticket.cancelled.is_set():
            return "cancelled"
        late = self.row.deadline_s is not None and time.perf_counter() >= self.row.deadline_s
        return "deadline" if late else None

    def outcome(self, reason: FinishReason) -> Generation | Exception:
        """Return what the row is told at its end."""
        row = self.row
        if reason == "deadline" and not self.answer.n_tokens:
            return too_late(row, time.perf_counter())
        answer = self.answer.generation(reason)
        if row.writes and answer.text[self._n_sent :]:
            # What was held back when the row was ended from outside.
            row.tell(Piece(answer.text[self._n_sent :], row.no_readings(), {}))
        if row.error is not None:
            return row.error
        queued_s = (row.begun_s or row.submitted_s) - row.submitted_s
        return replace(
            answer,
            adapter_digest=row.adapter_digest,
            queued_s=queued_s,
            first_token_s=answer.first_token_s + queued_s,
            total_s=answer.total_s + queued_s,
        )
