"""One look for every chart: colours from the style sheet, sizes in inches, texts and axes.

The seaborn pastel sheet gives the faces; edges are 30 % darker than their face, and texts are dark
on light. Pictures are laid out in inches from the edges, so nothing moves with the length of a
label and no layout solver runs. Knows nothing of what is drawn.
"""

import colorsys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from glassbox import wording
from glassbox.errors import DependencyMissing

if TYPE_CHECKING:
    from matplotlib.artist import Artist as Artist
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis as Axis
    from matplotlib.figure import Figure as Figure
else:  # the library is optional and slow to import, and annotations are evaluated in tests
    Artist = Axes = Axis = Figure = Any

STYLE_SHEET: Final = "seaborn-v0_8-pastel"
"""The style sheet whose colour cycle every chart uses."""

INK: Final = "#1f2933"
"""Titles, labels and numbers."""
MUTED: Final = "#52606d"
"""Secondary text; contrast 6.4 to 1 on white."""
RULE: Final = "#8a96a3"
"""Axis lines and reference lines."""
GRID: Final = "#e4e8ec"
"""Grid lines and separators."""
BAND: Final = "#d9dee4"
"""Bands of what chance alone would do."""

EDGE_DARKENING: Final = 0.30
"""How much darker an edge is than its face."""
LINE_DARKENING: Final = 0.42
"""How much darker a curve is than the colour it stands for: pastel lines are too pale on white."""

LEAST_CONTRAST: Final = 4.5
"""Contrast of a curve with white paper, to 1; names of curves are written in its colour.
Source: WCAG 2.1, success criterion 1.4.3 (text); 1.4.11 asks 3 of lines."""

PERCENT: Final = "\u00a0%"
"""What stands after a percentage, as in the report's tables; the space never breaks a line."""

DOTS_PER_INCH: Final = 150
"""Resolution of the PNG files."""

Role = Literal["base", "tuned", "wrong", "other", "highlight", "baseline"]
"""What a colour stands for, in the order of the style sheet's cycle."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

_FONT: Final = "DejaVu Sans"
"""Comes with matplotlib, so that pictures are the same everywhere."""

_OTHER_FONTS: Final = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Hiragino Sans",
    "Hiragino Sans GB", "Apple SD Gothic Neo", "Arial Unicode MS", "Microsoft YaHei", "Yu Gothic",
    "Malgun Gothic", "Nirmala UI", "Noto Sans", "Noto Sans Devanagari", "Noto Sans Bengali",
    "Noto Sans Tamil", "Noto Sans Thai", "Noto Emoji",
)  # fmt: skip
"""Fonts of systems for what that one cannot write, such as Chinese; those that are installed."""

_SETTINGS: Final[dict[str, Any]] = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.solid_capstyle": "butt",
    "hatch.linewidth": 0.7,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": DOTS_PER_INCH,
    "svg.fonttype": "path",
    "svg.hashsalt": "glassbox",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Set the one style inside the block, whatever the user's own matplotlib settings are.

    Raises:
        DependencyMissing: matplotlib is not installed.
    """
    try:
        import matplotlib.style as styles
    except ImportError as error:
        raise DependencyMissing("matplotlib", "charts") from error
    look = _SETTINGS | {"font.family": _fonts()}
    with styles.context(["default", STYLE_SHEET, look]), warnings.catch_warnings():
        # Said once and in plain words by whoever asks ``without_font``.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        yield


def _fonts() -> list[str]:
    """Return the fonts that are installed, first choice first."""
    from matplotlib.font_manager import fontManager

    names = fontManager.get_font_names()
    return [_FONT, *(each for each in _OTHER_FONTS if each in names)]


def without_font(texts: Iterable[str]) -> str:
    """Return the characters of some texts that no font here can write, each once, in order."""
    from matplotlib.font_manager import findfont, get_font

    known: set[int] = set().union(*(get_font(findfont(each)).get_charmap() for each in _fonts()))
    signs = dict.fromkeys("".join(texts))
    return "".join(each for each in signs if each.isprintable() and ord(each) not in known)


def face(role: Role) -> str:
    """Return the style sheet's colour (hex) for what is drawn: base first, tuned second."""
    import matplotlib.style as styles

    cycle = styles.library[STYLE_SHEET]["axes.prop_cycle"].by_key()["color"]
    return str(cycle[ROLES.index(role)])


def darker(colour: str, amount: float = EDGE_DARKENING) -> str:
    """Return a colour (hex) whose red, green and blue are ``amount`` (fraction) lower."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (channel * (1 - amount) for channel in to_rgb(colour))
    return str(to_hex((red, green, blue)))


def edge(role: Role) -> str:
    """Return the colour of the edges around a face."""
    return darker(face(role))


def stroke(role: Role) -> str:
    """Return the colour of a curve that has no face; more saturated than an edge, to stay legible.

    Darkening a pastel alone turns it grey, so the saturation is raised with it. Hues that are
    still too pale then, as green and yellow are, get darker until they can be read.
    """
    from matplotlib.colors import to_hex, to_rgb

    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(face(role)))
    lightness *= 1 - LINE_DARKENING
    rgb = colorsys.hls_to_rgb(hue, lightness, min(saturation, 0.55))
    while contrast(str(to_hex(rgb))) < LEAST_CONTRAST:
        lightness *= 0.98
        rgb = colorsys.hls_to_rgb(hue, lightness, min(saturation, 0.55))
    return str(to_hex(rgb))


def contrast(colour: str, paper: str = "#ffffff") -> float:
    """Return the contrast ratio of two colours (hex), from 1 to 21.

    Source: WCAG 2.1, definitions of contrast ratio and relative luminance.
    """
    from matplotlib.colors import to_rgb

    lights = []
    for each in (colour, paper):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(each)]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def sheet(width: float, height: float, title: str, subtitle: str = "") -> Figure:
    """Return an empty figure (inches) with its heading; call inside ``drawing()``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width, height))
    FigureCanvasAgg(figure)
    left = 0.30 / width
    figure.text(left, 1 - 0.40 / height, title, size=14.5, weight="bold", color=INK)
    if subtitle:
        text = subtitle[:1].upper() + subtitle[1:]
        figure.text(left, 1 - 0.54 / height, text, size=9.5, color=MUTED, va="top")
    return figure


def place(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Add axes at (left, bottom, width, height), all in inches from the lower left corner."""
    across, up = figure.get_size_inches()
    left, bottom, width, height = box
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def write(figure: Figure, x: float, y: float, text: str, **look: Any) -> None:
    """Write text at a place given in inches from the lower left corner; ``y`` is its top."""
    across, up = figure.get_size_inches()
    options: dict[str, Any] = {"va": "top", "color": INK, "size": 9.5, **look}
    figure.text(x / across, y / up, text, **options)


def percent_axis(axis: Axis) -> None:
    """Label an axis of fractions in percent, with as many decimals as the ticks need."""
    axis.set_major_formatter(lambda fraction, _: f"{round(100 * fraction, 6):g}{PERCENT}")


def unit_square(axes: Axes) -> None:
    """Give both axes the whole range from 0 to 100 % at the same scale."""
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks, yticks=ticks)
    axes.set_aspect("equal", adjustable="box")
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)


def percent(fraction: float, decimals: int = 1) -> str:
    """Return a fraction as a reader's percentage, ``0.9109`` as ``91.1 %``."""
    return wording.units_bound(wording.percent(fraction, decimals))


def exact_percent(fraction: float) -> str:
    """Return what somebody asked for as a percentage not rounded, ``0.0125`` as ``1.25 %``."""
    return wording.units_bound(wording.exact_percent(fraction))


def count(number: int) -> str:
    """Return a whole number with thousands set apart, ``1234`` as ``1,234``."""
    return f"{number:,}"


def shorten(text: str, width: int) -> str:
    """Return a label of at most ``width`` characters, the cut marked by an ellipsis."""
    clean = " ".join(text.split())
    return clean if len(clean) <= width else clean[: width - 1].rstrip() + "…"


def shorten_middle(text: str, width: int) -> str:
    """Return a label of at most ``width`` characters that keeps its beginning and its end.

    Label names often share a beginning, and the end tells them apart.
    """
    clean = " ".join(text.split())
    if len(clean) <= width:
        return clean
    tail = (width - 1) // 2
    return f"{clean[: width - 1 - tail].rstrip()}…{clean[-tail:].lstrip()}"


def shorten_apart(texts: Sequence[str], width: int) -> list[str]:
    """Return labels of at most ``width`` characters that stay apart where they have to be cut.

    Those that would read alike show the place where they differ and not their ends.
    """
    short = [shorten_middle(each, width) for each in texts]
    for double in {each for each in short if short.count(each) > 1}:
        places = [place for place, each in enumerate(short) if each == double]
        clean = [" ".join(texts[place].split()) for place in places]
        # How many first letters they share: the columns of letters that are all alike.
        same = len(list(takewhile(lambda column: len(set(column)) == 1, zip(*clean, strict=False))))
        for place, text in zip(places, clean, strict=True):
            start = max(0, min(same - width // 3, len(text) - width + 1))
            cut = text[start : start + width - 2]
            short[place] = f"…{cut}…" if start + len(cut) < len(text) else f"…{text[start:]}"
    return short


def source(title: str, part: str, n_rows: int) -> str:
    """Return whose figures they are and where from, as in "Base model · test part, n = 800"."""
    return f"{literal(shorten(title, 46))} · {origin((part, n_rows))}"


def origin(*sources: tuple[str, int]) -> str:
    """Return where figures come from, as in "test part, n = 800", from (part, rows) pairs."""
    texts = dict.fromkeys(f"{part}, n = {count(rows)}" for part, rows in sources)
    return literal(" and ".join(texts))


def literal(text: str) -> str:
    """Return user text so that matplotlib shows it as it is: ``$`` would start a formula."""
    return text.replace("$", r"\$")
