"""Panels of a Grafana dashboard, alike and each in its place. Knows no metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""Where panels ask; a variable, so that the file fits every Grafana."""

Query = tuple[str, str]
"""PromQL, and what the line is called."""


@dataclass(frozen=True)
class Look:
    """What a kind of panel looks like."""

    type: str
    """Grafana's name for it."""
    height: int
    """In Grafana's rows."""
    format: str = "time_series"
    """What Prometheus's answer is turned into."""
    latest: bool = False
    """Whether only the latest values are asked for."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of its fields."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the panel."""
    transformations: tuple[Mapping[str, Any], ...] = ()
    """Of the answers."""


LINES = Look(
    "timeseries",
    8,
    defaults={"custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}},
    options={
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
)
"""Lines over time."""

NUMBER = Look(
    "stat",
    4,
    latest=True,
    options={
        "colorMode": "none",
        "graphMode": "none",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
)
"""One number, or one for each of several."""

WORDS = replace(NUMBER, options={**NUMBER.options, "textMode": "name"})
"""What something is called; its value says nothing."""

HEAT = Look(
    "heatmap",
    8,
    "heatmap",
    options={
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 32},
        "yAxis": {"axisPlacement": "left"},
    },
)
"""A histogram over time."""

TABLE = Look(
    "table",
    8,
    "table",
    latest=True,
    options={"showHeader": True},
    transformations=(
        {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}},
    ),
)
"""The latest values, one a line."""


class Board:
    """Panels in rows of twenty-four columns."""

    def __init__(self) -> None:
        self.panels: list[dict[str, Any]] = []
        self._x = self._y = self._height = 0

    def row(self, title: str) -> None:
        """Begin a row with a title."""
        self._next_line()
        self._put({"type": "row", "title": title, "collapsed": False, "panels": []}, 24, 1)
        self._next_line()

    def lines(
        self, title: str, about: str, *queries: Query, unit: str = "short", width: int = 8
    ) -> None:
        """Add lines over time."""
        self._add(LINES, title, about, queries, unit, width)

    def number(
        self, title: str, about: str, query: Query, unit: str = "short", width: int = 4
    ) -> None:
        """Add a number, or one for each of several."""
        self._add(NUMBER, title, about, [query], unit, width)

    def words(self, title: str, about: str, query: Query) -> None:
        """Add what something is called now."""
        self._add(WORDS, title, about, [query], "short", 8)

    def heat(self, title: str, about: str, query: Query, unit: str = "short") -> None:
        """Add a histogram over time."""
        self._add(HEAT, title, about, [query], unit, 8)

    def table(self, title: str, about: str, query: Query) -> None:
        """Add the latest values."""
        self._add(TABLE, title, about, [query], "short", 8)

    def _add(
        self,
        look: Look,
        title: str,
        about: str,
        queries: Sequence[Query],
        unit: str,
        width: int,
    ) -> None:
        targets = [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "format": look.format,
                "instant": look.latest,
                "range": not look.latest,
            }
            for index, (expr, legend) in enumerate(queries)
        ]
        panel = {
            "type": look.type,
            "title": title,
            "description": about,
            "datasource": SOURCE,
            "targets": targets,
            "fieldConfig": {"defaults": {"unit": unit, **look.defaults}, "overrides": []},
            "options": look.options,
            "transformations": look.transformations,
        }
        self._put(panel, width, look.height)

    def _put(self, panel: dict[str, Any], width: int, height: int) -> None:
        if self._x + width > 24:
            self._next_line()
        place = {"x": self._x, "y": self._y, "w": width, "h": height}
        self.panels.append({"id": len(self.panels) + 1, "gridPos": place, **panel})
        self._x += width
        self._height = max(self._height, height)

    def _next_line(self) -> None:
        self._y += self._height
        self._x = self._height = 0
