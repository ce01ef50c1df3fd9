"""Colours of numbers in views: one hue that darkens, or two that part at a middle.

Lightness alone orders them, and the pair is blue and orange, so that no colour vision is needed to
read them apart from white. Draws nothing.
"""

from functools import cache
from typing import Any

import numpy as np

from glassbox.charts import style

_SEQUENTIAL = ("#ffffff", "#a1c9f4", "#27588f")
_SURPRISE = ("#ffffff", "#fdd0a2", "#fd8d3c", "#a63603")
BELOW = "#f2a56b"
"""Colour of what is below zero."""
_DIVERGING = ("#8f3a06", BELOW, "#ffffff", "#8ab8ec", "#1f4a7d")


@cache
def shades(kind: str) -> Any:
    """Return a colour map: ``sequential``, ``surprise`` or ``diverging``."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = {"sequential": _SEQUENTIAL, "surprise": _SURPRISE, "diverging": _DIVERGING}[kind]
    return LinearSegmentedColormap.from_list(kind, list(colours)).with_extremes(bad=style.GRID)


def ink_on(colour: tuple[float, float, float, float]) -> str:
    """Return white or ink, whichever reads better on a colour (red, green, blue in [0, 1]).

    Source: WCAG 2.2, relative luminance.
    """
    channels = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour[:3]
    ]
    luminance = float(np.dot(channels, (0.2126, 0.7152, 0.0722)))
    return "white" if luminance < 0.24 else style.INK


@cache
def _known_letters(family: str) -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family=family))).get_charmap())


def drawable(text: str, family: str = "DejaVu Sans") -> str:
    """Return a text in which letters that the font lacks are boxes, and ``$`` is no formula."""
    known = _known_letters(family)
    return style.literal("".join(each if ord(each) in known else "▯" for each in text))


def number(value: float) -> str:
    """Return a number for people: three figures, no needless zeros."""
    if not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 1000 or abs(value) < 0.001:
        return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-")
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text and float(text) else text


def decimals(low: float, high: float) -> int:
    """Return how many decimals tell apart about a hundred steps between two values, at most 4."""
    reach = max(abs(low), abs(high), 1e-12)
    if reach >= 0.2:
        return 2 if reach < 100 else 0
    return 3 if reach >= 0.02 else 4


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals, nought without a sign, nothing for NaN."""
    if not np.isfinite(value):
        return ""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text
