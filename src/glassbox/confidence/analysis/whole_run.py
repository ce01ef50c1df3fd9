"""A whole run analysed: every model of it, how they differ, and what the threshold promises.

``analyse`` fits calibrators and measures; ``reopen`` does the measuring again from a finished run
folder, with the calibrators that are kept there and without any model.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from glassbox.artifacts import Classifier, read_object, write_json
from glassbox.confidence.analysis.figures import (
    Difference,
    ModelAnalysis,
    analyse_model,
    difference,
    fit_all,
    promised,
)
from glassbox.confidence.asking.consistency import ConsistencyValue, consistency_value
from glassbox.confidence.evaluation.rows import EvaluatedRows, shared_rows
from glassbox.confidence.job import Promise
from glassbox.confidence.run import RunFolder
from glassbox.errors import CorruptArtifact, InvalidValue
from glassbox.stats.calibrators.choice import (
    CalibratorChoice,
    CandidateResult,
    calibrator_from_json,
)
from glassbox.stats.calibrators.label_bias import LabelBias
from glassbox.stats.calibrators.parametric import Calibrator
from glassbox.stats.selective.business import Costs

CALIBRATORS_SCHEMA = 1
"""Version of the layout of ``calibrators.json``."""

MODELS = ("base", "tuned", "tfidf")
"""Names of the models that a run may hold, in the order in which they are shown."""

PARAPHRASE = "paraphrase"
"""File name stem of the answers to reworded prompts."""

Fitted = tuple[Mapping[str, Calibrator], CalibratorChoice, LabelBias | None]


@dataclass(frozen=True)
class Question:
    """What has to be known besides the rows to analyse a run."""

    promise: Promise
    """What the threshold has to guarantee."""
    costs: Costs | None = None
    """What mistakes and reviews cost."""
    label_bias: bool = False
    """Whether class offsets are taken off."""
    samples: int = 0
    """Consistency samples a text; 0 leaves it out."""
    seed: int = 0
    """Of bootstrap, simulation and sampling."""


@dataclass(frozen=True)
class RunAnalysis:
    """Everything measured in one run."""

    models: Mapping[str, ModelAnalysis]
    """By name: ``base``, and ``tuned`` and ``tfidf`` where there are any."""
    differences: tuple[Difference, ...]
    """Tuned against base, and the final model against TF-IDF."""
    consistency: ConsistencyValue | None
    """What k samples cost and added."""
    question: Question
    """What was asked."""

    @property
    def final(self) -> ModelAnalysis:
        """The model that will answer: the tuned one where there is one."""
        return self.models["tuned" if "tuned" in self.models else "base"]


def analyse(
    rows: Mapping[str, EvaluatedRows],
    paraphrases: tuple[EvaluatedRows, ...],
    question: Question,
    fitted: Mapping[str, Fitted] | None = None,
) -> RunAnalysis:
    """Return everything measured about some models' answers to the same held-out texts.

    Args:
        rows: Answers by model name.
        paraphrases: The final model's answers to reworded prompts.
        question: Promise, costs and seeds.
        fitted: Calibrators that exist already; None fits them.

    Raises:
        NotEnoughData: A part is too small.
    """
    bias, seed = question.label_bias, question.seed
    if fitted is None:
        fitted = {
            name: fit_all(each, use_bias=bias and name != "tfidf", seed=seed)
            for name, each in rows.items()
        }
    models = {
        name: analyse_model(
            name, rows[name], fitted[name], question.promise, costs=question.costs, seed=seed
        )
        for name in MODELS
        if name in rows
    }
    final = models["tuned" if "tuned" in models else "base"]
    pairs = [("base", "tuned"), ("tfidf", final.name)]
    return RunAnalysis(
        models=models,
        differences=tuple(
            difference(models[one], models[two], seed=seed)
            for one, two in pairs
            if one in models and two in models
        ),
        consistency=_consistency(final, paraphrases, question) if question.samples else None,
        question=question,
    )


def _consistency(
    final: ModelAnalysis, paraphrases: tuple[EvaluatedRows, ...], question: Question
) -> ConsistencyValue:
    # A longer wording may not fit where the plain one does.
    prompts = shared_rows((final.rows, *paraphrases))
    fit, test = ([each.part(part) for each in prompts] for part in ("calibrator", "test"))
    return consistency_value(
        [each.class_logprobs for each in fit],
        fit[0].held_out.labels,
        [each.class_logprobs for each in test],
        test[0].held_out.labels,
        question.samples,
        bias=final.bias,
        seed=question.seed,
    )


def with_promise(run: RunAnalysis, promise: Promise, costs: Costs | None = None) -> RunAnalysis:
    """Return the same run with its thresholds chosen for another promise.

    Args:
        run: What was measured.
        promise: What the threshold has to guarantee now.
        costs: What mistakes and reviews cost now; None keeps what the run was told.
    """
    kept = run.question.costs if costs is None else costs
    # What does not hang on the promise is taken over: of many rows, measuring takes minutes.
    models = {name: promised(each, promise, kept) for name, each in run.models.items()}
    return replace(run, models=models, question=replace(run.question, promise=promise, costs=kept))


def save(run: RunAnalysis, paraphrases: tuple[EvaluatedRows, ...], folder: RunFolder) -> None:
    """Write evaluated rows, calibrators and results into a run folder.

    Until its ``run.json`` is written again, the folder holds no finished run.

    Raises:
        NoDiskSpace: The device is full.
    """
    folder.run_json.unlink(missing_ok=True)
    for name, model in run.models.items():
        model.rows.save(folder.evaluation / f"{name}.parquet")
    for stale in _paraphrase_files(folder.evaluation):
        stale.unlink()
    for number, rows in enumerate(paraphrases, start=1):
        rows.save(folder.evaluation / f"{PARAPHRASE}-{number}.parquet")
    save_figures(run, folder)


def save_figures(run: RunAnalysis, folder: RunFolder) -> None:
    """Write calibrators and results alone; the rows stay as they are."""
    write_json(
        folder.calibrators,
        {
            "schema_version": CALIBRATORS_SCHEMA,
            "question": asdict(run.question),
            "models": {name: _fitted_json(each) for name, each in run.models.items()},
        },
    )
    folder.write_results(summary(run))


def save_choice(run: RunAnalysis, folder: RunFolder) -> Classifier:
    """Make a run's calibrator and threshold those of this analysis, and return its manifest.

    In between, ``run.json`` names no classifier: what a kill leaves is not taken for a whole run.
    The caller has the folder alone since before it read the run: see ``RunFolder.alone``.

    Raises:
        CorruptArtifact: The run's manifest is damaged.
    """
    manifest = replace(Classifier.load(folder.root), **decided(run.final))
    record = folder.read_run(changing=True)
    folder.write_run({**record, "classifier": None})
    save_figures(run, folder)
    manifest.save(folder.root)
    folder.write_run({**record, "classifier": manifest.digest})
    return manifest


def decided(model: ModelAnalysis) -> dict[str, Any]:
    """Return what a classifier's manifest keeps of a model's analysis, by its fields."""
    return {
        "calibrator": orjson.loads(model.choice.calibrator.to_json()),
        "label_bias": None if model.bias is None else model.bias.offsets,
        "threshold": asdict(model.threshold),
    }


def recalibrate(folder: RunFolder, *, label_bias: bool | None = None) -> RunAnalysis:
    """Return a finished run with its calibrators fitted and chosen afresh.

    Args:
        folder: The run.
        label_bias: Whether class offsets are estimated and taken off first; None is as before.

    Raises:
        UnknownName: The folder holds no run.
        CorruptArtifact: A file of it is damaged.
        NotEnoughData: Too few calibrator rows.
    """
    rows, paraphrases, question, _ = _kept(folder, changing=True)
    if label_bias is not None:
        question = replace(question, label_bias=label_bias)
    return analyse(rows, paraphrases, question)


def reopen(folder: RunFolder, *, changing: bool = False) -> RunAnalysis:
    """Return the analysis of a finished run from its folder, without any model.

    Args:
        folder: The run.
        changing: Whether its calibrator and threshold are about to be replaced.

    Raises:
        UnknownName: The folder holds no run.
        CorruptArtifact: A file of it is damaged, or a change of the run was interrupted.
    """
    return analyse(*_kept(folder, changing=changing))


def _kept(
    folder: RunFolder, *, changing: bool
) -> tuple[dict[str, EvaluatedRows], tuple[EvaluatedRows, ...], Question, Mapping[str, Fitted]]:
    """Return what a finished run was made of: rows, reworded ones, question and calibrators."""
    folder.read_run(changing=changing)
    content = read_object(folder.calibrators, schema=CALIBRATORS_SCHEMA)
    try:
        asked = dict(content["question"])
        asked["promise"] = Promise(**asked["promise"])
        asked["costs"] = Costs(**asked["costs"]) if asked["costs"] else None
        question = Question(**asked)
        fitted = {
            name: _fitted(each, str(folder.calibrators)) for name, each in content["models"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, InvalidValue) as error:
        raise CorruptArtifact(folder.calibrators, f"incomplete ({error})") from error
    rows = {name: EvaluatedRows.load(folder.evaluation / f"{name}.parquet") for name in fitted}
    paraphrases = tuple(map(EvaluatedRows.load, _paraphrase_files(folder.evaluation)))
    return rows, paraphrases, question, fitted


def _paraphrase_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PARAPHRASE}-*.parquet"))


def _fitted_json(model: ModelAnalysis) -> dict[str, Any]:
    return {
        "chosen": model.chosen,
        "calibrators": {
            kind: orjson.loads(each.to_json()) for kind, each in model.calibrators.items()
        },
        "candidates": [asdict(each) for each in model.choice.candidates],
        "n_folds": model.choice.n_folds,
        "n_rows": model.choice.n_rows,
        "seed": model.choice.seed,
        "label_bias": None if model.bias is None else list(model.bias.offsets),
    }


def _fitted(content: Mapping[str, Any], source: str) -> Fitted:
    calibrators = {
        kind: calibrator_from_json(orjson.dumps(each).decode(), source=source)
        for kind, each in content["calibrators"].items()
    }
    choice = CalibratorChoice(
        calibrator=calibrators[content["chosen"]],
        candidates=tuple(CandidateResult(**each) for each in content["candidates"]),
        n_folds=content["n_folds"],
        n_rows=content["n_rows"],
        seed=content["seed"],
    )
    bias = content["label_bias"]
    return calibrators, choice, None if bias is None else LabelBias(tuple(bias))


def summary(run: RunAnalysis) -> dict[str, Any]:
    """Return every figure of a run as JSON values; each says which part it was measured on."""
    return {
        "measured_on": "test",
        "final": run.final.name,
        "models": {name: _model_summary(each) for name, each in run.models.items()},
        "differences": [asdict(each) for each in run.differences],
        "consistency": None if run.consistency is None else asdict(run.consistency),
        "question": asdict(run.question),
    }


def _model_summary(model: ModelAnalysis) -> dict[str, Any]:
    counts = {
        part: int(np.sum(np.array(model.rows.held_out.parts) == part))
        for part in ("calibrator", "threshold", "test")
    }
    return {
        "rows": counts,
        "calibrator": {
            "chosen": model.chosen,
            "fitted_on": "calibrator",
            "candidates": [asdict(each) for each in model.choice.candidates],
        },
        "metrics": {kind: asdict(each) for kind, each in model.metrics.items()},
        "threshold": {"chosen_on": "threshold", **asdict(model.threshold)},
        "classes": [
            {**asdict(each), "label": model.rows.classes[each.label]} for each in model.classes
        ],
        "outcome": None if model.outcome is None else asdict(model.outcome),
        "categories": [asdict(each) for each in model.categories],
        "truth": {kind: asdict(each) for kind, each in model.truth.items()},
        "mean_label_mass": model.mean_label_mass,
    }
