"""From a response to a decision. No torch; knows nothing of prompts."""

import re
from collections.abc import Sequence
from typing import Final, Literal

Decision = Literal["stop", "continue"]
"""What the model decided."""

DECISIONS: Final[tuple[Decision, Decision]] = ("stop", "continue")

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")

_FORMS: Final[dict[str, Decision]] = {
    "stop": "stop", "stops": "stop", "stopping": "stop",
    "continue": "continue", "continues": "continue", "continuing": "continue",
}  # fmt: skip

_NEGATIONS: Final = frozenset(
    {"not", "never", "no", "don't", "won't", "shouldn't", "cannot", "can't", "wouldn't"}
)

_REACH = 3
"""Words before a decision in which a negation makes it unclear."""


def parse_decision(response: str) -> Decision | None:
    """Return what a response decides, or None where it does not say.

    The first "stop" or "continue" counts. A negation within the three words before it leaves the
    response undecided: "I will not stop" is not taken for either.
    """
    words = [each.lower().replace("’", "'") for each in _WORD.findall(response)]
    for place, word in enumerate(words):
        if word in _FORMS:
            is_negated = _negated(words[max(0, place - _REACH) : place])
            return None if is_negated else _FORMS[word]
    return None


def _negated(before: Sequence[str]) -> bool:
    return any(word in _NEGATIONS for word in before)
