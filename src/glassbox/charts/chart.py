"""A drawn chart and its three files: PNG, SVG and the numbers as JSON.

Files appear whole or not at all, and the same values give the same bytes: no dates, no random
identifiers. Knows nothing of how a chart is drawn.
"""

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from glassbox.artifacts import write_bytes, write_json
from glassbox.charts.registry import ChartInfo
from glassbox.charts.style import DOTS_PER_INCH, Figure, drawing

CHART_SCHEMA = 1
"""Version of the layout of a chart's JSON file."""

COMPRESSION: Final = 3
"""Level at which PNG files are packed: half the time of the usual 6, and a third larger at most."""


@dataclass(frozen=True)
class Chart:
    """A picture and the very numbers it shows."""

    info: ChartInfo
    """Name, folder, title and texts."""
    figure: Figure
    """The matplotlib figure."""
    values: Mapping[str, Any]
    """Everything that is drawn, as JSON values; fractions, not percent."""
    summary: str
    """The picture in words with its main figures: the alternative text of this very chart."""


@dataclass(frozen=True)
class ChartFiles:
    """Where a chart was written."""

    png: Path
    """Raster picture."""
    svg: Path
    """Vector picture."""
    json: Path
    """The numbers."""


def plain(value: Any) -> Any:
    """Return a value as JSON would hold it: dataclasses as objects, arrays as lists, NaN as null.

    A number that does not exist (the accuracy of an empty bin) is ``null`` in the file.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {each.name: plain(getattr(value, each.name)) for each in fields}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def save(chart: Chart, folder: Path) -> ChartFiles:
    """Write a chart's PNG, SVG and JSON below ``folder`` and return their paths.

    Raises:
        NoDiskSpace: The device is full.
    """
    files = _files(chart.info, folder)
    write_bytes(files.png, picture(chart, "png"))
    write_bytes(files.svg, picture(chart, "svg"))
    write_json(files.json, numbers(chart))
    return files


def remove(info: ChartInfo, folder: Path) -> None:
    """Remove a chart's files below ``folder``, where there are any."""
    files = _files(info, folder)
    for each in (files.png, files.svg, files.json):
        each.unlink(missing_ok=True)


def _files(info: ChartInfo, folder: Path) -> ChartFiles:
    stem = folder / info.folder / info.name
    return ChartFiles(
        png=stem.with_name(stem.name + ".png"),
        svg=stem.with_name(stem.name + ".svg"),
        json=stem.with_name(stem.name + ".json"),
    )


def numbers(chart: Chart) -> dict[str, Any]:
    """Return what stands in the file beside a chart's picture: its texts and everything drawn."""
    return {
        "schema_version": CHART_SCHEMA,
        "chart": chart.info.name,
        "title": chart.info.title,
        "summary": chart.summary,
        "reading": chart.info.reading,
        "values": chart.values,
    }


def picture(chart: Chart, kind: Literal["png", "svg"]) -> bytes:
    """Return the bytes of a chart as ``png`` or ``svg``; the same chart gives the same bytes."""
    with drawing():
        return _raster(chart) if kind == "png" else _vector(chart)


def _raster(chart: Chart) -> bytes:
    """The library's own PNG writer takes twice as long, for an opacity that no chart has."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    pixels, stream, texts = io.BytesIO(), io.BytesIO(), PngInfo()
    chart.figure.savefig(pixels, format="raw", dpi=DOTS_PER_INCH)
    # The canvas cuts a broken pixel off; so does whole-number conversion.
    across, up = (int(each * DOTS_PER_INCH) for each in chart.figure.get_size_inches())
    texts.add_text("Title", chart.info.title)
    texts.add_text("Description", chart.summary)
    image = Image.frombytes("RGBA", (across, up), pixels.getvalue()).convert("RGB")
    image.save(
        stream,
        format="png",
        dpi=(DOTS_PER_INCH, DOTS_PER_INCH),
        pnginfo=texts,
        compress_level=COMPRESSION,
    )
    return stream.getvalue()


def _vector(chart: Chart) -> bytes:
    # Without these the library writes its own version and the present time.
    metadata: dict[str, str | None] = {"Creator": None, "Date": None}
    metadata |= {"Title": chart.info.title, "Description": chart.summary}
    stream = io.BytesIO()
    chart.figure.savefig(stream, format="svg", metadata=metadata)
    return stream.getvalue()
