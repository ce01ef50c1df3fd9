"""The shell of the HTML report: a value with texts, tables and charts in, one file of HTML out.

The file is complete in itself: styles are inline, charts are vector images inside the text, and
nothing is fetched or run when it is opened. Every text is escaped. Knows nothing of what the
sections say; the room that has results writes them.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from glassbox.charts.chart import Chart, picture
from glassbox.charts.registry import ChartInfo
from glassbox.errors import DependencyMissing, InvalidValue
from glassbox.wording import units_bound

if TYPE_CHECKING:
    from jinja2 import Environment, Template
else:
    Environment = Template = Any

_TEMPLATE = "report.html.j2"
"""The template's file name beside this module."""

_NUMBER = re.compile(
    r"^[<≤≥>~≈±+\-−]?\s*\$?\d[\d,.]*(e[+\-−]?\d+)?\s*(%|m?s)?"
    r"(\s*(to|–|\.\.|±)\s*[+\-−]?\d[\d,.]*\s*%?)?"
    r"(\s*[\[(][^\])]*\d[^\])]*[\])])?$"
)
"""What a cell looks like that is set to the right: a number, sum or time, with its interval."""

Tone = Literal["good", "caution", "plain"]
"""How the verdict is coloured; its words must say the same."""


@dataclass(frozen=True)
class Table:
    """A table with a caption."""

    caption: str
    """What the table holds, and on which part of the data it was measured."""
    header: tuple[str, ...]
    """Column names."""
    rows: tuple[tuple[str, ...], ...]
    """Cells as they are to be read; the first one of each row names it."""
    notes: tuple[str, ...] = ()
    """Sentences under the table."""
    highlighted: frozenset[int] = frozenset()
    """Rows (from 0) to set apart, as the chosen calibrator."""


@dataclass(frozen=True)
class ChartImage:
    """A chart as the report shows it."""

    info: ChartInfo
    """Name, title and reading help."""
    svg: bytes
    """The vector picture."""
    summary: str
    """The picture in words: its alternative text."""
    caption: str = ""
    """What to see in it; the reading help where empty."""

    @property
    def source(self) -> str:
        """The picture as a ``data:`` address."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


@dataclass(frozen=True)
class Section:
    """A heading with what belongs under it: paragraphs, then tables, then charts."""

    title: str
    """The heading."""
    paragraphs: tuple[str, ...] = ()
    """Plain text, escaped."""
    tables: tuple[Table, ...] = ()
    """Tables, in order."""
    charts: tuple[ChartImage, ...] = ()
    """Charts, in order."""

    @property
    def anchor(self) -> str:
        """The heading as the target of a link."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"


@dataclass(frozen=True)
class Report:
    """All that stands in a report."""

    title: str
    """The heading of the page."""
    verdict: str
    """The answer in one sentence."""
    summary: tuple[str, ...] = ()
    """Sentences under the verdict."""
    figures: tuple[tuple[str, str], ...] = ()
    """At most a handful of (name, value) pairs shown large."""
    sections: tuple[Section, ...] = ()
    """The body."""
    provenance: tuple[tuple[str, str], ...] = ()
    """What it was made from: model, data, versions, digests, command."""
    tone: Tone = "plain"
    """Colour of the verdict."""


def chart_image(chart: Chart, caption: str = "") -> ChartImage:
    """Return a chart ready for the report."""
    return ChartImage(chart.info, picture(chart, "svg"), chart.summary, caption)


def render_report(report: Report) -> str:
    """Return the report as one self-contained HTML page.

    Raises:
        InvalidValue: A table row with more or fewer cells than its header.
        DependencyMissing: jinja2 is not installed.
    """
    return render_with(_template(), report)


def render_with(template: Template, report: Report, **more: object) -> str:
    """Return a page whose template is the report's own or extends it.

    Args:
        template: From ``report_environment``.
        report: All that the shell shows.
        more: What the extending template needs besides.

    Raises:
        InvalidValue: A table row with more or fewer cells than its header.
    """
    for section in report.sections:
        for table in section.tables:
            _check(table)
    return template.render(report=report, anchors=_anchors(report.sections), **more)


def _check(table: Table) -> None:
    for row in table.rows:
        if len(row) != len(table.header):
            raise InvalidValue(
                f"cells in a row of the table {table.caption!r}", len(row), f"{len(table.header)}"
            )


def _anchors(sections: Sequence[Section]) -> list[str]:
    """Return one link target per section; headings that repeat are numbered."""
    taken: dict[str, int] = {}
    anchors = []
    for section in sections:
        taken[section.anchor] = taken.get(section.anchor, 0) + 1
        number = taken[section.anchor]
        anchors.append(section.anchor if number == 1 else f"{section.anchor}-{number}")
    return anchors


def _is_number(cell: str) -> bool:
    """Whether a cell is set to the right."""
    return cell in ("", "–", "-", "—", "none") or _NUMBER.match(cell) is not None


@cache
def _template() -> Template:
    return report_environment().get_template(_TEMPLATE)


def report_environment(package: str = "glassbox.charts") -> Environment:
    """Return the templates of a package, which may extend the report's shell.

    The shell leaves room for its pieces: ``style``, ``piece`` (in each section, under its
    paragraphs) and ``script``.

    Raises:
        DependencyMissing: jinja2 is not installed.
    """
    try:
        from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise DependencyMissing("jinja2", "charts") from error
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("glassbox.charts", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["number"] = _is_number
    environment.filters["together"] = units_bound
    return environment
