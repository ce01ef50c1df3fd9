"""Labelled texts: what was read, how, and what was wrong with it.

``read_texts`` takes any source, finds the columns, maps the labels and checks every row. A row that
cannot be used is an error that names its line, or, if the caller says so, dropped and counted.
Knows nothing of models.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from glassbox.artifacts import digest_texts
from glassbox.confidence.data.columns import (
    LABEL_COLUMNS,
    TEXT_COLUMNS,
    CleanRow,
    Columns,
    Unusable,
    clean_row,
    find_columns,
    truth_label,
    unknown_labels,
)
from glassbox.confidence.data.formats import RawRow, RawRows
from glassbox.confidence.data.sources import read_source
from glassbox.confidence.labels import LabelSet
from glassbox.errors import InvalidData, UnknownName
from glassbox.types import BadRows
from glassbox.wording import counted, listed

MOST_NAMED = 10
"""Labels that a sentence names one by one: of more it says how many there are."""


@dataclass(frozen=True)
class DroppedRows:
    """Rows that were left out for one reason."""

    reason: str
    """What was wrong with them."""
    n_rows: int
    """How many."""
    first: str
    """File and line of the first, where known."""


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their true classes, and how they were read."""

    texts: tuple[str, ...]
    """What is to be classified, surrounding white space taken off."""
    labels: tuple[str, ...]
    """Class name of each text."""
    source: str
    """File, folder or name they were read from."""
    format: str
    """What the source was read as and which columns were used, in words."""
    encoding: str = ""
    """Encoding and how it is known; empty where the format fixes it."""
    categories: tuple[str | None, ...] | None = None
    """A finer grouping, where the data have one."""
    truth: tuple[float, ...] | None = None
    """Known probability of ``truth_label``, [0, 1]; for generated data only."""
    truth_label: str | None = None
    """The class that ``truth`` is the probability of."""
    dropped: tuple[DroppedRows, ...] = ()
    """What was left out, by reason; nothing is left out in silence."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names that occur, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each class, by sorted name."""
        return dict(sorted(Counter(self.labels).items()))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all rows; their order does not count."""
        columns = (
            self.labels,
            self.categories or (None,) * len(self),
            self.truth or (None,) * len(self),
            self.texts,
        )
        rows = ("\x1f".join(map(str, row)) for row in zip(*columns, strict=True))
        return digest_texts(sorted(rows))

    @property
    def n_duplicates(self) -> int:
        """Rows whose text occurred before, but for case and white space."""
        return len(self) - len({normalise(text) for text in self.texts})

    @property
    def n_contradictory(self) -> int:
        """Rows whose text also occurs with another label."""
        seen: dict[str, set[str]] = {}
        keys = [normalise(text) for text in self.texts]
        for key, label in zip(keys, self.labels, strict=True):
            seen.setdefault(key, set()).add(label)
        return sum(len(seen[key]) > 1 for key in keys)

    def describe(self) -> str:
        """Return one paragraph that says what was read and what was odd about it."""
        counts = ", ".join(f"{name} {n:,}" for name, n in self.counts.items())
        if len(self.counts) > MOST_NAMED:
            few, many = min(self.counts.values()), max(self.counts.values())
            spread = f"{few:,}" if few == many else f"{few:,} to {many:,}"
            counts = f"{len(self.counts):,} labels with {spread} rows each"
        parts = [f"{len(self):,} rows ({counts}) from {self.source}, read as {self.format}"]
        if self.encoding:
            parts.append(f"encoding {self.encoding}")
        parts += [f"{each.n_rows:,} dropped: {each.reason} ({each.first})" for each in self.dropped]
        if self.n_duplicates:
            parts.append(f"{self.n_duplicates:,} repeat an earlier text")
        if self.n_contradictory:
            parts.append(f"{self.n_contradictory:,} share a text with a row of another label")
        return "; ".join(parts) + "."


def read_texts(
    source: str | Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    data_format: str | None = None,
    encoding: str | None = None,
    labels: LabelSet | None = None,
    bad_rows: BadRows = "error",
) -> LabelledTexts:
    """Return the labelled texts of a file, folder, hub dataset or ``tiny``.

    Args:
        source: Path, hub name as ``name[:configuration[:split]]``, or ``tiny``.
        text_column: Column of the texts; None looks for a usual name.
        label_column: Column of the labels; None looks for a usual name.
        data_format: One of ``sources.DATA_FORMATS``; None finds out.
        encoding: Python's name of the codec; None detects it.
        labels: Maps what the data say to classes; None takes labels as they are.
        bad_rows: Whether a row that cannot be used stops the reading.

    Raises:
        UnknownName: No such source, column, format, encoding or label.
        InvalidData: Bad content by file and line, a single class, or only one distinct text.
        DependencyMissing: A hub name without the ``hub`` extra.
    """
    raw = read_source(source, data_format=data_format, encoding=encoding)
    uncut = [row.problem for row in raw.rows if row.problem]
    # Where most rows cannot be cut, the file is of another format, and not one of bad rows.
    if uncut and (bad_rows == "error" or 2 * len(uncut) > len(raw.rows)):
        raise uncut[0]
    _refuse_header(raw)
    columns = find_columns(raw, str(source), text_column, label_column, labels)
    kept: list[CleanRow] = []
    problems: dict[str, list[str]] = {}
    for row in raw.rows:
        try:
            kept.append(clean_row(row, columns, labels))
        except Unusable as problem:
            if bad_rows == "error":
                others = _others_unknown(problem, row, raw, columns, labels)
                raise (others or problem.error) from None
            problems.setdefault(problem.reason, []).append(f"{row.source}, line {row.line}")
    dropped = [DroppedRows(reason, len(own), own[0]) for reason, own in problems.items()]
    if raw.n_blank:
        dropped.append(DroppedRows("blank line", raw.n_blank, str(source)))
    known = truth_label(columns, labels, kept)
    data = LabelledTexts(
        texts=tuple(row.text for row in kept),
        labels=tuple(row.label for row in kept),
        source=str(source),
        format=f"{raw.format}; text in {columns.text!r}, label in {columns.label!r}",
        encoding=raw.encoding,
        categories=_categories(kept, columns),
        truth=tuple(row.truth for row in kept) if known else None,
        truth_label=known,
        dropped=tuple(dropped),
    )
    _check_whole(data)
    return data


def _others_unknown(
    problem: Unusable, row: RawRow, raw: RawRows, columns: Columns, labels: LabelSet | None
) -> UnknownName | None:
    """Return one error for all labels that a label set lacks, where the problem is one of many."""
    if labels is None or not isinstance(problem.error, UnknownName):
        return None
    unknown = unknown_labels(raw.rows, columns, labels)
    if len(unknown) < 2:
        return None
    named = [f"{label!r} ({counted(n_rows, 'row')})" for label, n_rows in unknown]
    return UnknownName(
        "label",
        problem.error.name,
        labels.classes,
        remedy=f"{row.source}, line {row.line}. The data have {len(unknown):,} labels that "
        f"labels.toml lacks: {listed(named, MOST_NAMED)}. Write each there: as a class of its own, "
        "[classes.'NAME'], or among the values of one. --bad-rows drop leaves their rows out.",
    )


def _refuse_header(raw: RawRows) -> None:
    """Refuse lines of text and label whose first names two columns: it would count as a row."""
    if not raw.rows or not raw.format.startswith("lines"):
        return
    first = raw.rows[0]
    text, label = (str(first.cells.get(key, "")).casefold() for key in ("text", "label"))
    if text in TEXT_COLUMNS and label in LABEL_COLUMNS:
        raise InvalidData(
            f"names the columns {text!r} and {label!r}, so the file is a table: give its format "
            "(--data-format tsv, or csv)",
            source=first.source,
            line=first.line,
        )


def normalise(text: str) -> str:
    r"""Return a text without the differences that make no other text: case and white space.

    Example:
        >>> normalise("  A  Gem\n")
        'a gem'
    """
    return " ".join(text.casefold().split())


def label_indices(labels: Iterable[str], classes: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Return the position of each label among ``classes``.

    Raises:
        UnknownName: A label is not among them.
    """
    position = {name: i for i, name in enumerate(classes)}
    try:
        return np.array([position[label] for label in labels], dtype=np.int64)
    except KeyError as error:
        raise UnknownName("label", str(error.args[0]), classes) from None


def truth_probs(
    truth: Sequence[float] | None, truth_label: str | None, classes: Sequence[str]
) -> Float[np.ndarray, "n n_classes"] | None:
    """Return each class's known probability from that of one class; None if there is no telling.

    Args:
        truth: Probability of ``truth_label`` in each row, [0, 1].
        truth_label: One of two classes.
        classes: Order of the columns.
    """
    if truth is None or truth_label not in classes or len(classes) != 2:
        return None
    own = np.array(truth, dtype=np.float64)
    first = classes[0] == truth_label
    return np.stack([own, 1 - own] if first else [1 - own, own], axis=1)


def _categories(rows: Sequence[CleanRow], columns: Columns) -> tuple[str | None, ...] | None:
    """Return the finer grouping of the data, or their own labels where a label set merged some."""
    if columns.category:
        return tuple(row.category for row in rows)
    if len({row.said for row in rows}) > len({row.label for row in rows}):
        return tuple(row.said or None for row in rows)
    return None


def _check_whole(data: LabelledTexts) -> None:
    if not data.texts:
        dropped = "; ".join(f"{each.n_rows} dropped: {each.reason}" for each in data.dropped)
        raise InvalidData(f"there are no rows{f' ({dropped})' * bool(dropped)}", source=data.source)
    if len(data.texts) > 1 and data.n_duplicates == len(data.texts) - 1:
        raise InvalidData(
            f"all {len(data.texts)} rows have the same text; different texts are needed",
            source=data.source,
        )
    if len(data.classes) == 1:
        raise InvalidData(
            f"every row has the label {data.labels[0]!r}; at least two classes are needed",
            source=data.source,
        )
