"""Rules: which number, on which side of which limit, for how long, is worth telling whom.

A rule names a signal by its path, as in ``summary.shadow_avg_diff``; ``*`` stands for one part of
it or several, and every signal that fits is an alert of its own. Knows no signal and no receiver.
"""

import fnmatch
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Severity = Literal["info", "warn", "error"]
"""How bad it is. Source: Flagger, alerting."""

Words = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A line of text."""


class Limit(BaseModel):
    """A signal and the limit that it is on the wrong side of."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    signal: Words
    """Path of the number, as in `summary.success_rate`; `*` stands for any part of it."""
    above: FiniteFloat | None = None
    """Larger values are meant; give this or `below`."""
    below: FiniteFloat | None = None
    """Smaller values are meant; give this or `above`."""

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give one of 'above' and 'below'")
        return self

    @property
    def limit(self) -> float:
        """The limit itself."""
        limit = self.above if self.above is not None else self.below
        assert limit is not None
        return limit

    @property
    def side(self) -> Literal["above", "below"]:
        """On which side of the limit the values are that are meant."""
        return "above" if self.above is not None else "below"

    def holds(self, value: float) -> bool:
        """Whether a value is on that side; the limit itself is not."""
        return value > self.limit if self.side == "above" else value < self.limit

    @property
    def is_pattern(self) -> bool:
        """Whether several signals may fit."""
        return "*" in self.signal

    def fits(self, signal: str) -> bool:
        """Whether a signal is meant."""
        if not self.is_pattern:
            return signal == self.signal
        # Only the star is special here: a feature may be called `a[1]`.
        return fnmatch.fnmatchcase(signal, self.signal.replace("[", "[[]").replace("?", "[?]"))


class Condition(Limit):
    """When a rule is judged at all: with too few requests, say, it is not."""

    @model_validator(mode="after")
    def _one_signal(self) -> Self:
        if self.is_pattern:
            raise ValueError("the signal of 'only_if' may not contain '*'")
        return self


class AlertRule(Limit):
    """One rule."""

    name: Words
    """What people call it; unique."""
    summary: str = Field(default="", max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
    """What it means when it fires, in a sentence; the values are added."""
    severity: Severity = "warn"
    """How bad that is."""
    for_s: float = Field(default=0.0, ge=0.0, le=30 * 86400.0)
    """Seconds that the value must stay there before anybody is told."""
    keep_firing_for_s: float = Field(default=60.0, ge=0.0, le=30 * 86400.0)
    """Seconds that it must be back before the alert is over: flapping tells nobody twice."""
    increase_over_s: float | None = Field(default=None, gt=0.0, le=86400.0)
    """Judge how much the signal grew in so many seconds instead; for counters."""
    missing: Literal["hold", "fire"] = "hold"
    """What a signal that is not reported means: nothing new, or as bad as beyond the limit."""
    only_if: Condition | None = None
    """What must hold too for the rule to be judged."""
    receivers: tuple[Words, ...] | None = None
    """Who is told; unset tells all receivers."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.is_pattern and self.missing == "fire":
            raise ValueError("'missing = \"fire\"' needs a signal without '*'")
        return self

    @property
    def said(self) -> str:
        """The rule in words, as in ``above 0.05 for 60 s``."""
        grown = "" if self.increase_over_s is None else f" in {self.increase_over_s:g} s"
        lasting = f" for {self.for_s:g} s" if self.for_s else ""
        return f"{self.side} {self.limit:g}{grown}{lasting}"
