"""A view as HTML: one page, or a piece for a notebook; no scripts, nothing loaded from anywhere.

Colours are mixed with the paper's, so that the same numbers read on light and on dark. All text
that is not ours is escaped. Computes nothing.
"""

import html
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np

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

_LIGHT: Final = """--paper:#fbfbfa;--card:#fff;--ink:#1f2933;--muted:#52606d;--rule:#dde2e7;
--blue:#27588f;--orange:#a63603;--on-deep:#fff;--none:#eef1f4;
--l0:#27588f;--l1:#b0541d;--l2:#1d6b3a;--l3:#7b2d8b;--l4:#8a6d00;--l5:#52606d;"""
_DARK: Final = """--paper:#14181d;--card:#1b2127;--ink:#e6eaee;--muted:#a3afbb;--rule:#323b45;
--blue:#7db5f5;--orange:#ff9d5c;--on-deep:#10151a;--none:#262d35;
--l0:#92c6ff;--l1:#ffbd99;--l2:#97f0aa;--l3:#dcb3ff;--l4:#f0d97a;--l5:#a3afbb;"""

_DEEP: Final = 58
"""Share of colour (percent) from which letters on it change to the other ink."""


@cache
def _look() -> str:
    """Return the style sheet: light, and dark where a reader's system or notebook is dark."""
    sheet = Path(__file__).with_name("panel_page.css").read_text(encoding="utf-8")
    sheet = "".join(sheet.splitlines()[1:])
    return sheet.replace("LIGHT", _LIGHT).replace("DARK", _DARK).replace("\n", "")


def panels_page(title: str, panels: Sequence[Panel], note: str = "") -> str:
    """Return a whole page with some panels."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>html{{background:#fbfbfa}}"
        "@media screen and (prefers-color-scheme:dark){html{background:#14181d}}"
        "body{margin:0 auto;padding:1.5rem;max-width:100rem}</style></head>\n<body>"
        f"{panels_fragment(title, panels, note)}</body></html>\n"
    )


def panels_fragment(title: str, panels: Sequence[Panel], note: str = "") -> str:
    """Return some panels as a piece of HTML that carries its own style."""
    parts = [f"<style>{_look()}</style><h2>{html.escape(title)}</h2>"]
    if note:
        parts.append(f"<p>{html.escape(note)}</p>")
    for is_heat, some in groupby(panels, key=lambda each: isinstance(each, HeatMap)):
        sections = [
            f"<section><h3>{html.escape(each.title)}</h3>{_panel(each)}</section>" for each in some
        ]
        # Heat maps stand beside one another where there is room.
        parts += [f"<div class=row>{''.join(sections)}</div>"] if is_heat else sections
    return f'<div class="gb-view">{"".join(parts)}</div>'


def _panel(panel: Panel) -> str:
    if isinstance(panel, HeatMap):
        return _heat(panel)
    if isinstance(panel, TokenColouring):
        return _tokens(panel)
    if isinstance(panel, Passages):
        return _passages(panel)
    return _lines(panel) if isinstance(panel, Lines) else _bars(panel)


def _share(value: float, panel: HeatMap | TokenColouring, middle: float | None) -> float:
    """Return how much colour a value has, from -100 to 100."""
    low, high = panel.scale
    if middle is not None:
        reach = high - middle if value >= middle else middle - low
        return float(np.clip((value - middle) / (reach or 1.0), -1, 1)) * 100
    return float(np.clip((value - low) / (high - low), 0, 1)) * 100


def _cell(value: float, panel: HeatMap, text: str) -> str:
    tip = f' title="{html.escape(f"{value:.4g}")}"'
    if not np.isfinite(value):
        return f"<td class=n>{html.escape(text)}</td>"
    share = _share(value, panel, panel.middle)
    hue, deep = ("b" if share >= 0 else "o"), (" d" if abs(share) >= _DEEP else "")
    return f'<td class="v {hue}{deep}" style="--s:{abs(share):.0f}"{tip}>{html.escape(text)}</td>'


def _heat(panel: HeatMap) -> str:
    upright = max(len(shown(each)) for each in panel.columns) > (3 if panel.texts is None else 12)
    names = "".join(
        f"<th{' class=up' if upright else ''}><span>{html.escape(shown(each))}</span></th>"
        for each in panel.columns
    )
    rows, digits = [], decimals(*panel.scale)
    for row, name in enumerate(panel.rows):
        cells = []
        for column in range(len(panel.columns)):
            value = float(panel.values[row, column])
            text = fixed(value, digits) if len(panel.columns) <= 40 else ""
            if panel.texts is not None:
                text = shown(panel.texts[row][column])
            cells.append(_cell(value, panel, text))
        rows.append(f"<tr><th class=row>{html.escape(shown(name))}</th>{''.join(cells)}</tr>")
    axes = f"Rows: {html.escape(panel.row_axis)} · columns: {html.escape(panel.column_axis)}"
    low, high = panel.scale
    ends = ("var(--card)", "var(--blue)")
    if panel.middle is not None:
        ends = ("var(--orange),var(--card)", "var(--blue)")
    return (
        f"<div class=key><span>{axes}</span>{_key(low, high, ends)}</div>"
        # A wide table scrolls by itself, which has to work without a pointer, too.
        f'<div class=scroll tabindex=0 role=region aria-label="{html.escape(panel.title)}">'
        f"<table><tbody>{''.join(rows)}</tbody>"
        f"<tfoot><tr><th class=row></th>{names}</tr></tfoot></table></div>"
    )


def _key(low: float, high: float, ends: tuple[str, str], more: str = "") -> str:
    return (
        f'<span>{low:.3g}</span><i style="background:linear-gradient(90deg,{ends[0]},{ends[1]})">'
        f"</i><span>{high:.3g}{more}</span>"
    )


def _tokens(panel: TokenColouring) -> str:
    spans = []
    for place, token in enumerate(panel.tokens):
        value = float(panel.values[place])
        share = _share(value, panel, None) if np.isfinite(value) else 0.0
        tip = panel.notes[place] if panel.notes else f"{value:.4g}"
        # A line end is shown, and then does what it does.
        text = html.escape("\n".join(visible(each) + "↵" for each in token.split("\n"))[:-1])
        deep = " d" if share >= _DEEP else ""
        spans.append(
            f'<span class="tok{deep}" style="--s:{share:.0f}" title="{html.escape(visible(tip))}">'
            f"{text or '∅'}</span>"
        )
    low, high = panel.scale
    key = _key(low, high, ("var(--card)", "var(--orange)"), " or more")
    return f'<div class=key>{key}</div><div class="text">{"".join(spans)}</div>'


def _passages(panel: Passages) -> str:
    parts = [f'<div class="text muted">{_kept(panel.after)}</div>'] if panel.after else []
    for name, text in zip(panel.names, panel.texts, strict=True):
        body = _kept(text) if text else '<span class="muted">(nothing)</span>'
        parts.append(
            f'<div class=passage><b>{html.escape(name)}</b><div class="text">{body}</div></div>'
        )
    return "".join(parts)


def _kept(text: str) -> str:
    return "\n".join(html.escape(visible(line)) for line in text.split("\n"))


def _bars(panel: Bars) -> str:
    values = np.nan_to_num(panel.values)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    span = (high - low) or 1.0
    zero = -low / span * 100
    rows, digits = [], decimals(low, high)
    for name, value in zip(panel.names, panel.values, strict=True):
        size = abs(float(np.nan_to_num(value))) / span * 100
        start = zero if value >= 0 else zero - size
        rows.append(
            f"<span>{html.escape(shown(name))}</span>"
            f'<span class="bar {"b" if value >= 0 else "o"}" style="--zero:{zero:.2f}%">'
            f'<i style="left:{start:.2f}%;width:{size:.2f}%"></i></span>'
            f"<span>{fixed(float(value), digits) or '–'}</span>"
        )
    return f"<div class=bars>{''.join(rows)}</div>"


def _lines(panel: Lines) -> str:
    """Return a line chart as inline SVG: 620 by 260, plot area from (60, 10) to (460, 215)."""
    every = np.concatenate([np.asarray(each, dtype=float) for each in panel.series.values()])
    known = every[np.isfinite(every)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low, high = panel.bounds or (low, high if high > low else low + 1.0)
    first, last = float(panel.x[0]), float(panel.x[-1])
    span = (last - first) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        return 60 + 400 * (x - first) / span, 215 - 205 * (y - low) / (high - low)

    parts = []
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        y = at(first, value)[1]
        parts.append(f'<line class=grid x1="60" x2="460" y1="{y:.1f}" y2="{y:.1f}"/>')
        name = fixed(value, decimals(low, high))
        parts.append(f'<text x="54" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    step = max(1, len(panel.x) // 8)
    for x in panel.x[::step]:
        parts.append(
            f'<text x="{at(float(x), low)[0]:.1f}" y="232" text-anchor="middle">{x:g}</text>'
        )
    for place, (name, values) in enumerate(panel.series.items()):
        dots = [at(float(x), float(y)) for x, y in zip(panel.x, values, strict=True) if y == y]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        colour, dash = f"var(--l{place})", ("", "6 3", "2 3", "8 3 2 3", "1 2", "10 4")[place]
        parts.append(
            f'<polyline points="{line}" fill="none" style="stroke:{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
        )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" style="fill:{colour}"/>' for x, y in dots
        ]
        if len(panel.series) > 1:
            y = 20 + 18 * place
            parts.append(f'<line x1="478" x2="502" y1="{y}" y2="{y}" style="stroke:{colour}" '
                         f'stroke-width="2" stroke-dasharray="{dash}"/>')  # fmt: skip
            parts.append(f'<text x="508" y="{y + 4}">{html.escape(name)}</text>')
    parts.append(f'<text x="260" y="252" text-anchor="middle">{html.escape(panel.x_axis)}</text>')
    label = html.escape(panel.y_axis)
    parts.append(
        f'<text transform="translate(12 112) rotate(-90)" text-anchor="middle">{label}</text>'
    )
    words = html.escape(f"{panel.title}: {panel.y_axis} over {panel.x_axis}")
    size = 'viewBox="0 0 660 260" width="660"'
    return f'<svg {size} role="img" aria-label="{words}">{"".join(parts)}</svg>'
