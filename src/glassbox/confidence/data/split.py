"""One split of the rows, decided by their content.

Rows are ordered by a seeded hash of their text, so the split depends neither on the order of the
file nor on a random generator, and texts that differ only in case and white space stay on one side.
Of all rows 20 % are held out; those are cut once more into the rows that fit the calibrator, those
that choose the threshold, and those on which every figure is measured. Validation rows for early
stopping come out of the training rows. Knows nothing of models.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from glassbox.artifacts import digest_json
from glassbox.confidence.data.labelled import LabelledTexts, normalise
from glassbox.errors import NotEnoughData
from glassbox.wording import listed, percent

HELD_OUT_FRACTION = 0.2
"""Share of all rows that tuning never sees."""

VALIDATION_FRACTION = 0.1
"""Share of the other rows that decides when tuning stops."""

CALIBRATOR_FRACTION = 0.25
"""Share of the held-out rows that fit the calibrator."""

THRESHOLD_FRACTION = 0.35
"""Share of the held-out rows that choose the threshold; the rest is the test part."""

PART_SHARES = (
    (1 - HELD_OUT_FRACTION) * (1 - VALIDATION_FRACTION),
    (1 - HELD_OUT_FRACTION) * VALIDATION_FRACTION,
    HELD_OUT_FRACTION * CALIBRATOR_FRACTION,
    HELD_OUT_FRACTION * THRESHOLD_FRACTION,
    HELD_OUT_FRACTION * (1 - CALIBRATOR_FRACTION - THRESHOLD_FRACTION),
)
"""Share of all rows in each part; few rows are rounded to other shares."""

MISSING_CLASS_PROBABILITY = 0.01
"""Accepted chance that any part lacks any class, when rows needed are forecast."""

MOST_CLASSES_SHOWN = 5
"""Classes that are too rare which a message names."""

PartName = Literal["train", "validation", "calibrator", "threshold", "test"]

HELD_OUT_PARTS: tuple[PartName, ...] = ("calibrator", "threshold", "test")
"""The parts of the held-out rows, in order."""


@dataclass(frozen=True)
class PartSizes:
    """Rows in each part."""

    train: int
    """Rows that tuning learns from."""
    validation: int
    """Rows that decide when tuning stops."""
    calibrator: int
    """Rows that fit the calibrator."""
    threshold: int
    """Rows that choose the threshold."""
    test: int
    """Rows on which figures are measured."""

    @property
    def smallest(self) -> int:
        """Rows in the smallest part."""
        return min(self.train, self.validation, self.calibrator, self.threshold, self.test)


@dataclass(frozen=True)
class Split:
    """Which rows belong to which part; row indices, in the order of the hash."""

    train: tuple[int, ...]
    """Rows that tuning learns from."""
    validation: tuple[int, ...]
    """Rows that decide when tuning stops."""
    calibrator: tuple[int, ...]
    """Rows that fit the calibrator."""
    threshold: tuple[int, ...]
    """Rows that choose the threshold."""
    test: tuple[int, ...]
    """Rows on which figures are measured."""
    seed: int
    """Decides the order."""
    data_digest: str
    """SHA-256 of the rows that were split (hex)."""

    @property
    def held_out(self) -> tuple[int, ...]:
        """Rows that tuning never sees: calibrator, threshold and test."""
        return self.calibrator + self.threshold + self.test

    @property
    def sizes(self) -> PartSizes:
        """Rows in each part."""
        return PartSizes(*(len(each) for each in self._parts()))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the rows, the seed and the sizes: equal digests, equal parts."""
        return digest_json([self.data_digest, self.seed, [len(each) for each in self._parts()]])

    def part_of(self) -> dict[int, PartName]:
        """Return the part of each row index."""
        names: tuple[PartName, ...] = ("train", "validation", *HELD_OUT_PARTS)
        return {row: name for name, rows in zip(names, self._parts(), strict=True) for row in rows}

    def _parts(self) -> tuple[tuple[int, ...], ...]:
        return (self.train, self.validation, self.calibrator, self.threshold, self.test)


def part_sizes(n_rows: int) -> PartSizes:
    """Return how many rows each part gets, halves rounded up.

    Example:
        >>> part_sizes(10_000)
        PartSizes(train=7200, validation=800, calibrator=500, threshold=700, test=800)
    """
    held_out = _share(n_rows, HELD_OUT_FRACTION)
    calibrator = _share(held_out, CALIBRATOR_FRACTION)
    threshold = _share(held_out, THRESHOLD_FRACTION)
    validation = _share(n_rows - held_out, VALIDATION_FRACTION)
    return PartSizes(
        train=n_rows - held_out - validation,
        validation=validation,
        calibrator=calibrator,
        threshold=threshold,
        test=held_out - calibrator - threshold,
    )


def split_rows(data: LabelledTexts, *, seed: int = 0, classes: Sequence[str] = ()) -> Split:
    """Return the parts of some rows.

    Counts are exact as long as duplicates leave room for it: a group of equal texts that would
    overfill a part goes to a later one.

    Args:
        data: The rows.
        seed: Decides the order.
        classes: Classes that every part must hold; those of the data if empty.

    Raises:
        NotEnoughData: Too few different texts, or a part would lack a class.
    """
    wanted = tuple(classes) or data.classes
    groups = _groups(data, seed)
    need = rows_needed(len(wanted))
    if len(groups) < need:
        raise NotEnoughData(
            f"A split into five parts with {len(wanted)} classes",
            len(groups),
            need,
            remedy=f"Equal texts count once; {len(data.texts)} rows were read.",
        )
    sizes = part_sizes(len(data.texts))
    held_out, rest = _take(groups, sizes.calibrator + sizes.threshold + sizes.test)
    calibrator, others = _take(held_out, sizes.calibrator)
    threshold, test = _take(others, sizes.threshold)
    validation, train = _take(rest, sizes.validation)
    split = Split(
        train=_flat(train),
        validation=_flat(validation),
        calibrator=_flat(calibrator),
        threshold=_flat(threshold),
        test=_flat(test),
        seed=seed,
        data_digest=data.digest,
    )
    _check_classes(split, data, groups, wanted)
    return split


def rows_needed(n_classes: int) -> int:
    """Return the fewest rows whose every part has room for each class.

    Example:
        >>> rows_needed(2)
        28
    """
    n_rows = n_classes
    while part_sizes(n_rows).smallest < n_classes:
        n_rows += 1
    return n_rows


def _check_classes(
    split: Split, data: LabelledTexts, groups: Sequence[tuple[int, ...]], classes: Sequence[str]
) -> None:
    """Refuse a split whose parts do not all hold every class.

    Raises:
        NotEnoughData: Names the classes, and how many texts as they come would do.
    """
    # Equal texts are never parted, so a class may be spread as widely as it has different texts.
    n_texts = Counter(label for group in groups for label in {data.labels[row] for row in group})
    held = [{data.labels[row] for row in rows} for rows in split._parts()]
    absent = [name for name in classes if not all(name in part for part in held)]
    if not absent:
        return
    if unseen := [name for name in absent if not n_texts[name]]:
        raise NotEnoughData(
            f"Class {unseen[0]!r}",
            0,
            rows_needed(len(classes)),
            remedy="The data have none of it: add some, or take the class out of labels.toml.",
        )
    rarest = sorted(absent, key=lambda name: n_texts[name])
    shown = listed([f"{name!r} ({n_texts[name]:,})" for name in rarest], MOST_CLASSES_SHOWN)
    of_classes = [n_texts[name] / len(groups) for name in classes]
    raise NotEnoughData(
        f"A split that has each of {len(classes)} classes in all five parts in "
        f"{percent(1 - MISSING_CLASS_PROBABILITY)} of cases",
        len(groups),
        max(len(groups) + 1, _texts_for_classes(of_classes)),
        remedy=f"Too rare, equal texts counted once: {shown}. "
        "Add rows as they come, or merge these with others in labels.toml.",
    )


def _texts_for_classes(of_classes: Sequence[float]) -> int:
    """Return how many texts of such shares hold every class in every part, all but certainly.

    The expected number of absences, which bounds their probability, is then at most
    ``MISSING_CLASS_PROBABILITY``. An estimate: two digits, rounded up.
    """

    def absences(n_texts: int) -> float:
        return math.fsum(
            math.pow(1 - share, n_texts * part) for share in of_classes for part in PART_SHARES
        )

    few, many = 0, 1
    while absences(many) > MISSING_CLASS_PROBABILITY:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (
            (middle, many) if absences(middle) > MISSING_CLASS_PROBABILITY else (few, middle)
        )
    step = int(10 ** max(0, len(str(many)) - 2))
    return -(-many // step) * step


def _share(n_rows: int, fraction: float) -> int:
    # Fractions are binary: the small term keeps an exact half from falling just short.
    return math.floor(n_rows * fraction + 0.5 + 1e-9)


def _groups(data: LabelledTexts, seed: int) -> list[tuple[int, ...]]:
    """Return the rows of equal texts together, groups in the order of their hash."""
    members: dict[str, list[int]] = {}
    for row, text in enumerate(data.texts):
        members.setdefault(normalise(text), []).append(row)
    order = sorted(members, key=lambda text: _order_key(text, seed))
    return [
        tuple(sorted(members[text], key=lambda row: (data.texts[row], data.labels[row], row)))
        for text in order
    ]


def _order_key(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{text}".encode()).digest()


def _take(
    groups: Sequence[tuple[int, ...]], n_rows: int
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    taken: list[tuple[int, ...]] = []
    left: list[tuple[int, ...]] = []
    room = n_rows
    for group in groups:
        if len(group) <= room:
            taken.append(group)
            room -= len(group)
        else:
            left.append(group)
    return taken, left


def _flat(groups: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(row for group in groups for row in group)
