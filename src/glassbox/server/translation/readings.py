"""The engine's values as the wire's: captures, token readings, log-probabilities.

Knows neither routes nor how the answers came about.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from glassbox.engine.protocol import EngineInfo
from glassbox.engine.requests import (
    CapturedStates,
    Generation,
    Piece,
    TokenReadings,
)
from glassbox.engine.states.places import hidden_state_of_point, point_of_hidden_state, whole_point
from glassbox.engine.text_codec import TextCodec
from glassbox.errors import InvalidValue
from glassbox.types import Capture, FinishReason, HookPoint
from glassbox.wire.extension import (
    DEFAULT_LAYERS,
    CaptureAsked,
    GlassboxAnswered,
    GlassboxAsked,
    GlassboxChunk,
    ProbeAnswered,
    StatesAnswered,
    Timing,
)
from glassbox.wire.openai_chat import ChatLogprobs, TokenLogprob, TopLogprob
from glassbox.wire.openai_completions import CompletionLogprobs
from glassbox.wire.openai_sampling import CachedTokens, Usage

if TYPE_CHECKING:
    from glassbox.server.translation.speech import Speech

CHARACTER_IDS = 4
"""Most tokens of one character. Source: RFC 3629, section 3: UTF-8 takes one to four bytes."""

LEAST_LOGPROB = -9999.0
"""Stands for smaller ones and minus infinity, which JSON has not. Source: OpenAI's reference."""


def capture_of(asked: CaptureAsked, info: EngineInfo) -> Capture:
    """Return the capture that a request describes, its layers counted from 0.

    Raises:
        InvalidHookPoint: A layer or site that the model does not have; the message names the range.
        InvalidValue: A place that is named twice.
    """
    n_layers = info.n_layers
    if asked.hidden_state_indices is not None:
        points = [point_of_hidden_state(each, n_layers) for each in asked.hidden_state_indices]
    elif asked.points is not None:
        points = [HookPoint(each.layer, each.site) for each in asked.points]
    elif asked.layers == "all":
        points = [HookPoint(layer) for layer in range(n_layers)]
    else:
        points = [HookPoint(layer) for layer in asked.layers or DEFAULT_LAYERS]
    whole = [whole_point(point, n_layers) for point in points]
    twice = next((point for at, point in enumerate(whole) if point in whole[:at]), None)
    if twice is not None:
        raise InvalidValue(
            "capture",
            f"{twice.site} of layer {twice.layer} twice",
            "each place once (negative layers count from the end)",
        )
    return Capture(tuple(whole), tuple(asked.pooling), asked.scope)


def states_answered(states: CapturedStates, n_layers: int) -> StatesAnswered:
    """Return captured states for the wire."""
    return StatesAnswered(
        layer=states.point.layer,
        site=states.point.site,
        hidden_state_index=hidden_state_of_point(states.point, n_layers),
        scope=states.scope,
        n_positions=states.n_positions,
        mean=states.mean,
        last=states.last,
        norm=states.norm,
        none=states.none,
    )


def glassbox_answered(
    answer: Generation,
    asked: GlassboxAsked,
    probes: Mapping[str, ProbeAnswered] | None,
    info: EngineInfo,
    *,
    n_hidden: int = 0,
) -> GlassboxAnswered:
    """Return what a request wanted to see beside its text.

    Args:
        answer: The engine's answer.
        asked: What was wanted.
        probes: Readings by name; None where none were asked for.
        info: The resident model.
        n_hidden: Tokens of a hidden system prompt, which are not counted.
    """
    tokens, shown = answer.tokens, asked.entropies
    return GlassboxAnswered(
        finish_reason=answer.finish_reason,
        token_ids=list(tokens.token_ids),
        mean_entropy=answer.mean_entropy,
        entropies=tokens.entropies if shown else None,
        logprobs=tokens.logprobs if shown else None,
        sampled_entropies=tokens.sampled_entropies if shown else None,
        sampled_logprobs=tokens.sampled_logprobs if shown else None,
        states=None
        if asked.capture is None
        else [states_answered(each, info.n_layers) for each in answer.states],
        probes=None if probes is None else dict(probes),
        adapter_digest=answer.adapter_digest,
        n_cached=visible_cached(answer, n_hidden),
        timing=Timing(
            queued_s=answer.queued_s, first_token_s=answer.first_token_s, total_s=answer.total_s
        ),
    )


def glassbox_chunk(piece: Piece, asked: GlassboxAsked) -> GlassboxChunk:
    """Return what one step of a stream shows."""
    tokens, shown = piece.tokens, asked.entropies
    return GlassboxChunk(
        token_ids=list(tokens.token_ids),
        entropies=tokens.entropies if shown else None,
        logprobs=tokens.logprobs if shown else None,
        sampled_entropies=tokens.sampled_entropies if shown else None,
        sampled_logprobs=tokens.sampled_logprobs if shown else None,
        probe_logits=dict(piece.readouts) if asked.probes and piece.readouts else None,
    )


class TokenTexts:
    """The text of single tokens, found once each.

    Args:
        codec: The resident model's tokenizer.
    """

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        # Some tokenizers drop the space of a token at the start of a text: stand behind a letter.
        self._before = codec.encode(["a"], special=False)[0]
        self._known: dict[int, str] = {}
        self._written: dict[int, str] = {}

    def shown(self, token: int) -> str:
        """Return a token as a reader sees it, special tokens by their names."""
        if token not in self._known:
            self._known[token] = self._codec.token(token)
        return self._known[token]

    def written(self, token: int) -> str:
        """Return what a token adds to a text; special tokens add nothing."""
        if token not in self._written:
            self._written[token] = self.together([token])
        return self._written[token]

    def together(self, tokens: Sequence[int]) -> str:
        """Return what tokens add to a text, one after another."""
        return self._codec.continuation(self._before, tokens)


class Offsets:
    """Where tokens begin in the text that they make, in characters.

    Tokens that hold parts of one character all begin where it does.

    Args:
        texts: Text of single tokens.
        start: Characters before the first of them.
    """

    def __init__(self, texts: TokenTexts, start: int = 0) -> None:
        self._texts = texts
        self._at = start
        self._parts: list[int] = []
        """Tokens of a character that is not whole yet."""

    def of(self, tokens: Iterable[int]) -> list[int]:
        """Return where some more tokens begin."""
        found = []
        for token in tokens:
            is_part = "\ufffd" in self._texts.written(token)
            if not is_part:
                self._settle()
            found.append(self._at)
            self._parts.append(token)
            is_whole = not self._texts.together(self._parts).endswith("\ufffd") if is_part else True
            if is_whole or len(self._parts) == CHARACTER_IDS:
                self._settle()
        return found

    def _settle(self) -> None:
        if len(self._parts) == 1:
            self._at += len(self._texts.written(self._parts[0]))
        elif self._parts:
            self._at += len(self._texts.together(self._parts))
        self._parts.clear()


def completion_logprobs(
    tokens: TokenReadings, texts: TokenTexts, offsets: Offsets
) -> CompletionLogprobs:
    """Return log-probabilities in the shape of OpenAI's completions.

    Args:
        tokens: What was read at each token.
        texts: Text of single tokens.
        offsets: Where these tokens begin in the text.
    """
    names = [texts.shown(token) for token in tokens.token_ids]
    own = [_bounded(value) for value in tokens.logprobs.tolist()]
    tops: list[dict[str, float] | None] | None = None
    if tokens.top_ids.shape[1]:
        tops = []
        for name, logprob, ids, values in zip(
            names, own, tokens.top_ids.tolist(), tokens.top_logprobs.tolist(), strict=True
        ):
            # Tokens may share their text (unfinished characters): the most probable one stands.
            best: dict[str, float] = {}
            for token, value in zip(ids, values, strict=True):
                best.setdefault(texts.shown(token), _bounded(value))
            best.setdefault(name, logprob)
            tops.append(best)
    return CompletionLogprobs(
        tokens=names,
        token_logprobs=list(own),
        top_logprobs=tops,
        text_offset=offsets.of(tokens.token_ids),
    )


def joined(parts: Sequence[CompletionLogprobs]) -> CompletionLogprobs:
    """Return the log-probabilities of texts that follow one another."""
    tops = [part.top_logprobs for part in parts]
    return CompletionLogprobs(
        tokens=[each for part in parts for each in part.tokens],
        token_logprobs=[each for part in parts for each in part.token_logprobs],
        top_logprobs=None
        if all(each is None for each in tops)
        else [each for part in parts for each in part.top_logprobs or [None] * len(part.tokens)],
        text_offset=[each for part in parts for each in part.text_offset],
    )


def chat_logprobs(tokens: TokenReadings, texts: TokenTexts) -> ChatLogprobs:
    """Return log-probabilities in the shape of OpenAI's chat."""
    return ChatLogprobs(
        content=[
            TokenLogprob(
                token=texts.shown(token),
                logprob=_bounded(logprob),
                bytes=_bytes(texts.shown(token)),
                top_logprobs=[
                    TopLogprob(
                        token=texts.shown(each),
                        logprob=_bounded(value),
                        bytes=_bytes(texts.shown(each)),
                    )
                    for each, value in zip(ids, values, strict=True)
                ],
            )
            for token, logprob, ids, values in zip(
                tokens.token_ids,
                tokens.logprobs.tolist(),
                tokens.top_ids.tolist(),
                tokens.top_logprobs.tolist(),
                strict=True,
            )
        ]
    )


def _bytes(shown: str) -> list[int] | None:
    """Return a token's bytes; None where it holds part of a character only, which no text shows."""
    return None if "\ufffd" in shown else list(shown.encode())


def _bounded(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)


def openai_reason(reason: FinishReason) -> Literal["stop", "length"]:
    """Return why a text ended in OpenAI's words, which know no deadline and no full context."""
    return "stop" if reason == "stop" else "length"


def usage_of(texts: Iterable[tuple["Speech", Generation]]) -> Usage:
    """Return the tokens of a request; a prompt counts once, and its hidden part not at all."""
    prompts: dict[int, int] = {}
    n_cached = n_written = 0
    for speech, answer in texts:
        if speech.number not in prompts:
            prompts[speech.number] = len(speech.prompt.visible)
            n_cached += visible_cached(answer, speech.prompt.n_hidden)
        n_written += 0 if speech.is_echo else len(answer.tokens.token_ids)
    n_prompt = sum(prompts.values())
    return Usage(
        prompt_tokens=n_prompt,
        completion_tokens=n_written,
        total_tokens=n_prompt + n_written,
        prompt_tokens_details=CachedTokens(cached_tokens=n_cached),
    )


def visible_cached(answer: Generation, n_hidden: int) -> int:
    """Return how many of the caller's own prompt tokens were not computed again.

    Prompts are kept in blocks counted from their very first token, so that any number would tell
    the length of a hidden system prompt: with one it is 0.
    """
    return 0 if n_hidden else answer.n_cached
