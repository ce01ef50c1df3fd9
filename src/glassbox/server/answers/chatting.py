"""``/v1/chat/completions``: what its requests ask of the engine, and the shape of its answers.

Knows the wire; ``Writing`` knows the way.
"""

from collections.abc import Iterator, Sequence

from glassbox.engine.requests import Generation, Piece
from glassbox.server.answers.writing import Writing
from glassbox.server.translation.readings import chat_logprobs, openai_reason, usage_of
from glassbox.server.translation.speech import Speech, Terms
from glassbox.wire.openai_chat import (
    AnswerMessage,
    ChatAsked,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    Delta,
)
from glassbox.wire.openai_sampling import Usage


class Chatting(Writing[ChatAsked, ChatCompletion, ChatChunkChoice]):
    """One request for chat."""

    def _prepared(self, terms: Terms) -> list[Speech]:
        return self._speaker.chat(self._asked, terms)

    def _answer(self, texts: Sequence[tuple[Speech, Generation]]) -> ChatCompletion:
        return ChatCompletion(
            id=self._name,
            created=self._created,
            model=self._model,
            system_fingerprint=self._fingerprint,
            choices=[
                self._choice(index, speech, answer) for index, (speech, answer) in enumerate(texts)
            ],
            usage=usage_of(texts),
        )

    def _chunk(self, parts: list[ChatChunkChoice], usage: Usage | None = None) -> ChatChunk:
        return ChatChunk(
            id=self._name,
            created=self._created,
            model=self._model,
            system_fingerprint=self._fingerprint,
            choices=parts,
            usage=usage,
        )

    def _starts(self) -> Iterator[ChatChunkChoice]:
        for index in range(len(self._speeches)):
            yield ChatChunkChoice(index=index, delta=Delta(role="assistant", content=""))

    def _step(self, index: int, piece: Piece) -> ChatChunkChoice:
        return ChatChunkChoice(
            index=index,
            delta=Delta(content=piece.text),
            logprobs=chat_logprobs(piece.tokens, self._speaker.texts)
            if self._asked.logprobs
            else None,
            glassbox=self._speaker.shown_step(piece, self._speeches[index], self._asked.glassbox),
        )

    def _end(self, index: int, answer: Generation, rest: str) -> ChatChunkChoice:
        return ChatChunkChoice(
            index=index,
            delta=Delta(content=rest) if rest else Delta(),
            finish_reason=openai_reason(answer.finish_reason),
            glassbox=self._speaker.shown_end(answer, self._speeches[index], self._asked.glassbox),
        )

    def _choice(self, index: int, speech: Speech, answer: Generation) -> ChatChoice:
        return ChatChoice(
            index=index,
            message=AnswerMessage(content=answer.text),
            logprobs=chat_logprobs(answer.tokens, self._speaker.texts)
            if self._asked.logprobs
            else None,
            finish_reason=openai_reason(answer.finish_reason),
            glassbox=self._speaker.shown(answer, speech, self._asked.glassbox),
        )
