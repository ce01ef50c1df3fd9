"""``/v1/completions``: what its requests ask of the engine, and the shape of its answers.

Knows the wire; ``Writing`` knows the way.
"""

from collections.abc import Sequence

from glassbox.engine.requests import Generation, Piece
from glassbox.server.answers.writing import Writing
from glassbox.server.translation.readings import (
    Offsets,
    completion_logprobs,
    joined,
    openai_reason,
    usage_of,
)
from glassbox.server.translation.speech import Speaker, Speech, Terms
from glassbox.wire.openai_completions import (
    Completion,
    CompletionAsked,
    CompletionChoice,
    CompletionLogprobs,
)
from glassbox.wire.openai_sampling import Usage


class Completing(Writing[CompletionAsked, Completion, CompletionChoice]):
    """One request for completions."""

    def __init__(self, speaker: Speaker, asked: CompletionAsked, name: str) -> None:
        super().__init__(speaker, asked, name)
        self._offsets: dict[int, Offsets] = {}
        """Of the texts of a stream, by number."""

    def _prepared(self, terms: Terms) -> list[Speech]:
        return self._speaker.completions(self._asked, terms)

    def _answer(self, texts: Sequence[tuple[Speech, Generation]]) -> Completion:
        echoes = {speech.number: answer for speech, answer in texts if speech.is_echo}
        # Where nothing is written, the prompts themselves are the texts.
        shown = [each for each in texts if not each[0].is_echo] or texts
        choices = [
            self._choice(index, speech, answer, echoes.get(speech.number))
            for index, (speech, answer) in enumerate(shown)
        ]
        return self._chunk(choices, usage_of(shown))

    def _chunk(self, parts: list[CompletionChoice], usage: Usage | None = None) -> Completion:
        return Completion(
            id=self._name,
            created=self._created,
            model=self._model,
            system_fingerprint=self._fingerprint,
            choices=parts,
            usage=usage,
        )

    def _starts(self) -> Sequence[CompletionChoice]:
        return ()

    def _step(self, index: int, piece: Piece) -> CompletionChoice:
        asked, texts = self._asked, self._speaker.texts
        offsets = self._offsets.setdefault(index, Offsets(texts))
        return CompletionChoice(
            index=index,
            text=piece.text,
            logprobs=None
            if asked.logprobs is None
            else completion_logprobs(piece.tokens, texts, offsets),
            finish_reason=None,
            glassbox=self._speaker.shown_step(piece, self._speeches[index], asked.glassbox),
        )

    def _end(self, index: int, answer: Generation, rest: str) -> CompletionChoice:
        return CompletionChoice(
            index=index,
            text=rest,
            finish_reason=openai_reason(answer.finish_reason),
            glassbox=self._speaker.shown_end(answer, self._speeches[index], self._asked.glassbox),
        )

    def _choice(
        self, index: int, speech: Speech, answer: Generation, echo: Generation | None
    ) -> CompletionChoice:
        prompt = speech.prompt.text if self._asked.echo else ""
        text = "" if speech.is_echo else answer.text
        return CompletionChoice(
            index=index,
            text=prompt + text,
            logprobs=None
            if self._asked.logprobs is None
            else self._logprobs(speech, answer, echo, Offsets(self._speaker.texts, len(prompt))),
            finish_reason=openai_reason(answer.finish_reason),
            glassbox=self._speaker.shown(answer, speech, self._asked.glassbox),
        )

    def _logprobs(
        self, speech: Speech, answer: Generation, echo: Generation | None, offsets: Offsets
    ) -> CompletionLogprobs:
        parts = [] if echo is None else self._echoed(speech, echo)
        if not speech.is_echo:
            parts.append(completion_logprobs(answer.tokens, self._speaker.texts, offsets))
        return joined(parts)

    def _echoed(self, speech: Speech, echo: Generation) -> list[CompletionLogprobs]:
        """Return a prompt's log-probabilities; its very first token has none."""
        texts, parts = self._speaker.texts, list[CompletionLogprobs]()
        offsets = Offsets(texts)
        if not speech.prompt.n_hidden:
            first = speech.prompt.ids[0]
            parts.append(
                CompletionLogprobs(
                    tokens=[texts.shown(first)],
                    token_logprobs=[None],
                    top_logprobs=[None] if self._asked.logprobs else None,
                    text_offset=offsets.of([first]),
                )
            )
        return [*parts, completion_logprobs(echo.tokens, texts, offsets)]
