"""Tokens as they can be shown: what cannot be seen is made visible, strength becomes colour."""

from dataclasses import dataclass

from glassbox.pathways.integration.values import TopContext

_BEFORE, _AFTER = 18, 9
"""Tokens shown before and after the peak."""


@dataclass(frozen=True)
class ShownToken:
    """A token of a context."""

    text: str
    share: int
    """How much colour it has, 0 to 100."""
    title: str
    """Its activation, in words; empty where the latent is silent."""
    is_peak: bool


def shown_context(context: TopContext, largest: float) -> list[ShownToken]:
    """Return the tokens around the peak; colours run from 0 to ``largest``."""
    start = max(0, context.peak - _BEFORE)
    stop = min(len(context.tokens), context.peak + _AFTER + 1)
    shown = []
    for place in range(start, stop):
        value = context.activations[place]
        part = 0 if largest <= 0 else round(100 * min(1.0, max(0.0, value) / largest))
        shown.append(
            ShownToken(
                visible(context.tokens[place]),
                part,
                f"{value:.3g}" if value > 0 else "",
                place == context.peak,
            )
        )
    return shown


def visible(token: str) -> str:
    """Return a token whose line ends and tabs can be seen, and never nothing."""
    text = token.replace("\n", "⏎").replace("\r", "↵").replace("\t", "⇥")
    return "".join(each if each.isprintable() else "�" for each in text) or "∅"


def quoted(token: str) -> str:
    """Return a token as it is named in tables: a leading space is shown as one."""
    text = visible(token)
    return f"␣{text[1:]}" if text.startswith(" ") else text
