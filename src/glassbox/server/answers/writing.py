"""What completions and chat share: texts to the engine and back, whole or step by step.

A text's way is the same in both; what its answer looks like is said by each. Knows tickets; the
route adds who asks and how errors look.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Generic, TypeVar

from anyio import to_thread

from glassbox.engine.requests import Generation, Piece, Request
from glassbox.errors import GlassboxError
from glassbox.server.concurrency.event_stream import DONE, WAITING, event
from glassbox.server.concurrency.tickets import Running
from glassbox.server.errors.openai_shape import openai_error
from glassbox.server.translation.readings import usage_of
from glassbox.server.translation.speech import Speaker, Speech, Terms, check_ended
from glassbox.wire.openai_sampling import SamplingAsked, Usage
from glassbox.wire.shapes import Answered

A = TypeVar("A", bound=SamplingAsked)
W = TypeVar("W", bound=Answered)
P = TypeVar("P", bound=Answered)


class Writing(ABC, Generic[A, W, P]):
    """One request for texts, answered by a ``W``, or by chunks that hold each a part ``P``.

    Args:
        speaker: The resident model.
        asked: The request.
        name: Name of the request, the same in all chunks of its answer.
    """

    def __init__(self, speaker: Speaker, asked: A, name: str) -> None:
        self._speaker = speaker
        self._asked = asked
        self._name = name
        self._created = int(time.time())
        self._speeches: list[Speech] = []
        self._adapter_digest: str | None = None
        """Of the adapter that answers; None is the base model, or not known yet."""

    @property
    def asked(self) -> A:
        """What was asked for."""
        return self._asked

    async def begin(self, running: Running, terms: Terms) -> None:
        """Hand the request to the engine.

        Args:
            running: Takes it.
            terms: On whose behalf, and how long it may take.

        Raises:
            GlassboxError: It is refused.
        """

        def prepare() -> list[Request]:
            self._speeches = self._prepared(terms)
            self._note_adapter()
            return [speech.request for speech in self._speeches]

        await running.submit(prepare, stream=bool(self._asked.stream))

    async def whole(self, running: Running) -> W:
        """Return the answer once all of it is there.

        Raises:
            GlassboxError: One of its texts failed.
        """
        answers = [check_ended(answer) for answer in await running.answers()]
        self._adapter_digest = answers[0].adapter_digest
        return self._answer(list(zip(self._speeches, answers, strict=True)))

    async def events(self, running: Running) -> AsyncIterator[bytes]:
        """Yield the answer as server-sent events, an error in the middle included."""
        sent = ["" for _ in self._speeches]
        ended: list[tuple[Speech, Generation]] = []
        counted = self._asked.wants_usage
        for part in self._starts():
            yield event(self._chunk([part]), no_usage=counted)
        try:
            async for each in running.events():
                if each.piece is not None:
                    self._note_adapter()
                    sent[each.index] += each.piece.text
                    part = self._step(each.index, each.piece)
                    yield event(self._chunk([part]), no_usage=counted)
                elif each.answer is not None:
                    answer = check_ended(each.answer)
                    self._adapter_digest = answer.adapter_digest
                    ended.append((self._speeches[each.index], answer))
                    rest = answer.text[len(sent[each.index]) :]
                    last = self._chunk([self._end(each.index, answer, rest)])
                    # With its states it takes a while to write down: the event loop does not wait.
                    yield await to_thread.run_sync(partial(event, last, no_usage=counted))
                else:
                    yield WAITING
        except GlassboxError as error:
            yield event(openai_error(error))
        else:
            if counted:
                yield event(self._chunk([], usage_of(ended)))
        yield DONE

    def _note_adapter(self) -> None:
        """Find out whose digest the answer names; an adapter that is yet to be fetched has none."""
        adapter = self._speeches[0].request.adapter
        if adapter is not None and self._adapter_digest is None:
            self._adapter_digest = self._speaker.digest_of(adapter)

    @property
    def _fingerprint(self) -> str:
        """What answers, by digests."""
        return self._speaker.fingerprint(self._adapter_digest)

    @property
    def _model(self) -> str:
        """The model, as the request named it."""
        return self._asked.model or self._speaker.name

    @abstractmethod
    def _prepared(self, terms: Terms) -> list[Speech]:
        """Return what the engine is to write and read."""

    @abstractmethod
    def _answer(self, texts: Sequence[tuple[Speech, Generation]]) -> W:
        """Return the whole answer."""

    @abstractmethod
    def _chunk(self, parts: list[P], usage: Usage | None = None) -> Answered:
        """Return a chunk of a stream."""

    @abstractmethod
    def _starts(self) -> Iterable[P]:
        """Return the parts that come before any text."""

    @abstractmethod
    def _step(self, index: int, piece: Piece) -> P:
        """Return the part that one step adds to a text.

        Args:
            index: Which text.
            piece: What the step added.
        """

    @abstractmethod
    def _end(self, index: int, answer: Generation, rest: str) -> P:
        """Return the last part of a text.

        Args:
            index: Which text.
            answer: All of it.
            rest: Text that was not sent before.
        """
