"""What people see of a technique's result: a few panels as a picture, a page, or in a notebook.

A view holds values only and draws when asked, so that it can be made where there is neither torch
nor matplotlib. Knows panels; knows no technique.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from glassbox.artifacts import write_bytes
from glassbox.charts.panels import Bars as Bars
from glassbox.charts.panels import HeatMap as HeatMap
from glassbox.charts.panels import Lines as Lines
from glassbox.charts.panels import Panel as Panel
from glassbox.charts.panels import Passages as Passages
from glassbox.charts.panels import TokenColouring as TokenColouring
from glassbox.errors import InvalidValue


@dataclass(frozen=True, eq=False)
class View:
    """A result as something to look at; a notebook shows it by itself."""

    title: str
    """Heading."""
    panels: tuple[Panel, ...]
    """What is shown, from the top."""
    note: str = ""
    """One sentence that tells how to read it."""

    def png(self, path: str | Path) -> Path:
        """Write a picture and return where.

        Raises:
            InvalidValue: The path does not end in ``.png``.
            DependencyMissing: matplotlib is not installed.
            NoDiskSpace: The device is full.
        """
        from glassbox.charts.panel_picture import panels_png

        where = _checked(path, ".png")
        write_bytes(where, panels_png(self.title, self.panels, self.note))
        return where

    def html(self, path: str | Path) -> Path:
        """Write a page that needs nothing else, light or dark as its reader likes; return where.

        Raises:
            InvalidValue: The path does not end in ``.html``.
            NoDiskSpace: The device is full.
        """
        from glassbox.charts.panel_page import panels_page

        where = _checked(path, ".html")
        write_bytes(where, panels_page(self.title, self.panels, self.note).encode())
        return where

    def _repr_html_(self) -> str:
        from glassbox.charts.panel_page import panels_fragment

        return panels_fragment(self.title, self.panels, self.note)


def together(views: Sequence[View]) -> View:
    """Return several views, at least one, as one whose parts are numbered from 1."""
    panels = [
        replace(panel, title=f"{number}. {panel.title}")
        for number, view in enumerate(views, start=1)
        for panel in view.panels
    ]
    notes = [f"{number}. {view.note}" for number, view in enumerate(views, start=1) if view.note]
    return View(views[0].title, tuple(panels), " ".join(notes))


def layer_names(n_layers: int) -> tuple[str, ...]:
    """Return the names of layers from the last one down: rows of a heat map."""
    return tuple(str(layer) for layer in reversed(range(n_layers)))


def head_names(n_heads: int) -> tuple[str, ...]:
    """Return the names of heads: columns of a heat map."""
    return tuple(str(head) for head in range(n_heads))


def by_layer(
    title: str, values: Float[np.ndarray, "n_layers n"], tokens: tuple[str, ...] | None = None
) -> HeatMap:
    """Return effects as a heat map around 0: layers from the last one down, and tokens or heads.

    Args:
        title: Heading.
        values: One row for each layer, from the first.
        tokens: What columns are; None means heads.
    """
    n_layers, n = values.shape
    names, axis = (head_names(n), "Head") if tokens is None else (tokens, "Token")
    return HeatMap(title, values[::-1], layer_names(n_layers), names, "Layer", axis, middle=0.0)


def _checked(path: str | Path, suffix: str) -> Path:
    where = Path(path)
    if where.suffix.lower() != suffix:
        raise InvalidValue("the file's name", str(path), f"one that ends in {suffix}")
    return where
