"""A view as one PNG: its panels under one another in the house's style. Computes nothing."""

import io
import textwrap
from collections.abc import Sequence
from typing import Final

import numpy as np

from glassbox.charts import panel_heat, panel_text, style
from glassbox.charts.panel_colours import BELOW, decimals, drawable, fixed
from glassbox.charts.panels import Bars, HeatMap, Lines, Panel, Passages, TokenColouring
from glassbox.charts.style import Figure

_NARROWEST: Final = 7.2
_GAP: Final = 0.28
_TALLEST_BARS: Final = 14.0
_MARKERS: Final = "os^Dvx"


def panels_png(title: str, panels: Sequence[Panel], note: str = "") -> bytes:
    """Return a picture of some panels; the same values give the same bytes.

    Raises:
        DependencyMissing: matplotlib is not installed.
    """
    with style.drawing():
        rows = _rows(panels)
        width = max([_NARROWEST, *(sum(map(_width, row)) for row in rows)])
        lines = textwrap.wrap(note, int(width * 14)) if note else []
        head = 0.78 + 0.2 * len(lines)
        height = head + sum(max(map(_height, row)) + _GAP for row in rows)
        # Line by line: the break between two of them is no letter that a font could lack.
        subtitle = "\n".join(map(drawable, lines))
        figure = style.sheet(width, height, drawable(title), subtitle)
        y = height - head
        for row in rows:
            x = 0.0
            for panel in row:
                _draw(figure, panel, x, y)
                x += _width(panel)
            y -= max(map(_height, row)) + _GAP
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=style.DOTS_PER_INCH,
                       metadata={"Software": None, "Title": title})  # fmt: skip
    return stream.getvalue()


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Return the panels in rows: heat maps that fit beside one another share one."""
    rows: list[list[Panel]] = []
    for panel in panels:
        last = rows[-1] if rows else []
        together = [*last, panel]
        if (
            last
            and all(isinstance(each, HeatMap) for each in together)
            and (sum(map(_width, together)) <= panel_heat.WIDEST)
        ):
            last.append(panel)
        else:
            rows.append([panel])
    return rows


def _width(panel: Panel) -> float:
    if isinstance(panel, HeatMap):
        return panel_heat.plan(panel).width
    if isinstance(panel, TokenColouring | Passages):
        return panel_text.WIDTH
    return _NARROWEST


def _height(panel: Panel) -> float:
    if isinstance(panel, HeatMap):
        return panel_heat.plan(panel).height(len(panel.rows))
    if isinstance(panel, TokenColouring):
        return panel_text.tokens_height(panel)
    if isinstance(panel, Passages):
        return panel_text.passages_height(panel)
    if isinstance(panel, Lines):
        return 3.5
    return 0.7 + _bar(panel) * len(panel.names)


def _bar(panel: Bars) -> float:
    return min(0.24, _TALLEST_BARS / len(panel.names))


def _draw(figure: Figure, panel: Panel, x: float, y: float) -> None:
    if isinstance(panel, HeatMap):
        panel_heat.draw(figure, panel, x, y)
    elif isinstance(panel, TokenColouring):
        panel_text.draw_tokens(figure, panel, y)
    elif isinstance(panel, Passages):
        panel_text.draw_passages(figure, panel, y)
    elif isinstance(panel, Lines):
        _lines(figure, panel, y)
    else:
        _bars(figure, panel, y)


def _lines(figure: Figure, panel: Lines, y: float) -> None:
    style.write(figure, 0.3, y - 0.02, drawable(panel.title), weight="bold", size=10.5)
    axes = style.place(figure, (0.95, y - 2.95, 4.6, 2.5))
    for place, (name, values) in enumerate(panel.series.items()):
        axes.plot(
            panel.x, values, color=style.stroke(style.ROLES[place]), linewidth=1.8,
            marker=_MARKERS[place], markersize=4.5, label=drawable(name),
        )  # fmt: skip
    axes.margins(y=0.1)
    if panel.bounds is not None:
        low, high = panel.bounds
        axes.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.set(xlabel=drawable(panel.x_axis), ylabel=drawable(panel.y_axis))
    if all(float(each).is_integer() for each in panel.x):
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(panel.series) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)


def _bars(figure: Figure, panel: Bars, y: float) -> None:
    style.write(figure, 0.3, y - 0.02, drawable(panel.title), weight="bold", size=10.5)
    names = [drawable(style.shorten_middle(each, 26)) for each in panel.names]
    left = 0.45 + 0.078 * max(map(len, names))
    height, n = _bar(panel), len(names)
    axes = style.place(figure, (left, y - 0.42 - height * n, _NARROWEST - left - 0.75, height * n))
    values = np.nan_to_num(panel.values)
    colours = [style.face("base") if each >= 0 else BELOW for each in values]
    edges = [style.darker(each) for each in colours]
    places = np.arange(n)
    axes.barh(places, values, height=0.72, color=colours, edgecolor=edges, linewidth=0.8)
    axes.axvline(0, color=style.RULE, linewidth=0.9)
    step = max(1, int(np.ceil(0.14 / height)))
    axes.set_yticks(list(places[::step]), names[::step], size=8.5)
    axes.set(ylim=(n - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0, labelcolor=style.INK)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.14)
    if step > 1:
        return
    reach = float(np.abs(values).max()) or 1.0
    digits = decimals(0.0, reach)
    for place, value in enumerate(panel.values):
        side = 1 if value >= 0 or value != value else -1
        axes.text(
            float(np.nan_to_num(value)) + side * 0.015 * reach, place,
            fixed(float(value), digits) or "–",
            va="center", ha="left" if side > 0 else "right", size=8, color=style.MUTED,
        )  # fmt: skip
