"""A batch of one for models that cannot join a running batch: the library's plain way in turn.

Stands where the running batch would, behind the same line. Knows rows; knows nothing of threads.
"""

import time
from dataclasses import replace
from functools import partial

from transformers import PreTrainedModel

from glassbox.engine.batching.outcomes import Told, in_our_words, too_late
from glassbox.engine.batching.plain_generation import plain_generation
from glassbox.engine.batching.row import Row
from glassbox.engine.batching.running_batch import NextRow
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.model.attempt import attempt
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.requests import FinishReason, Generation, Piece


class PlainBatch:
    """Answers one whole row at each step.

    Args:
        model: The library's model.
        codec: Its tokenizer.
        bank: Its adapters.
        context: Most tokens of prompt and response together.
    """

    def __init__(
        self, model: PreTrainedModel, codec: TokenizerCodec, bank: AdapterBank, context: int
    ) -> None:
        self.rows: list[Row] = []
        self._model = model
        self._codec = codec
        self._bank = bank
        self._context = context

    def step(self, next_row: NextRow, told: Told) -> None:
        """Answer the next row, if there is one."""
        row = next_row(lambda _: "now")
        if row is None:
            return
        self.rows = [row]
        answer = attempt(partial(self._answer, row))
        self.rows = []
        told.append((row, in_our_words(answer) if isinstance(answer, Exception) else answer))

    def abandon(self, reason: FinishReason | Exception, told: Told) -> None:
        """Do nothing: no row outlasts its step."""

    def _answer(self, row: Row) -> Generation | Exception:
        begun = time.perf_counter()
        n_sent = 0

        def listen(piece: Piece) -> None:
            nonlocal n_sent
            n_sent += len(piece.text)
            row.tell(piece)

        def stopped() -> FinishReason | None:
            if row.error is not None or row.ticket.cancelled.is_set():
                return "cancelled"
            late = row.deadline_s is not None and time.perf_counter() >= row.deadline_s
            return "deadline" if late else None

        with self._bank.applying_all(row.adapter):
            answer = plain_generation(
                self._model,
                self._codec,
                row.request,
                context=self._context,
                listen=listen,
                stopped=stopped,
            )
        if answer.finish_reason == "deadline" and not answer.tokens.token_ids:
            return too_late(row, time.perf_counter())
        if row.writes and answer.text[n_sent:]:
            # What was held back when the row was ended from outside.
            row.tell(Piece(answer.text[n_sent:], row.no_readings(), {}))
        if row.error is not None:
            return row.error
        queued_s = begun - row.submitted_s
        return replace(
            answer,
            adapter_digest=row.adapter_digest,
            queued_s=queued_s,
            first_token_s=answer.first_token_s + queued_s,
            total_s=answer.total_s + queued_s,
        )
