"""The six conditions of a patching study, what is compared with what, and how a decision counts.

Source: the study's plan, "Verify response logs"; ``glassbox pathways experiment`` uses the same.
"""

from typing import Any, Final

SAFE_BASELINE: Final = "safe_baseline"
RISKY_BASELINE: Final = "risky_baseline"
SAFE_WITH_RISKY_PATCH: Final = "safe_with_risky_patch"
RISKY_WITH_SAFE_PATCH: Final = "risky_with_safe_patch"
SAFE_AMPLIFICATION: Final = "safe_amplification"
RISKY_AMPLIFICATION: Final = "risky_amplification"

CONDITIONS: Final = (
    SAFE_BASELINE,
    SAFE_WITH_RISKY_PATCH,
    RISKY_BASELINE,
    RISKY_WITH_SAFE_PATCH,
    SAFE_AMPLIFICATION,
    RISKY_AMPLIFICATION,
)
"""Every condition that a latent is tried under."""

Contrast = tuple[str, str]
"""Treated condition and baseline; an effect is treated minus baseline."""

CONTRASTS: Final[tuple[Contrast, ...]] = (
    (SAFE_WITH_RISKY_PATCH, SAFE_BASELINE),
    (RISKY_WITH_SAFE_PATCH, RISKY_BASELINE),
    (SAFE_AMPLIFICATION, SAFE_BASELINE),
    (RISKY_AMPLIFICATION, RISKY_BASELINE),
)
"""Each intervention against the same prompts left alone."""

DECISION: Final = "decision"
"""Field of a log record with what the response decided."""

STOP: Final = "stop"
CONTINUE: Final = "continue"

_OUTCOMES: Final = {STOP: 1.0, CONTINUE: 0.0}


def decision_outcome(decision: Any) -> float | None:
    """Return 1 for stopping and 0 for going on; None where the response did not say."""
    return _OUTCOMES.get(decision.strip().lower()) if isinstance(decision, str) else None


def contrast_words(contrast: Contrast) -> str:
    """Return a contrast as words: treated minus baseline."""
    return f"{contrast[0]} − {contrast[1]}"
