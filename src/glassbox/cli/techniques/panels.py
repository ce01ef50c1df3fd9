"""A technique's view on a terminal: heat maps, token colourings, lines, bars and passages as text.

Colours differ in lightness, so that no colour vision is needed; where there are none, as in a pipe,
numbers and words remain. Knows nothing of techniques.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from glassbox.charts.panel_colours import decimals, fixed
from glassbox.charts.panels import (
    Bars,
    HeatMap,
    Lines,
    Panel,
    Passages,
    TokenColouring,
    shown,
    visible,
)
from glassbox.cli.terminal.console import Column, output, print_table

ABOVE: Final = ("", "#feedde", "#fdd0a2", "#fdae6b", "#fd8d3c", "#d94801", "#8c2d04")
"""Background from no colour to full. Source: ColorBrewer, Oranges."""

BELOW: Final = ("", "#eff3ff", "#c6dbef", "#9ecae1", "#6baed6", "#2171b5", "#084594")
"""Background below a middle. Source: ColorBrewer, Blues."""

DARK_FROM: Final = 5
"""Steps from here on carry white letters."""

MOST_ROWS: Final = 40
"""Rows of a table of lines."""

CELL: Final = 10
"""Most columns of a terminal that a heat map's cell takes."""

BAR: Final = 40
"""Columns of the longest bar."""

NARROWEST: Final = 20
"""Columns that are used even where a terminal has fewer."""


def print_view(title: str, panels: tuple[Panel, ...], note: str = "") -> None:
    """Print a view on standard output."""
    console = output()
    console.print(Text(title, style="bold"))
    for panel in panels:
        console.print()
        _DRAWINGS[type(panel)](panel)
    if note:
        console.print()
        console.print(Text(note, style="dim"))


def _heat_map(panel: object) -> None:
    assert isinstance(panel, HeatMap)
    console, (low, high) = output(), panel.scale
    rows = [visible(each) for each in panel.rows]
    columns = [shown(each) for each in panel.columns]
    cells = [
        [_cell_text(panel, row, column) for column in range(len(columns))]
        for row in range(len(rows))
    ]
    left = max(cell_len(each) for each in (*rows, panel.row_axis))
    widest = max(cell_len(each) for each in (*columns, *(cell for row in cells for cell in row)))
    width = min(max(widest, 3), CELL)
    n_across = max((max(console.width, NARROWEST) - left - 1) // (width + 1), 1)
    console.print(Text(f"{panel.title}, {low:.3g} to {high:.3g}"))
    for start in range(0, len(columns), n_across):
        across = range(start, min(start + n_across, len(columns)))
        if start:
            console.print()
        head = Text()
        head.append(set_cell_size(panel.row_axis, left), style="dim")
        for column in across:
            head.append(" " + _fitted(columns[column], width), style="dim")
        console.print(head, no_wrap=True, overflow="crop")
        for row, name in enumerate(rows):
            line = Text()
            line.append(set_cell_size(name, left), style="dim")
            for column in across:
                style = _style(float(panel.values[row, column]), low, high, panel.middle)
                line.append(" ")
                line.append(_fitted(cells[row][column], width), style=style)
            console.print(line, no_wrap=True, overflow="crop")


def _token_colouring(panel: object) -> None:
    assert isinstance(panel, TokenColouring)
    low, high = panel.scale
    text = Text()
    for token, value in zip(panel.tokens, panel.values, strict=True):
        text.append(visible(token), style=_style(float(value), low, high, None))
        if "\n" in token:
            text.append("\n")
    console = output()
    if not console.is_terminal:
        rows, digits = zip(panel.tokens, panel.values, strict=True), decimals(low, high)
        console.print(Text(panel.title))
        print_table(
            ["token", Column("value", "right")],
            [(shown(token), fixed(float(value), digits) or "–") for token, value in rows],
        )
        return
    console.print(Text(f"{panel.title}, {low:.3g} to {high:.3g}"))
    console.print(text, soft_wrap=True)


def _lines(panel: object) -> None:
    assert isinstance(panel, Lines)
    step = max(math.ceil(len(panel.x) / MOST_ROWS), 1)
    axis = "" if panel.title.startswith(panel.y_axis) else f" ({panel.y_axis})"
    rest = f", one row in {step}" if step > 1 else ""
    # Not as the table's own title, which would be broken at a narrow table's width.
    output().print(Text(f"{panel.title}{axis}{rest}"))
    print_table(
        [Column(panel.x_axis, "right"), *(Column(name, "right") for name in panel.series)],
        [
            (
                f"{panel.x[place]:g}",
                *(_in_series(float(each[place]), each) for each in panel.series.values()),
            )
            for place in range(0, len(panel.x), step)
        ],
    )


def _bars(panel: object) -> None:
    assert isinstance(panel, Bars)
    finite = np.abs(panel.values[np.isfinite(panel.values)])
    longest = float(finite.max()) if finite.size else 0.0
    rows = []
    for name, value in zip(panel.names, panel.values, strict=True):
        share = abs(value) / longest if longest and np.isfinite(value) else 0.0
        colour = ABOVE[5] if value >= 0 else BELOW[5]
        bar = Text("█" * round(BAR * share) or "▏", style=colour)
        rows.append((shown(name), _number(float(value)), bar))
    output().print(Text(panel.title))
    print_table(["", Column("value", "right"), ""], rows)


def _passages(panel: object) -> None:
    assert isinstance(panel, Passages)
    console = output()
    console.print(Text(panel.title))
    if panel.after:
        console.print(Text(_readable(panel.after), style="dim"), soft_wrap=True)
    for name, text in zip(panel.names, panel.texts, strict=True):
        console.print()
        console.print(Text(visible(name), style="dim"))
        console.print(Text(_readable(text)), soft_wrap=True)


_DRAWINGS: Final[dict[type, Callable[[object], None]]] = {
    HeatMap: _heat_map,
    TokenColouring: _token_colouring,
    Lines: _lines,
    Bars: _bars,
    Passages: _passages,
}


def _cell_text(panel: HeatMap, row: int, column: int) -> str:
    value = float(panel.values[row, column])
    if panel.texts is not None:
        return shown(panel.texts[row][column])
    return fixed(value, decimals(*panel.scale)) or "–"


def _in_series(value: float, series: np.ndarray) -> str:
    """Return a number with the decimals that its whole column needs."""
    sizes = np.abs(series[np.isfinite(series) & (series != 0)])
    least = float(sizes.min()) if sizes.size else 1.0
    if not math.isfinite(value) or least < 0.001 or sizes.max() >= 1000:
        return _number(value)
    return fixed(value, 2 if least >= 0.01 else 4)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.2f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.1e}"


def _fitted(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def _style(value: float, low: float, high: float, middle: float | None) -> str:
    if not math.isfinite(value):
        return "dim"
    colours, base = (ABOVE, low) if middle is None else (ABOVE, middle)
    reach = high - base
    if middle is not None and value < middle:
        colours, reach = BELOW, middle - low
    share = min(abs(value - base) / reach, 1.0) if reach > 0 else 0.0
    if value < base and middle is None:
        share = 0.0
    step = min(int(share * len(colours)), len(colours) - 1)
    if not step:
        return ""
    return f"{'white' if step >= DARK_FROM else 'black'} on {colours[step]}"


def _readable(text: str) -> str:
    """Return a text whose control characters show as pictures, its line ends excepted."""
    return "\n".join(_visible_lines(text))


def _visible_lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield visible(line)
