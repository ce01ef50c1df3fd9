"""The held-out rows on disk (``test_set.json``): texts, labels and the part each belongs to.

A later run in the same folder is compared with them. Knows nothing of models.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from glassbox.artifacts import digest_json, read_object, write_json
from glassbox.confidence.data.labelled import LabelledTexts
from glassbox.confidence.data.split import FEWEST_IN_PART, HELD_OUT_PARTS, PartName, Split
from glassbox.errors import CorruptArtifact, InvalidValue

TEST_SET_SCHEMA = 1
"""Version of the layout of ``test_set.json``."""


@dataclass(frozen=True)
class HeldOutRow:
    """One row that tuning never saw."""

    text: str
    """What is classified."""
    label: str
    """Its true class."""
    part: PartName
    """What the row is for: calibrator, threshold or test."""
    category: str | None = None
    """A finer grouping, where the data have one."""
    truth: float | None = None
    """Known probability of ``HeldOutRows.truth_label``, [0, 1]; for generated data only."""


@dataclass(frozen=True)
class HeldOutRows:
    """All rows that tuning never saw, in the order of the split."""

    rows: tuple[HeldOutRow, ...]
    """Calibrator rows first, then threshold, then test."""
    seed: int
    """Seed of the split."""
    data_digest: str
    """SHA-256 of the data that were split (hex)."""
    split_digest: str
    """SHA-256 of the split (hex)."""
    truth_label: str | None = None
    """The class that each row's ``truth`` is the probability of."""

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, data: LabelledTexts, split: Split) -> Self:
        """Return the held-out rows of a split."""
        part_of = split.part_of()
        return cls(
            rows=tuple(
                HeldOutRow(
                    text=data.texts[i],
                    label=data.labels[i],
                    part=part_of[i],
                    category=data.categories[i] if data.categories else None,
                    truth=data.truth[i] if data.truth else None,
                )
                for i in split.held_out
            ),
            seed=split.seed,
            data_digest=split.data_digest,
            split_digest=split.digest,
            truth_label=data.truth_label,
        )

    def part(self, name: PartName) -> tuple[HeldOutRow, ...]:
        """Return the rows of one part."""
        return tuple(row for row in self.rows if row.part == name)

    def sample(self, n_rows: int) -> Self:
        """Return fewer rows, each part in proportion; smaller samples lie inside larger ones.

        The rows of a part stand in the order of the split's seeded hash, so its first ones are a
        random choice that the seed decides.

        Args:
            n_rows: Rows wanted, from one to all.

        Raises:
            InvalidValue: More rows than there are, or so few that a part would be all but empty.
        """
        # A row's rank is how deep it lies in its own part: cutting all parts at one depth keeps
        # their proportions.
        parts = [self.part(name) for name in HELD_OUT_PARTS]
        ranked = sorted(
            ((i + 0.5) / len(rows), which, i)
            for which, rows in enumerate(parts)
            for i in range(len(rows))
        )
        order = [(which, i) for _, which, i in ranked]
        fewest = 1 + max(order.index((which, FEWEST_IN_PART - 1)) for which in range(len(parts)))
        if not fewest <= n_rows <= len(self.rows):
            raise InvalidValue(
                "sample",
                n_rows,
                f"{fewest} to {len(self.rows)}, the held-out rows; fewer all but empty a part",
            )
        wanted = set(order[:n_rows])
        chosen = [
            row
            for which, rows in enumerate(parts)
            for i, row in enumerate(rows)
            if (which, i) in wanted
        ]
        return type(self)(
            rows=tuple(chosen),
            seed=self.seed,
            data_digest=self.data_digest,
            split_digest=self.split_digest,
            truth_label=self.truth_label,
        )

    def save(self, path: Path) -> None:
        """Write ``test_set.json`` whole or not at all.

        Raises:
            NoDiskSpace: The device is full.
        """
        content = asdict(self)
        write_json(
            path,
            {"schema_version": TEST_SET_SCHEMA, "digest": digest_json(content), **content},
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            CorruptArtifact: Absent, damaged, of another schema, or changed by hand.
        """
        content = read_object(path, schema=TEST_SET_SCHEMA)
        content.pop("schema_version")
        recorded = content.pop("digest", None)
        if digest_json(content) != recorded:
            raise CorruptArtifact(
                path,
                "its content does not match the digest it carries",
                remedy="It was edited or damaged: restore it, or make the run again.",
            )
        try:
            rows = tuple(HeldOutRow(**row) for row in content.pop("rows"))
            return cls(rows=rows, **content)
        except (KeyError, TypeError) as error:
            raise CorruptArtifact(path, f"a field is missing or unknown ({error})") from error
