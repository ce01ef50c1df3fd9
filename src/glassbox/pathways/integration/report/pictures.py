"""Small pictures of a study as SVG text whose colours come from the page's style sheet.

They are part of the page, not images, so that light and dark need one picture. Every one says in
words what it shows. Numbers come in; nothing is computed but coordinates.
"""

import html
import math
from collections.abc import Sequence
from typing import Final

from glassbox.pathways.integration.summary import SubgraphTest
from glassbox.pathways.integration.values import ConditionRate, Histogram, LatentRow, PathwayRow
from glassbox.wording import counted

_MOST_POINTS: Final = 1500
"""Points of a scatter; more of them are one blot and a big file."""


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure as it is to be read; a dash where there is none."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")
    return f"{value:.{digits}g}".replace("-", "−")


def share(value: float | None) -> str:
    """Return a fraction in percent."""
    return "–" if value is None else f"{100 * value:.1f}\u00a0%".replace("-", "−")


def histogram_picture(histogram: Histogram) -> str:
    """Return how often which activation occurs."""
    width, height, base = 300, 110, 88
    counts = histogram.counts
    largest = max(counts, default=0) or 1
    step = width / max(1, len(counts))
    # Activations fall off fast: the root keeps the rare strong ones in sight.
    bars = "".join(
        f'<rect class="bar" x="{place * step + 0.5:.1f}" width="{max(0.5, step - 1):.1f}" '
        f'y="{base - 68 * math.sqrt(count / largest):.1f}" '
        f'height="{68 * math.sqrt(count / largest):.1f}"><title>'
        f"{number(histogram.edges[place])} to {number(histogram.edges[place + 1])}: "
        f"{count}</title></rect>"
        for place, count in enumerate(counts)
        if count
    )
    words = (
        f"Histogram of {counted(sum(counts), 'activation')} from {number(histogram.edges[0])} to "
        f"{number(histogram.edges[-1])}; heights are square roots of counts."
    )
    return _svg(
        width,
        height,
        words,
        f'{bars}<line class="axis" x1="0" x2="{width}" y1="{base}" y2="{base}"/>'
        f'<text x="0" y="{base + 16}">{number(histogram.edges[0])}</text>'
        f'<text x="{width}" y="{base + 16}" text-anchor="end">{number(histogram.edges[-1])}</text>'
        f'<text x="{width}" y="12" text-anchor="end">highest bar: '
        f"{counted(largest, 'position')}</text>",
    )


def rates_picture(rates: Sequence[ConditionRate]) -> str:
    """Return the share of decisions to stop under every condition, with intervals."""
    row, left, right, width = 22, 150, 360, 420
    parts = []
    for mark in (0.0, 0.5, 1.0):
        x = left + (right - left) * mark
        parts.append(
            f'<line class="grid" x1="{x:.0f}" x2="{x:.0f}" y1="2" y2="{row * len(rates) + 2}"/>'
            f'<text x="{x:.0f}" y="{row * len(rates) + 16}" text-anchor="middle">'
            f"{100 * mark:.0f}\u00a0%</text>"
        )
    for place, rate in enumerate(rates):
        y = row * place + 13
        name = html.escape(rate.condition.replace("_", " "))
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{name}</text>')
        if rate.stop_share is None:
            parts.append(f'<text x="{left + 6}" y="{y + 4}">no decision read</text>')
            continue
        x = left + (right - left) * rate.stop_share
        low = left + (right - left) * (rate.low or 0.0)
        high = left + (right - left) * (1.0 if rate.high is None else rate.high)
        parts.append(
            f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="dot" cx="{x:.1f}" cy="{y}" r="4"/>'
            f'<text x="{right + 14}" y="{y + 4}">{rate.n_stop}/{rate.n_trials}</text>'
        )
    words = "Share of decisions to stop: " + "; ".join(
        f"{rate.condition.replace('_', ' ')} {share(rate.stop_share)}" for rate in rates
    )
    return _svg(width, row * len(rates) + 20, words, "".join(parts))


def effect_picture(row: LatentRow) -> str:
    """Return the latent's effect size with its interval, on a line around 0."""
    width, y = 300, 20
    if row.cohen_d is None:
        return ""
    ends = [
        abs(each) for each in (row.cohen_d, row.effect_low, row.effect_high) if each is not None
    ]
    reach = max(1.0, 1.1 * max(ends))

    def at(value: float) -> float:
        return width / 2 + value / reach * (width / 2 - 8)

    parts = [
        f'<line class="grid" x1="8" x2="{width - 8}" y1="{y}" y2="{y}"/>',
        f'<line class="axis" x1="{width / 2}" x2="{width / 2}" y1="6" y2="34"/>',
        f'<text x="{width / 2}" y="48" text-anchor="middle">0</text>',
        f'<text x="8" y="48">−{reach:.1f}</text>',
        f'<text x="{width - 8}" y="48" text-anchor="end">{reach:.1f}</text>',
    ]
    words = f"Effect size {number(row.cohen_d)}"
    if row.effect_low is not None and row.effect_high is not None:
        parts.append(
            f'<line class="whisker" x1="{at(row.effect_low):.1f}" x2="{at(row.effect_high):.1f}" '
            f'y1="{y}" y2="{y}"/>'
        )
        words += f", interval {number(row.effect_low)} to {number(row.effect_high)}"
    parts.append(f'<circle class="dot" cx="{at(row.cohen_d):.1f}" cy="{y}" r="5"/>')
    return _svg(width, 52, words, "".join(parts))


def prediction_picture(pathways: Sequence[PathwayRow]) -> str:
    """Return measured against predicted effects of ablations; empty where none was measured."""
    points = [
        (dose.predicted_pre, dose.measured_pre, row)
        for row in pathways
        for dose in row.doses
        if dose.dose == "ablate"
        and dose.predicted_pre is not None
        and dose.measured_pre is not None
    ]
    if not points:
        return ""
    reach = max(max(abs(x), abs(y)) for x, y, _ in points) or 1.0
    # Points of a long tail would leave all others in one blot: the root spreads them.
    size, middle = 380, 190

    def at(value: float) -> float:
        return math.copysign(math.sqrt(abs(value) / reach), value) * 160

    step = max(1, -(-len(points) // _MOST_POINTS))
    dots = "".join(
        f'<circle class="point{"" if row.verified else " faint"}" cx="{middle + at(x):.1f}" '
        f'cy="{middle - at(y):.1f}" r="3"><title>{row.source} → {row.target}: predicted '
        f"{number(x)}, measured {number(y)}</title></circle>"
        for x, y, row in points[::step]
    )
    marks = "".join(
        f'<text x="{middle + at(v):.1f}" y="366" text-anchor="middle">{number(v, 2)}</text>'
        f'<text x="24" y="{middle - at(v) + 4:.1f}" text-anchor="end">{number(v, 2)}</text>'
        for v in (-reach, -reach / 4, 0.0, reach / 4, reach)
    )
    words = (
        "Measured against predicted change of the target's pre-activation for "
        f"{counted(len(points), 'ablation')}; both axes are signed square roots; the line is "
        "measured = predicted."
    )
    return _svg(
        size + 60,
        size + 10,
        words,
        '<g transform="translate(40 0)">'
        f'<line class="grid" x1="30" x2="350" y1="{middle}" y2="{middle}"/>'
        f'<line class="grid" x1="{middle}" x2="{middle}" y1="30" y2="350"/>'
        '<line class="axis" x1="30" x2="350" y1="350" y2="30"/>'
        f'{dots}{marks}<text x="{middle}" y="386" text-anchor="middle">predicted</text>'
        f'<text transform="translate(-24 {middle}) rotate(-90)" text-anchor="middle">measured'
        "</text></g>",
    )


def faithfulness_picture(test: SubgraphTest) -> str:
    """Return faithfulness over the number of latents kept, with the sub-graph and random ones."""
    width, height, left, base, top = 560, 260, 46, 214, 14
    known = [point.faithfulness for point in test.curve] + [*test.random_faithfulness, 1.0, 0.0]
    if test.faithfulness is not None:
        known.append(test.faithfulness)
    high, low = max(known) + 0.05, min(known) - 0.02
    right = width - 20

    def x_of(n_kept: int) -> float:
        return left + (right - left) * n_kept / max(1, test.n_latents)

    def y_of(value: float) -> float:
        return base - (base - top) * (value - low) / (high - low)

    parts = [
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y_of(v):.1f}" y2="{y_of(v):.1f}"/>'
        f'<text x="{left - 8}" y="{y_of(v) + 4:.1f}" text-anchor="end">{100 * v:.0f}\u00a0%</text>'
        for v in (0.0, 0.5, 1.0)
    ]
    line = " ".join(f"{x_of(p.n_kept):.1f},{y_of(p.faithfulness):.1f}" for p in test.curve)
    parts.append(f'<polyline class="line" points="{line}"/>')
    parts += [
        f'<circle class="faint point" cx="{x_of(test.n_kept):.1f}" cy="{y_of(v):.1f}" r="3"/>'
        for v in test.random_faithfulness
    ]
    if test.faithfulness is not None:
        x, y = x_of(test.n_kept), y_of(test.faithfulness)
        if test.faithfulness_low is not None and test.faithfulness_high is not None:
            parts.append(
                f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" '
                f'y1="{y_of(test.faithfulness_low):.1f}" y2="{y_of(test.faithfulness_high):.1f}"/>'
            )
        # Away from the curve, which rises from left to right.
        side, shift, drop = ("end", -10, -8) if x > width * 0.6 else ("start", 10, 18)
        parts.append(
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
            f'<text class="strong" x="{x + shift:.1f}" y="{y + drop:.1f}" text-anchor="{side}">'
            f"found sub-graph {share(test.faithfulness)}</text>"
        )
    parts.append(
        f'<text x="{(left + right) / 2:.0f}" y="{height - 8}" text-anchor="middle">latents left '
        "alone, strongest effect on the decision first (all others at their means)</text>"
        + "".join(
            f'<text x="{x_of(n):.1f}" y="{base + 18}" text-anchor="middle">{n}</text>'
            for n in sorted({0, test.n_latents // 2, test.n_latents})
        )
    )
    words = (
        f"Faithfulness of the found sub-graph of {counted(test.n_kept, 'latent')}: "
        f"{share(test.faithfulness)}"
    )
    return _svg(width, height, words, "".join(parts))


def _svg(width: int, height: int, words: str, inside: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{html.escape(words)}">{inside}</svg>'
    )
