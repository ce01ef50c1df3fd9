"""``/v1/lens``: from a text and a span of it to the engine's lens and back to words.

Knows the wire; the route adds who asks and how long it may take.
"""

from collections.abc import Sequence

import numpy as np

from glassbox.engine.lens import LensEngine, LensRequest, LogitLens
from glassbox.errors import InvalidValue, UnsupportedModel
from glassbox.server.translation.prompting import BuiltPrompt
from glassbox.server.translation.speech import Speaker
from glassbox.types import TokenIds
from glassbox.wire.lens import (
    LensAnswered,
    LensAsked,
    LensCandidate,
    LensColumn,
    LensRow,
    LensToken,
)


class LensReading:
    """One request for a reading layer by layer.

    Args:
        speaker: The resident model.
        asked: The request.
    """

    def __init__(self, speaker: Speaker, asked: LensAsked) -> None:
        self._speaker = speaker
        self._asked = asked

    def read(self) -> LensAnswered:
        """Return what each layer would have said; blocks until the model is free.

        Raises:
            GlassboxError: The request is refused, or the model cannot answer it.
        """
        engine = self._speaker.engine
        if not isinstance(engine, LensEngine):
            raise UnsupportedModel("This engine cannot be read layer by layer.")
        request, places = self._request()
        lens = engine.lens(request)
        return LensAnswered(
            model=self._asked.model or self._speaker.name,
            adapter_digest=lens.adapter_digest,
            n_layers=len(lens.top_ids),
            d_vocab=engine.info.d_vocab,
            columns=[self._column(request, place) for place in places],
            rows=[self._row(lens, layer) for layer in range(len(lens.top_ids))],
        )

    def _request(self) -> tuple[LensRequest, range]:
        """Return what the engine is asked, and the places in the text that the columns show."""
        asked = self._asked
        prompt, response = self._texts()
        tokens = (*prompt.ids, *(response or ()))
        places = span(
            n_prompt=len(prompt.ids),
            n_hidden=prompt.n_hidden,
            n_response=None if response is None else len(response),
            first=asked.first,
            n_tokens=asked.n_tokens,
        )
        request = LensRequest(
            tokens=tokens,
            # What stands at a place was said by the position before it.
            positions=tuple(place - 1 for place in places),
            top_k=min(asked.top_k, self._speaker.engine.info.d_vocab),
            n_hidden=prompt.n_hidden,
            adapter=self._speaker.adapter_of(asked.model),
        )
        return request, places

    def _texts(self) -> tuple[BuiltPrompt, TokenIds | None]:
        asked, prompter = self._asked, self._speaker.prompter
        if asked.messages is not None:
            prompt = prompter.chat([(each.role, each.text) for each in asked.messages])
        else:
            prompt = prompter.plain(asked.prompt or "")
        if asked.response is None:
            return prompt, None
        if isinstance(asked.response, str):
            return prompt, prompter.given_response(asked.response)
        return prompt, tuple(asked.response)

    def _column(self, request: LensRequest, place: int) -> LensColumn:
        has_token = place < len(request.tokens)
        return LensColumn(
            index=place - request.n_hidden,
            token=self._token(request.tokens[place]) if has_token else None,
        )

    def _token(self, token: int) -> LensToken:
        return LensToken(id=token, text=self._speaker.texts.shown(token))

    def _row(self, lens: LogitLens, layer: int) -> LensRow:
        probs = np.exp(lens.top_logprobs[layer])
        return LensRow(
            layer=layer,
            top=[
                self._candidates(ids, values)
                for ids, values in zip(lens.top_ids[layer].tolist(), probs.tolist(), strict=True)
            ],
            entropies=lens.entropies[layer].tolist(),
            final_probs=np.exp(lens.final_logprobs[layer]).tolist(),
        )

    def _candidates(self, ids: Sequence[int], probs: Sequence[float]) -> list[LensCandidate]:
        return [
            LensCandidate(id=token, text=self._speaker.texts.shown(token), prob=prob)
            for token, prob in zip(ids, probs, strict=True)
        ]


def span(
    *, n_prompt: int, n_hidden: int, n_response: int | None, first: int | None, n_tokens: int
) -> range:
    """Return the places in a text whose making is to be shown; its end is the one to come.

    Args:
        n_prompt: Tokens of the prompt, the hidden ones included.
        n_hidden: Leading tokens that are never shown, nor read.
        n_response: Tokens of the response; None where only a prompt is given.
        first: First token wanted, counted in the response, else in the visible prompt.
        n_tokens: Places wanted; fewer are shown where the text ends before.

    Raises:
        InvalidValue: The first token is not in the text, or nothing visible stands before it.
    """
    end = n_prompt + (n_response or 0)
    if n_response is None:
        start, least = n_hidden, 1
        chosen = max(least, end - n_hidden - n_tokens + 1) if first is None else first
    else:
        start, least = n_prompt, 0 if n_prompt > n_hidden else 1
        chosen = least if first is None else first
    if not least <= chosen <= end - start:
        raise InvalidValue("first", chosen, f"{least} to {end - start} in this text")
    return range(start + chosen, min(start + chosen + n_tokens, end + 1))
