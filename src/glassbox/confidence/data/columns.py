"""From raw rows to clean ones: which column holds what, and what is wrong with a row.

Knows nothing of files or models.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from glassbox.confidence.data.decoding import has_half_characters
from glassbox.confidence.data.formats import Cell, RawRow, RawRows
from glassbox.confidence.labels import LabelSet, label_value
from glassbox.errors import GlassboxError, InvalidData, InvalidValue, UnknownName

TEXT_COLUMNS = (
    "text", "sentence", "content", "review", "review_text", "document", "body", "message",
    "comment", "tweet", "utterance", "query", "question", "headline", "title",
)  # fmt: skip
"""Usual names of the column of texts, first choice first."""

LABEL_COLUMNS = (
    "label", "labels", "class", "target", "sentiment", "category", "intent", "topic", "gold",
    "label_text", "rating", "stars", "y",
)  # fmt: skip
"""Usual names of the column of labels, first choice first."""

CATEGORY_COLUMNS = ("category", "subcategory", "group", "domain")
"""Usual names of a finer grouping that figures are also reported by."""

MISSING_LABELS = frozenset({"", "nan", "NaN", "NAN", "<NA>"})
"""How tables write that there is no label."""


@dataclass(frozen=True)
class Columns:
    """Which column holds what."""

    text: str
    """What is classified."""
    label: str
    """Its class."""
    category: str | None = None
    """A finer grouping."""
    truth: str | None = None
    """``p_`` and a class name: the known probability of that class."""


@dataclass(frozen=True)
class CleanRow:
    """One row that can be used."""

    text: str
    """Not empty, surrounding white space taken off."""
    label: str
    """Class name."""
    category: str | None
    """A finer grouping, if any."""
    truth: float
    """Known probability, [0, 1]; NaN if there is none."""
    said: str
    """The label as the data have it, before a label set gave it the name of its class."""


_OR_DROP = ", or leave such rows out (--bad-rows drop)"

_MOST_SHOWN = 80
"""Characters of a cell that a message shows."""


class Unusable(Exception):
    """A row that cannot be used: why in a few words, and the error that says where."""

    def __init__(self, reason: str, error: GlassboxError) -> None:
        self.reason = reason
        self.error = error
        super().__init__(reason)


def find_columns(
    raw: RawRows,
    source: str,
    text_column: str | None = None,
    label_column: str | None = None,
    labels: LabelSet | None = None,
) -> Columns:
    """Return which columns hold texts, labels, a finer grouping and the known truth.

    The truth is a column called ``p_`` and the name of a class; ``p_id`` is a column like others.

    Raises:
        UnknownName: A named column is absent, or none has a usual name; lists the columns.
        InvalidValue: One column is named for both.
    """
    headless = "lines" if raw.format.startswith(("csv", "tsv")) else None
    text = find_column("text", raw.columns, text_column, TEXT_COLUMNS, source, headless)
    others = [name for name in raw.columns if name != text or name == label_column]
    label = find_column("label", others, label_column, LABEL_COLUMNS, source, headless)
    if text == label:
        raise InvalidValue("label_column", label, f"a column other than the texts' {text!r}")
    rest = [name for name in raw.columns if name not in (text, label)]
    by_name = {name.casefold(): name for name in rest}
    category = next((by_name[each] for each in CATEGORY_COLUMNS if each in by_name), None)
    truth = [name for name in rest if name.startswith("p_")]
    if truth:
        said = (row.cells.get(label) for row in raw.rows)
        classes = set(labels.classes) if labels else {_written(each) for each in said}
        truth = [name for name in truth if name.removeprefix("p_") in classes]
    return Columns(text, label, category, truth[0] if len(truth) == 1 else None)


def find_column(
    kind: str,
    columns: Sequence[str],
    wanted: str | None,
    usual: Sequence[str],
    source: str,
    headless: str | None = None,
) -> str:
    """Return the column that the caller named, or the first that has a usual name.

    Args:
        kind: What it holds, ``text`` or ``label``.
        columns: All there are.
        wanted: The one that the caller named; None looks for a usual name.
        usual: Usual names, in small letters, the likeliest first.
        source: The file, for the message.
        headless: Data format of such a file without a header; None where every file has names.

    Raises:
        UnknownName: There is none; lists the columns there are.
    """
    if wanted is not None:
        if wanted not in columns:
            raise UnknownName("column", wanted, columns, remedy=f"Source: {source}.")
        return wanted
    by_name = {name.strip().casefold(): name for name in reversed(columns)}
    for each in usual:
        if each in by_name:
            return by_name[each]
    remedy = f"{source}: none has a usual name; name it with {kind}_column (--{kind}-column)."
    if headless:
        remedy += (
            f" If the file has no header, say data_format={headless!r} (--data-format {headless})."
        )
    raise UnknownName(f"{kind} column", kind, columns, remedy=remedy)


def clean_row(row: RawRow, columns: Columns, labels: LabelSet | None) -> CleanRow:
    """Return the text, label, category and known truth of a row.

    Raises:
        Unusable: Something is missing or is not what it should be.
    """
    if row.problem is not None:
        raise Unusable("not a row of this format", row.problem)
    text = row.cells.get(columns.text)
    if text is None or (isinstance(text, str) and not text.strip()):
        raise _unusable(
            row,
            "empty text",
            f"the text is empty; remove the row{_OR_DROP}",
        )
    if isinstance(text, bytes):
        raise _unusable(
            row,
            "not UTF-8",
            f"column {columns.text!r} holds bytes that are not UTF-8 ({shown(text)}); write them "
            f"as text{_OR_DROP}",
        )
    if not isinstance(text, str):
        raise _unusable(
            row,
            "text is no text",
            f"column {columns.text!r} holds {shown(text)}, not a text; write the text itself "
            f"there, name another column (--text-column){_OR_DROP}",
        )
    if has_half_characters(text):
        raise _unusable(
            row, "half a character", "the text holds half a character (a lone surrogate)"
        )
    said = row.cells.get(columns.label)
    label = _label(row, said, columns, labels)
    category = row.cells.get(columns.category) if columns.category else None
    return CleanRow(
        text=text.strip(),
        label=label,
        category=None if category is None or category == "" else str(category),
        truth=_truth(row, columns),
        said=_written(said) or "",
    )


def _label(row: RawRow, value: Cell, columns: Columns, labels: LabelSet | None) -> str:
    label = _written(value)
    if label is None:
        several = ": a row has one label" if isinstance(value, list) else ""
        raise _unusable(
            row,
            "label is no label",
            f"column {columns.label!r} holds {shown(value)}, not a label{several}; write one text "
            f"or number there{_OR_DROP}",
        )
    # A label set may say what an empty label stands for.
    if labels is not None and (name := labels.find(label)) is not None:
        return name
    if label in MISSING_LABELS:
        raise _unusable(
            row,
            "missing label",
            f"column {columns.label!r} holds no label (empty or NaN); label the row{_OR_DROP}",
        )
    if labels is None:
        return label
    try:
        return labels.class_of(label, where=f"{row.source}, line {row.line}")
    except UnknownName as error:
        raise Unusable(f"unknown label {label!r}", error) from error


def unknown_labels(
    rows: Sequence[RawRow], columns: Columns, labels: LabelSet
) -> tuple[tuple[str, int], ...]:
    """Return the labels of the data that a label set lacks with their rows, most rows first."""
    said = Counter(_written(row.cells.get(columns.label)) for row in rows)
    return tuple(
        (label, n_rows)
        for label, n_rows in said.most_common()
        if label and label not in MISSING_LABELS and labels.find(label) is None
    )


def _written(value: Cell) -> str | None:
    """Return a label as text, empty where there is none; None for what cannot be a label."""
    if value is None or _is_nan(value):
        return ""
    return label_value(value) if isinstance(value, str | bool | int | float | Decimal) else None


def _truth(row: RawRow, columns: Columns) -> float:
    if columns.truth is None:
        return math.nan
    value = row.cells.get(columns.truth)
    try:
        prob = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        prob = math.nan
    if not 0 <= prob <= 1:
        raise _unusable(
            row,
            "no probability",
            f"column {columns.truth!r} holds {shown(value)}, not a number in [0, 1]",
        )
    return prob


def truth_label(columns: Columns, labels: LabelSet | None, rows: Sequence[CleanRow]) -> str | None:
    """Return the class that the truth column names, or None where there is no such class."""
    if columns.truth is None:
        return None
    name = columns.truth.removeprefix("p_")
    known = labels.classes if labels else {row.label for row in rows}
    return name if name in known else None


def shown(value: Cell) -> str:
    """Return a cell as a message shows it, however long it is."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _is_nan(value: Cell) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _unusable(row: RawRow, reason: str, message: str) -> Unusable:
    return Unusable(reason, InvalidData(message, source=row.source, line=row.line))
