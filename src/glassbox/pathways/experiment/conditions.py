"""The six conditions, by the names of the study, and what each does to a latent.

No torch; knows nothing of models.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["safe", "risky"]
"""Which of the two prompts of a pair."""

KINDS: Final[tuple[Kind, Kind]] = ("safe", "risky")


@dataclass(frozen=True)
class Condition:
    """What the model is given, and what the latent is held at."""

    name: str
    """As in checkpoints and logs."""
    prompt: Kind
    """Kind of the prompt."""
    value: Kind | None
    """Kind of prompt whose mean the latent is held at; None leaves it alone."""
    amplified: bool = False
    """Whether that mean is multiplied first."""


CONDITIONS: Final = (
    Condition("safe_baseline", "safe", None),
    Condition("safe_with_risky_patch", "safe", "risky"),
    Condition("risky_baseline", "risky", None),
    Condition("risky_with_safe_patch", "risky", "safe"),
    Condition("safe_amplification", "safe", "safe", amplified=True),
    Condition("risky_amplification", "risky", "risky", amplified=True),
)
"""All of them. Source: the study's plan, step 0."""

CONTRASTS: Final[dict[Kind, tuple[str, str]]] = {
    "safe": ("safe_with_risky_patch", "safe_baseline"),
    "risky": ("risky_with_safe_patch", "risky_baseline"),
}
"""By kind of prompt: the patched condition and what it is compared with."""
