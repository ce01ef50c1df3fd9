"""What a run works on, before any model is asked: texts, labels and their split."""

from dataclasses import dataclass

from glassbox.confidence.data.held_out import HeldOutRows
from glassbox.confidence.data.labelled import LabelledTexts, read_texts
from glassbox.confidence.data.split import Split, rare_classes, split_rows
from glassbox.confidence.evaluation.rows import HeldOut
from glassbox.confidence.job import Job
from glassbox.confidence.labels import LabelSet, default_labels, load_labels


@dataclass(frozen=True)
class Material:
    """What a run works on, before any model is asked."""

    texts: LabelledTexts
    """All rows."""
    labels: LabelSet
    """Classes, verbalisers and prompt."""
    split: Split
    """Which row belongs to which part."""
    rows: HeldOutRows
    """The rows that tuning never sees, as they are written down."""
    held_out: HeldOut
    """The same as columns."""

    @property
    def description(self) -> str:
        """What was read, what was odd about it, and which classes a part has none of."""
        return f"{self.texts.describe()} {rare_classes(self.texts, self.split)}".rstrip()


def prepare(job: Job) -> Material:
    """Return texts, labels and split of a job; nothing is written.

    Raises:
        UsageError: The data or the label set cannot be used; says what to change.
    """
    choice = job.data
    labels = None if choice.labels_file is None else load_labels(choice.labels_file)
    texts = read_texts(
        choice.source,
        text_column=choice.text_column,
        label_column=choice.label_column,
        data_format=choice.data_format,
        encoding=choice.encoding,
        labels=labels,
        bad_rows=choice.bad_rows,
    )
    if labels is None:
        labels = default_labels(texts.classes)
    split = split_rows(texts, seed=job.seed, classes=labels.classes)
    rows = HeldOutRows.of(texts, split)
    if choice.sample is not None:
        rows = rows.sample(choice.sample)
    return Material(texts, labels, split, rows, HeldOut.of(rows, labels.classes))
