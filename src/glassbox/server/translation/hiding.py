"""What a hidden system prompt forbids, so that nothing of it can be read back from an answer.

The states at a caller's own prompt follow from what stands before it; what was written or given
after the prompt may be read. Knows requests; knows nothing of HTTP and of how prompts are made.
"""

from collections.abc import Iterable

from glassbox.errors import InvalidValue
from glassbox.server.translation.probing import Probe
from glassbox.types import Scope, TokenIds

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
