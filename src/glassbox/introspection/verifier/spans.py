"""The response token by token, where its characters are, and where it surprised the model."""

import math
from collections.abc import Sequence
from typing import Final

from glassbox.engine.requests import TokenReadings
from glassbox.engine.text_codec import TextCodec
from glassbox.introspection.verdict import Span, TokenReading
from glassbox.types import TokenIds

UNLIKELY: Final = math.log(0.1)
"""A surprising token has at most this log-probability, nats."""
EXCESS: Final = 1.0
"""And its surprisal is above the entropy by at least this, nats: where everything is open, no
choice surprises. Source: Meister et al. 2023, TACL 11, definition 3 (local typicality)."""
MOST_PARTS: Final = 4
"""Tokens that one character can be spread over: the most bytes of one in UTF-8. A longer row that
still ends in the replacement character holds that character itself."""


def read_tokens(
    codec: TextCodec, prompt: TokenIds, response: str, tokens: TokenReadings
) -> tuple[TokenReading, ...]:
    """Return the tokens of a response with their places in its characters.

    Tokens that hold parts of one character all get that character. A space that joins prompt and
    response belongs to the first token's text and to no character of the response.
    """
    pieces = _pieces(codec, prompt, tokens.token_ids)
    whole = "".join(text for text, _ in pieces)
    shift = max(0, whole.find(response))
    found, at = [], -shift
    for number, (text, length) in enumerate(pieces):
        start, end = at, at + length
        at += len(text)
        logprob, entropy = float(tokens.logprobs[number]), float(tokens.entropies[number])
        found.append(
            TokenReading(
                text=text,
                start=min(max(start, 0), len(response)),
                end=min(max(end, 0), len(response)),
                logprob=logprob,
                entropy=entropy,
                surprising=logprob <= UNLIKELY and -logprob - entropy >= EXCESS,
            )
        )
    return tuple(found)


def surprising_spans(response: str, tokens: Sequence[TokenReading]) -> tuple[Span, ...]:
    """Return where consecutive tokens surprised the model, in order."""
    runs: list[list[TokenReading]] = []
    before = False
    for token in tokens:
        if token.surprising and before:
            runs[-1].append(token)
        elif token.surprising:
            runs.append([token])
        before = token.surprising
    return tuple(
        Span(
            start=run[0].start,
            end=run[-1].end,
            text=response[run[0].start : run[-1].end],
            n_tokens=len(run),
            logprob=min(each.logprob for each in run),
        )
        for run in runs
    )


def _pieces(codec: TextCodec, prompt: TokenIds, ids: TokenIds) -> list[tuple[str, int]]:
    """Return each token's own text, and how many characters it covers from where it begins."""
    pieces: list[tuple[str, int]] = []
    held = 0
    for at in range(len(ids)):
        first = at - held
        text = codec.continuation((*prompt, *ids[:first]), ids[first : at + 1])
        if text.endswith("\ufffd") and held < MOST_PARTS - 1 and at + 1 < len(ids):
            # Part of a character: its text comes with the token that completes it.
            held += 1
            pieces.append(("", 0))
            continue
        for back in range(1, held + 1):
            pieces[-back] = ("", len(text))
        held = 0
        pieces.append((text, len(text)))
    return pieces
