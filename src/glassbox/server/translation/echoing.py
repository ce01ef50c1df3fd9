"""An echo: a prompt that is read as the response to its own first token, shown as the prompt it is.

Knows neither routes nor how the answers came about.
"""

from dataclasses import replace

from glassbox.engine.requests import Generation, TokenReadings
from glassbox.errors import InvalidValue
from glassbox.wire.extension import GlassboxAsked


def of_prompt(asked: GlassboxAsked) -> GlassboxAsked:
    """Return what to capture where a prompt is read as the response to its own first token.

    Raises:
        InvalidValue: States of a written text, and none is written.
    """
    capture = asked.capture
    if capture is None:
        return asked
    if capture.scope == "generated":
        raise InvalidValue("scope", "generated", "prompt or all, because nothing is written")
    return asked.model_copy(update={"capture": capture.model_copy(update={"scope": "all"})})


def as_prompt(answer: Generation) -> Generation:
    """Return the reading of a prompt with all its positions counted as the prompt's."""
    tokens = answer.tokens
    nothing = TokenReadings(
        token_ids=(),
        logprobs=tokens.logprobs[:0],
        entropies=tokens.entropies[:0],
        sampled_logprobs=tokens.sampled_logprobs[:0],
        sampled_entropies=tokens.sampled_entropies[:0],
        top_ids=tokens.top_ids[:0],
        top_logprobs=tokens.top_logprobs[:0],
    )
    return replace(answer, tokens=nothing)


def with_asked_scope(answer: Generation, asked: GlassboxAsked) -> Generation:
    """Return the reading of a prompt with its states named by the scope that was asked for."""
    if asked.capture is None:
        return answer
    scope = asked.capture.scope
    return replace(answer, states=tuple(replace(each, scope=scope) for each in answer.states))
