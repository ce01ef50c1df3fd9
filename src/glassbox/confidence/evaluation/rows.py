"""Evaluated rows: a model's answers to held-out texts, beside what is true of them.

Knows nothing of calibration; ``analysis`` turns these rows into figures.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from glassbox.artifacts import atomic_file
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.data.held_out import HeldOutRows
from glassbox.confidence.data.labelled import label_indices, normalise, truth_probs
from glassbox.confidence.evaluation.cache import RowCache
from glassbox.errors import CorruptArtifact, NotEnoughData
from glassbox.progress import Progress
from glassbox.wording import counted

CHUNK_ROWS = 512
"""Rows evaluated between two writes: what a kill can lose."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out texts with their truth, as columns."""

    texts: tuple[str, ...]
    """The texts."""
    labels: Int[np.ndarray, " n"]
    """Index of the true class."""
    parts: tuple[str, ...]
    """Which part each row belongs to: calibrator, threshold or test."""
    categories: tuple[str | None, ...]
    """A finer grouping, where the data has one."""
    truth: Float[np.ndarray, "n n_classes"] | None
    """Known probability of each class; only for data that was generated from it."""

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of(cls, held_out: HeldOutRows, classes: Sequence[str]) -> "HeldOut":
        """Return the columns of held-out rows, labels as indices into ``classes``."""
        rows = held_out.rows
        known = [row.truth for row in rows if row.truth is not None]
        return cls(
            texts=tuple(row.text for row in rows),
            labels=label_indices([row.label for row in rows], classes),
            parts=tuple(row.part for row in rows),
            categories=tuple(row.category for row in rows),
            truth=truth_probs(
                known if len(known) == len(rows) else None, held_out.truth_label, classes
            ),
        )


@dataclass(frozen=True)
class EvaluatedRows:
    """One model's answers to the held-out texts."""

    classes: tuple[str, ...]
    """Class names in column order."""
    held_out: HeldOut
    """The rows that were answered."""
    class_logprobs: Float[np.ndarray, "n n_classes"]
    """Natural log of each class's total probability."""
    entropy: Float[np.ndarray, " n"]
    """Entropy of the next token over the whole vocabulary, nats."""

    def part(self, name: str) -> "EvaluatedRows":
        """Return only the rows of one part."""
        return self.take(np.flatnonzero(np.array(self.held_out.parts) == name))

    def take(self, rows: Int[np.ndarray, " m"]) -> "EvaluatedRows":
        """Return some rows, in the order given."""
        held = self.held_out
        return EvaluatedRows(
            classes=self.classes,
            held_out=HeldOut(
                texts=tuple(held.texts[i] for i in rows),
                labels=held.labels[rows],
                parts=tuple(held.parts[i] for i in rows),
                categories=tuple(held.categories[i] for i in rows),
                truth=held.truth[rows] if held.truth is not None else None,
            ),
            class_logprobs=self.class_logprobs[rows],
            entropy=self.entropy[rows],
        )

    def n_different(self) -> float:
        """Return how many rows of different texts tell as much as these, at most their number.

        Equal texts (but for case and white space) are right or wrong together.

        Source: Kish 1965, Survey Sampling: the design effect of clusters of like members.
        """
        counts = Counter(map(normalise, self.held_out.texts))
        sizes = np.array(list(counts.values()), dtype=np.float64)
        return float(sizes.sum() ** 2 / (sizes**2).sum()) if sizes.size else 0.0

    def save(self, path: Path) -> None:
        """Write the rows as one Parquet file, whole or not at all."""
        held = self.held_out
        text, numbers = pa.string(), pa.list_(pa.float64())
        truth = held.truth.tolist() if held.truth is not None else [None] * len(held)
        table = pa.table(
            {
                "text": pa.array(held.texts, text),
                "label": pa.array([self.classes[i] for i in held.labels], text),
                "part": pa.array(held.parts, text),
                "category": pa.array(held.categories, text),
                "truth": pa.array(truth, numbers),
                "class_logprobs": pa.array(self.class_logprobs.tolist(), numbers),
                "entropy": self.entropy,
            },
        ).replace_schema_metadata({"classes": "\x1f".join(self.classes)})
        with atomic_file(path) as file:
            pq.write_table(table, file, write_page_checksum=True)

    @classmethod
    def load(cls, path: Path) -> "EvaluatedRows":
        """Read rows that ``save`` wrote.

        Raises:
            CorruptArtifact: The file is absent, damaged or lacks a column.
        """
        try:
            # pyarrow's other reader, and its to_numpy, import pandas for half a second. A flipped
            # bit would be another figure.
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read()
            metadata = table.schema.metadata or {}
            classes = tuple(metadata[b"classes"].decode().split("\x1f"))
            columns = {
                name: table.column(name).to_pylist()
                for name in ("text", "label", "part", "category")
            }
            truth = table.column("truth")
            is_known = len(truth) > 0 and truth[0].is_valid
            held = HeldOut(
                texts=tuple(columns["text"]),
                labels=np.array([classes.index(name) for name in columns["label"]], dtype=np.int64),
                parts=tuple(columns["part"]),
                categories=tuple(columns["category"]),
                truth=_matrix(truth, len(classes)) if is_known else None,
            )
            return cls(
                classes=classes,
                held_out=held,
                class_logprobs=_matrix(table.column("class_logprobs"), len(classes)),
                entropy=np.array(
                    np.from_dlpack(table.column("entropy").combine_chunks()), dtype=np.float64
                ),
            )
        except (pa.ArrowException, KeyError, ValueError, OSError) as error:
            raise CorruptArtifact(
                path,
                f"the evaluated rows cannot be read ({error})",
                remedy="Run 'glassbox evaluate' again: cached answers are reused.",
            ) from error


def _matrix(column: pa.ChunkedArray, width: int) -> Float[np.ndarray, "n width"]:
    """Return a column of lists without a Python object for each of its numbers.

    Raises:
        ValueError: Lists of another length.
        ArrowTypeError: Numbers that are missing.
    """
    numbers = np.from_dlpack(column.combine_chunks().flatten())
    return np.array(numbers, dtype=np.float64).reshape(len(column), width)


def shared_rows(answers: Sequence[EvaluatedRows]) -> list[EvaluatedRows]:
    """Return the answers to the texts that all of these hold, so that their rows are paired."""
    kept = set.intersection(*(set(rows.held_out.texts) for rows in answers))
    return [
        rows.take(
            np.array([i for i, text in enumerate(rows.held_out.texts) if text in kept], dtype=int)
        )
        for rows in answers
    ]


@dataclass(frozen=True)
class Overlong:
    """Texts that did not fit the model's context, and what became of them."""

    n_truncated: int
    """Texts whose end was cut."""
    n_skipped: int
    """Texts that were left out."""

    def remarks(self) -> list[str]:
        """Return what a person should hear about: nothing is left out in silence."""
        counts = (
            (self.n_truncated, "texts were cut to fit the model's context"),
            (self.n_skipped, "texts were left out because they do not fit the model's context"),
        )
        return [f"{number} {what}." for number, what in counts if number]


@dataclass(frozen=True)
class Answered:
    """What asking a model came to."""

    rows: EvaluatedRows
    """Its answers; texts skipped as too long are absent."""
    n_computed: int
    """Answers computed in this call; the others were cached."""
    overlong: Overlong
    """Texts that did not fit, those with cached answers among them."""
    n_damaged: int
    """Cache files that were damaged and set aside."""

    def remarks(self) -> list[str]:
        """Return what a person should hear about."""
        found = self.overlong.remarks()
        if self.n_damaged:
            found.append(
                f"{counted(self.n_damaged, 'cache file was', 'cache files were')} damaged; "
                "the rows were computed again."
            )
        return found


def evaluate_rows(
    model: LabelModel,
    held_out: HeldOut,
    cache: RowCache,
    *,
    progress: Progress | None = None,
) -> Answered:
    """Return a model's answers to the held-out texts, computing only what is not cached.

    Each chunk is on disk before the next begins, so an interrupted evaluation goes on where it
    stopped.

    Raises:
        TextTooLong: A text does not fit and the policy is ``error``.
        NotEnoughData: No text fits, and the policy is ``skip``.
        NonFiniteOutput: The model answered NaN or infinity.
        NoDiskSpace: The cache could not be written.
    """
    wanted = cache.find(held_out.texts).missing
    first = len(held_out) - len(wanted)
    computed = 0
    for start in range(0, len(wanted), CHUNK_ROWS):
        texts = [held_out.texts[i] for i in wanted[start : start + CHUNK_ROWS]]
        report = _shifted(progress, first + start, len(held_out))
        answer = model.label_probs(texts, progress=report)
        cache.add([texts[i] for i in answer.kept], answer.class_logprobs, answer.entropy)
        computed += len(answer.kept)
    if progress is not None:
        progress(len(held_out), len(held_out))
    found = cache.find(held_out.texts)
    rows = EvaluatedRows(model.labels.classes, held_out, found.class_logprobs, found.entropy)
    if found.missing:
        rows = rows.take(np.setdiff1d(np.arange(len(held_out)), np.array(found.missing)))
    if not len(rows.held_out):
        raise NotEnoughData(
            "Asking the model (held-out texts that fit its context)",
            0,
            1,
            unit="text",
            remedy="Shorten them, or evaluate with --overlong truncate (keeps the beginning).",
        )
    overlong = Overlong(_n_truncated(model, held_out.texts), len(found.missing))
    return Answered(rows, computed, overlong, len(cache.damaged))


def _n_truncated(model: LabelModel, texts: Sequence[str]) -> int:
    """Return how many texts are cut; the cache does not say so of its answers."""
    if model.prompts.overlong != "truncate":
        return 0
    chunks = (texts[at : at + CHUNK_ROWS] for at in range(0, len(texts), CHUNK_ROWS))
    return sum(map(model.prompts.n_overlong, chunks))


def _shifted(progress: Progress | None, start: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, _all: progress(start + done, total)
