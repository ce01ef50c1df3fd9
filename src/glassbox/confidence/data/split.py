"""One split of the rows, decided by their content.

Rows are ordered by a seeded hash of their text, so the split depends neither on the order of the
file nor on a random generator, and texts that differ only in case and white space stay on one side.
Of all rows 20 % are held out; those are cut once more into the rows that fit the calibrator, those
that choose the threshold, and those on which every figure is measured. Validation rows for early
stopping come out of the training rows. Knows nothing of models.
"""

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from glassbox.artifacts import digest_json
from glassbox.confidence.data.labelled import LabelledTexts, normalise
from glassbox.errors import InvalidData, NotEnoughData
from glassbox.wording import counted, listed

HELD_OUT_FRACTION = 0.2
"""Share of all rows that tuning never sees."""

VALIDATION_FRACTION = 0.1
"""Share of the other rows that decides when tuning stops."""

CALIBRATOR_FRACTION = 0.25
"""Share of the held-out rows that fit the calibrator."""

THRESHOLD_FRACTION = 0.35
"""Share of the held-out rows that choose the threshold; the rest is the test part."""

FEWEST_IN_PART = 2
"""Rows that every part has: fewer choose no calibrator, and spread nowhere."""

MOST_CLASSES_SHOWN = 5
"""Rare classes that a sentence names."""

PartName = Literal["train", "validation", "calibrator", "threshold", "test"]

HELD_OUT_PARTS: tuple[PartName, ...] = ("calibrator", "threshold", "test")
"""The parts of the held-out rows, in order."""

PARTS: tuple[PartName, ...] = ("train", "validation", *HELD_OUT_PARTS)
"""All parts, in order."""


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
        return {row: name for name, rows in zip(PARTS, self._parts(), strict=True) for row in rows}

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
    overfill a part goes to a later one. Classes are dealt out by chance, so that every part is
    mixed as the texts to come are; a rare one may be missing in a part (see ``rare_classes``).

    Args:
        data: The rows.
        seed: Decides the order.
        classes: Classes that the data must hold; those that occur if empty.

    Raises:
        NotEnoughData: Too few different texts, none of a class, or training rows of one class.
        InvalidData: Texts are repeated so often that a part stays empty.
    """
    groups = _groups(data, seed)
    need = fewest_rows()
    if len(groups) < need:
        raise NotEnoughData(
            "A split into five parts",
            len(groups),
            need,
            remedy=f"Equal texts count once; {len(data.texts)} rows were read.",
        )
    if unseen := [name for name in classes if name not in set(data.labels)]:
        raise NotEnoughData(
            f"Class {unseen[0]!r}",
            0,
            1,
            remedy="The data have none of it: add some, or take the class out of labels.toml.",
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
    if split.sizes.smallest < FEWEST_IN_PART:
        most = max(map(len, groups))
        raise InvalidData(
            f"one text is repeated {most:,} times among {len(data.texts):,} rows. Equal texts stay "
            "together, so parts of the split stay empty: take the repeats out"
        )
    learnt = {data.labels[row] for row in split.train}
    if len(learnt) < 2:
        raise NotEnoughData(
            f"Training (rows of another class than {min(learnt)!r})",
            0,
            1,
            remedy="Add rows as they come.",
        )
    return split


def fewest_rows() -> int:
    """Return the fewest rows that can be split.

    Example:
        >>> fewest_rows()
        28
    """
    return next(n for n in itertools.count(1) if part_sizes(n).smallest >= FEWEST_IN_PART)


def rare_classes(data: LabelledTexts, split: Split) -> str:
    """Return a sentence about the classes that a part has no row of; empty if there are none.

    Such a class is not what the promise is about, which is made over all texts together, but
    what a part cannot show of it should be known.
    """
    part_of = split.part_of()
    held: dict[str, set[PartName]] = {name: set() for name in data.classes}
    texts: dict[str, set[str]] = {name: set() for name in data.classes}
    for row, (text, label) in enumerate(zip(data.texts, data.labels, strict=True)):
        held[label].add(part_of[row])
        texts[label].add(normalise(text))
    rare = sorted(
        (name for name in data.classes if len(held[name]) < len(PARTS)),
        key=lambda name: len(texts[name]),
    )
    if not rare:
        return ""
    named = [
        f"{name!r} ({counted(len(texts[name]), 'text')}; none for "
        f"{', '.join(part for part in PARTS if part not in held[name])})"
        for name in rare
    ]
    return (
        f"{counted(len(rare), 'class is', 'classes are')} too rare to be in all five parts: "
        f"{listed(named, MOST_CLASSES_SHOWN)}. What is promised holds over all texts together and "
        "says nothing about these alone."
    )


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
