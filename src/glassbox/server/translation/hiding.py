"""What a hidden system prompt forbids, so that nothing of it can be read back from an answer.

The states at a caller's own prompt follow from what stands before it; what was written or given
after the prompt may be read. Knows requests; knows nothing of HTTP and of how prompts are made.
"""

from collections.abc import Iterable
from dataclasses import replace

from glassbox.engine.requests import Generation, Piece, Request
from glassbox.errors import InvalidValue
from glassbox.server.translation.probing import Probe
from glassbox.types import Scope, TokenIds
from glassbox.wire.extension import ProbeAnswered

REASON = "This server puts a hidden system prompt before every text."
"""Said with every refusal."""


def check_hidden(response: TokenIds | None, scope: Scope | None, probes: Iterable[Probe]) -> None:
    """Refuse to read the prompt alone.

    Args:
        response: What is read after the prompt; None is yet to be written.
        scope: Positions whose states are wanted; None wants none.
        probes: Probes that were asked for by name.

    Raises:
        InvalidValue: States or readings would be those of the prompt alone.
    """
    wanted = [] if scope is None else [("scope", scope)]
    wanted += [(f"scope of the probe {each.name!r}", each.scope) for each in probes]
    for what, covered in wanted:
        if is_prompt_alone(covered, response):
            raise InvalidValue(
                what, covered, "generated, or all where text follows the prompt", remedy=REASON
            )


def is_prompt_alone(scope: Scope, response: TokenIds | None) -> bool:
    """Whether a scope covers nothing beyond the prompt."""
    return scope == "prompt" or (scope == "all" and response is not None and not response)


def beyond_prompt(answer: Generation, request: Request) -> Generation:
    """Return an answer without what turned out to be read of the prompt alone.

    Scope ``all`` covers nothing else where the text ended with its first token, which is never run.
    """
    if answer.n_response_run or not request.n_hidden:
        return answer
    states = (replace(e, n_positions=0, mean=None, last=None, norm=None) for e in answer.states)
    nothing = {name: values[:0] for name, values in answer.readouts.items()}
    return replace(answer, states=tuple(states), readouts=nothing)


def step_beyond_prompt(piece: Piece, request: Request) -> Piece:
    """Return a step of a stream without readings at single positions of the prompt."""
    is_shown = request.readout_scope == "generated" or not request.n_hidden
    return piece if is_shown else replace(piece, readouts={})


def reading_beyond_prompt(
    reading: ProbeAnswered, answer: Generation, request: Request
) -> ProbeAnswered:
    """Return a pooled reading without those at single positions of the prompt."""
    logits = reading.token_logits
    if logits is None or not request.n_hidden:
        return reading
    cut = max(0, len(logits) - answer.n_response_run)
    return reading.model_copy(update={"token_logits": logits[cut:]})
