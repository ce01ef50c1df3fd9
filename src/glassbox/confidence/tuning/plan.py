"""What a run's tuning is to learn, from what and how, before any of it is done.

So an adapter that the run folder already holds can be told from the one that is asked for. Knows
nothing of stages or files beside the adapter's.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from glassbox.artifacts import read_object
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.data.labelled import LabelledTexts
from glassbox.confidence.data.split import Split
from glassbox.confidence.evaluation.rows import Overlong
from glassbox.confidence.job import Job
from glassbox.confidence.tuning import loss
from glassbox.engine.fitting.fit import FitTask, fingerprint_of
from glassbox.engine.lora.files import ORIGIN_FILE, ORIGIN_SCHEMA, STATE_FILE, WEIGHTS_FILE
from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.errors import AdapterMismatch


@dataclass(frozen=True)
class TuningPlan:
    """A fit as it is asked for."""

    task: FitTask
    """Examples, continuations and loss."""
    recipe: AdapterRecipe
    """Sizes and rates."""
    overlong: Overlong
    """Texts that did not fit the context."""


def plan_tuning(model: LabelModel, texts: LabelledTexts, split: Split, job: Job) -> TuningPlan:
    """Return the fit that a job asks for.

    Raises:
        TextTooLong: A text does not fit and the policy is ``error``.
    """
    train, cut = _examples(model, texts, split.train)
    validation, also_cut = _examples(model, texts, split.validation)
    verbalisers = model.verbalisers
    rank = job.rank or loss.default_rank(model.engine.info.d_model)
    return TuningPlan(
        task=FitTask(
            train,
            validation,
            verbalisers.continuations,
            loss.label_loss(verbalisers.groups, verbalisers.nested),
        ),
        recipe=replace(job.recipe, rank=rank, alpha=2 * rank, seed=job.seed),
        overlong=Overlong(
            cut.n_truncated + also_cut.n_truncated, cut.n_skipped + also_cut.n_skipped
        ),
    )


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds the state of a fit that was interrupted."""
    return (folder / STATE_FILE).exists() and not (folder / ORIGIN_FILE).exists()


def check_own(folder: Path, plan: TuningPlan, base_digest: str) -> None:
    """Refuse to put a fit in the place of a finished adapter that was tuned otherwise.

    Raises:
        AdapterMismatch: The folder holds such an adapter; says what differs.
        CorruptArtifact: Its description is damaged.
    """
    if not (folder / WEIGHTS_FILE).exists() or is_unfinished(folder):
        return
    differs = "nobody knows how: it comes from another program"
    if (folder / ORIGIN_FILE).exists():
        origin = read_object(folder / ORIGIN_FILE, schema=ORIGIN_SCHEMA)
        wanted = fingerprint_of(plan.task, plan.recipe, base_digest).digest
        if origin.get("fingerprint") == wanted:
            return
        before = origin.get("recipe") or {}
        differs = ", ".join(
            f"{name} {before.get(name)} instead of {value}"
            for name, value in asdict(plan.recipe).items()
            if before.get(name) != value
        )
        if origin.get("base_digest") != base_digest:
            differs = "another base model"
    raise AdapterMismatch(
        f"The adapter in {folder} was tuned otherwise "
        f"({differs or 'other texts, labels or prompt'}). --retune replaces it; --out with another "
        "folder keeps it."
    )


def _examples(
    model: LabelModel, texts: LabelledTexts, rows: Sequence[int]
) -> tuple[list[Example], Overlong]:
    built = model.prompts.build([texts.texts[i] for i in rows])
    targets = [model.labels.classes.index(texts.labels[i]) for i in rows]
    examples = [
        Example(prompt, targets[place])
        for prompt, place in zip(built.prompts, built.kept, strict=True)
    ]
    return examples, Overlong(len(built.truncated), built.n_skipped)
