"""Text on a terminal with each token coloured by how sure the model was of it.

Four steps from no colour (sure) to dark orange with a line below (not at all): they differ in
lightness too, so that no colour vision is needed. Knows nothing of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from glassbox.cli.terminal.console import visible


@dataclass(frozen=True)
class Step:
    """One step of a scale."""

    least: float
    """Values from here up belong to it, until those of the step before."""
    style: str
    """How its tokens look."""
    words: str
    """What the legend says."""


PROBABILITY = (
    Step(0.9, "", "90 % and more"),
    Step(0.5, "black on #fee6ce", "50 to 90 %"),
    Step(0.1, "black on #fdae6b", "10 to 50 %"),
    Step(0.0, "underline white on #a63603", "below 10 %"),
)
"""Steps of a token's probability."""

CERTAINTY = (
    Step(-0.5, "", "below 0.5 nats"),
    Step(-1.5, "black on #fee6ce", "0.5 to 1.5"),
    Step(-3.0, "black on #fdae6b", "1.5 to 3"),
    Step(float("-inf"), "underline white on #a63603", "3 and more"),
)
"""Steps of the negated entropy before a token, nats."""


def coloured(tokens: Sequence[str], values: Sequence[float], steps: Sequence[Step]) -> Text:
    """Return tokens one after another, each in the style of its value."""
    text = Text()
    for token, value in zip(tokens, values, strict=True):
        style = next((step.style for step in steps if value >= step.least), steps[-1].style)
        text.append(visible(token), style=style)
    return text


def legend(title: str, steps: Sequence[Step]) -> Text:
    """Return what the colours mean, on one line."""
    text = Text()
    text.append(f"{title}: ", style="dim")
    for number, step in enumerate(steps):
        text.append("  " if number else "")
        text.append(f" {step.words} ", style=step.style or "dim")
    return text
