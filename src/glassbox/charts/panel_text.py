"""Draws texts of views as pictures: tokens on their colours, and passages under one another.

Sizes are inches; letters all have one width, so lines are broken by counting. Computes nothing.
"""

import textwrap
from typing import Final

import numpy as np

from glassbox.charts import style
from glassbox.charts.panel_colours import drawable, ink_on, number, shades
from glassbox.charts.panels import Passages, TokenColouring, shown, visible
from glassbox.charts.style import Figure

WIDTH: Final = 9.6
"""Width of a picture of texts."""
_MONO: Final = "DejaVu Sans Mono"
_LETTER: Final = 12 / style.DOTS_PER_INCH
"""Width of a letter: whole pixels, because the drawing library sets letters on whole pixels."""
_SIZE: Final = 72 * _LETTER * 2048 / 1233
"""Points at which letters are that wide. Source: the font's advance of 1233 in 2048 units."""
_LINE: Final = 0.27
_MOST_LINES: Final = 60
_MOST_LINES_OF_A_PASSAGE: Final = 14

Piece = tuple[int, int, str]
"""Number of a token, column where it begins, and what is written of it there."""


def token_lines(panel: TokenColouring) -> list[list[Piece]]:
    """Return the tokens broken into lines; a line end in a token ends its line."""
    across = int((WIDTH - 0.6) / _LETTER)
    lines: list[list[Piece]] = [[]]
    used = 0
    for index, token in enumerate(panel.tokens):
        pieces = token.split("\n")
        for place, piece in enumerate(pieces):
            text = visible(piece) + ("↵" if place < len(pieces) - 1 else "")
            if not token:
                text = shown(token)
            if used and used + len(text) > across:
                lines.append([])
                used = 0
            while text:
                lines[-1].append((index, used, text[: across - used]))
                text, used = text[across - used :], used + min(len(text), across - used)
                if text:
                    lines.append([])
                    used = 0
            if place < len(pieces) - 1:
                lines.append([])
                used = 0
    return lines if lines[-1] else lines[:-1] or [[]]


def tokens_height(panel: TokenColouring) -> float:
    """Return the height of a token colouring."""
    return 0.85 + _LINE * min(len(token_lines(panel)), _MOST_LINES)


def draw_tokens(figure: Figure, panel: TokenColouring, y: float) -> None:
    """Draw a text whose tokens stand on their colours; its upper edge is at ``y``."""
    from matplotlib.patches import Rectangle

    lines, colours = token_lines(panel), shades("surprise")
    low, high = panel.scale
    title = panel.title
    if len(lines) > _MOST_LINES:
        title += f" (first {_MOST_LINES} of {len(lines)} lines; the page shows all)"
    style.write(figure, 0.3, y - 0.02, drawable(title), weight="bold", size=10.5)
    _scale(figure, panel, y - 0.33)
    axes = style.place(figure, (0.3, y - tokens_height(panel), WIDTH - 0.6, tokens_height(panel)))
    axes.axis("off")
    axes.set(xlim=(0, WIDTH - 0.6), ylim=(-tokens_height(panel), 0))
    for row, line in enumerate(lines[:_MOST_LINES]):
        top = -0.68 - row * _LINE
        for index, column, text in line:
            value, x = panel.values[index], column * _LETTER
            share = float(np.clip((value - low) / (high - low), 0, 1)) if value == value else 0.0
            # A gap to the next box; the sign of a line end fills its letter's width to the edge.
            width = len(text) * _LETTER + (0.03 if text.endswith("↵") else -0.012)
            axes.add_patch(
                Rectangle((x, top - 0.2), width, 0.225, linewidth=0, facecolor=colours(share))
            )
            axes.text(
                x, top - 0.088, drawable(text, _MONO), family=_MONO, size=_SIZE, va="center",
                color=ink_on(colours(share)),
            )  # fmt: skip


def _scale(figure: Figure, panel: TokenColouring, y: float) -> None:
    low, high = panel.scale
    axes = style.place(figure, (0.62, y - 0.14, 1.6, 0.13))
    axes.imshow(np.linspace(0, 1, 64)[None], cmap=shades("surprise"), aspect="auto")
    axes.axis("off")
    style.write(figure, 0.56, y, number(low), size=8.5, color=style.MUTED, ha="right")
    style.write(figure, 2.3, y, f"{number(high)} or more", size=8.5, color=style.MUTED)


def passage_lines(text: str) -> list[str]:
    """Return a passage broken into lines, its own line ends kept."""
    lines: list[str] = []
    for line in text.split("\n"):
        lines += textwrap.wrap(visible(line), 104, drop_whitespace=False) or [""]
    if len(lines) > _MOST_LINES_OF_A_PASSAGE:
        return [*lines[: _MOST_LINES_OF_A_PASSAGE - 1], "…"]
    return lines


def passages_height(panel: Passages) -> float:
    """Return the height of passages."""
    after = 0.2 * len(passage_lines(panel.after)) + 0.18 if panel.after else 0.0
    return 0.4 + after + sum(0.42 + 0.2 * len(passage_lines(text)) for text in panel.texts)


def draw_passages(figure: Figure, panel: Passages, y: float) -> None:
    """Draw passages under one another; the upper edge is at ``y``."""
    style.write(figure, 0.3, y - 0.02, drawable(panel.title), weight="bold", size=10.5)
    y -= 0.36
    if panel.after:
        y = _lines(figure, panel.after, y, style.MUTED) - 0.14
    for name, text in zip(panel.names, panel.texts, strict=True):
        style.write(figure, 0.3, y, drawable(name), size=9, color=style.MUTED, weight="bold")
        y = _lines(figure, text or "(nothing)", y - 0.21, style.INK if text else style.MUTED) - 0.2


def _lines(figure: Figure, text: str, y: float, colour: str) -> float:
    for line in passage_lines(text):
        style.write(figure, 0.3, y, drawable(line, _MONO), family=_MONO, size=8.7, color=colour)
        y -= 0.2
    return y
