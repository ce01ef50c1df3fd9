"""The main job from labelled texts to a classifier with a threshold, one stage after another.

Every stage leaves its result in the run folder and finds it there when the same job is started
again, so a kill costs at most the chunk that was being worked on. Knows nothing of terminals: it
reports progress to whoever asked.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glassbox.artifacts import Classifier, digest_json
from glassbox.confidence import analysed, tuning
from glassbox.confidence.analysed import Question, RunAnalysis
from glassbox.confidence.baseline import fit_baseline
from glassbox.confidence.cache import EvaluatorKey
from glassbox.confidence.consistency import check_samples, paraphrased
from glassbox.confidence.data import LabelledTexts, read_texts
from glassbox.confidence.evaluation import EvaluatedRows, HeldOut, evaluate_rows
from glassbox.confidence.held_out import HeldOutRows
from glassbox.confidence.job import Job, OpenEngine, Report, Stages
from glassbox.confidence.labels import LabelSet, default_labels, load_labels
from glassbox.confidence.record import manifest, run_record
from glassbox.confidence.run import RunFolder
from glassbox.confidence.scoring import LabelModel
from glassbox.confidence.split import Split, split_rows
from glassbox.engine.protocol import AdapterFit, Engine, Example
from glassbox.errors import InvalidValue

Say = Callable[[str], None]
"""Called with one line for people: what was found, what it will take."""


@dataclass(frozen=True)
class Material:
    """What a run works on, before any model is asked."""

    texts: LabelledTexts
    """All rows."""
    labels: LabelSet
    """Classes, verbalisers and prompt."""
    split: Split
    """Which row belongs to which part."""
    held_out: HeldOut
    """The rows that tuning never sees."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run leaves in memory."""

    analysis: RunAnalysis
    """Everything measured."""
    classifier: Classifier
    """The manifest that serves and registers."""
    fit: AdapterFit | None
    """The tuning of this very call, if any."""
    seconds: Mapping[str, float]
    """Time of each stage."""


def prepare(job: Job) -> Material:
    """Return texts, labels and split of a job, and write ``test_set.json``.

    Raises:
        UsageError: The data or the label set cannot be used; says what to change.
    """
    choice = job.data
    labels = None if choice.labels_file is None else load_labels(choice.labels_file)
    texts = read_texts(
        choice.source,
        text_column=choice.text_column,
        label_column=choice.label_column,
        labels=labels,
    )
    if labels is None:
        labels = default_labels(texts.classes)
    split = split_rows(texts, seed=job.seed, classes=labels.classes)
    rows = HeldOutRows.of(texts, split)
    if choice.sample is not None:
        rows = rows.sample(choice.sample)
    rows.save(RunFolder(job.out).test_set)
    return Material(texts, labels, split, HeldOut.of(rows, labels.classes))


class MainJob:
    """One run of the main job.

    Args:
        job: What to do.
        open_engine: Makes a model resident.
        stages: Opens a stage to report progress to.
        say: Told what was found and what it will take.
    """

    def __init__(self, job: Job, open_engine: OpenEngine, stages: Stages, say: Say) -> None:
        if job.model.adapter is not None and job.tuning != "no":
            raise InvalidValue(
                "adapter",
                job.model.adapter,
                "an adapter or tuning, not both",
                remedy="An adapter that is brought along is used as it is.",
            )
        if job.samples:
            check_samples(job.samples)
        self.job = job
        self.folder = RunFolder(job.out)
        self.seconds: dict[str, float] = {}
        self._open_engine = open_engine
        self._stages = stages
        self._say = say

    def evaluate(self) -> Outcome:
        """Return what came of the whole job; charts and report are drawn by whoever asked.

        Raises:
            UsageError: Data, labels or model cannot be used.
            NonFiniteOutput: The model answered NaN or infinity.
            NoDiskSpace: The run folder's device is full; starting again goes on.
        """
        material, engine = self._begin()
        model = LabelModel(engine, material.labels, overlong=self.job.overlong)
        answers = {"base": self._ask("base", model, material)}
        fit, adapter = self._adapter(model, material)
        if adapter is not None:
            name = engine.load_adapter(adapter)
            model = LabelModel(engine, material.labels, adapter=name, overlong=self.job.overlong)
            answers["tuned"] = self._ask("tuned", model, material)
        with self._stage("tfidf", "Fitting a bag of words to compare with"):
            answers["tfidf"] = _bag_of_words(material)
        paraphrases = self._ask_in_other_words(model, material)
        with self._stage("analyse", "Calibrating and measuring"):
            analysis = analysed.analyse(_common(answers), paraphrases, self._question())
            analysed.save(analysis, paraphrases, self.folder)
        classifier = manifest(self.job, engine, material.labels, analysis, adapter, model.adapter)
        classifier.save(self.folder.root)
        self.folder.write_run(
            run_record(
                self.job,
                engine.info,
                material.texts,
                material.split.sizes,
                self.seconds,
                classifier,
            )
        )
        return Outcome(analysis, classifier, fit, self.seconds)

    def tune(self) -> AdapterFit:
        """Fit LoRA weights alone; an evaluation can follow in the same run folder.

        Raises:
            UsageError: Data, labels or model cannot be used.
        """
        material, engine = self._begin()
        return self._fit(LabelModel(engine, material.labels, overlong=self.job.overlong), material)

    def _begin(self) -> tuple[Material, Engine]:
        self.folder.create()
        with self._stage("read", "Reading the texts"):
            material = prepare(self.job)
        sizes = material.split.sizes
        self._say(material.texts.describe())
        self._say(
            f"{len(material.labels.classes)} classes: {', '.join(material.labels.classes)}. "
            f"Rows: train {sizes.train}, validation {sizes.validation}; held out: calibrator "
            f"{sizes.calibrator}, threshold {sizes.threshold}, test {sizes.test}."
        )
        with self._stage("load", "Loading the model"):
            engine = self._open_engine(replace(self.job.model, adapter=None))
        info = engine.info
        self._say(
            f"Model {info.name}: {info.n_parameters:,} parameters, {info.dtype} on {info.device}."
        )
        return material, engine

    @contextmanager
    def _stage(self, name: str, description: str) -> Iterator[Report]:
        started = time.perf_counter()
        with self._stages(description) as report:
            yield report
        self.seconds[name] = round(time.perf_counter() - started, 3)

    def _question(self) -> Question:
        job = self.job
        return Question(job.promise, job.costs, job.label_bias, job.samples, job.seed)

    def _ask(self, name: str, model: LabelModel, material: Material) -> EvaluatedRows:
        info = model.engine.info
        key = EvaluatorKey(
            model_digest=info.digest,
            adapter_digest=model.adapter,
            prompt_digest=digest_json([model.labels.digest, self.job.overlong]),
            dtype=info.dtype,
        )
        with self._stage(name, f"Asking the {name} model") as report:
            answered = evaluate_rows(
                model, material.held_out, key, self.folder.evaluation / "cache", progress=report
            )
        for line in answered.remarks():
            self._say(line)
        return answered.rows

    def _ask_in_other_words(
        self, model: LabelModel, material: Material
    ) -> tuple[EvaluatedRows, ...]:
        if not (self.job.samples and self.job.paraphrases):
            return ()
        others = [
            LabelModel(model.engine, labels, adapter=model.adapter, overlong=self.job.overlong)
            for labels in paraphrased(material.labels)[1:]
        ]
        return tuple(
            self._ask(f"reworded ({number})", other, material)
            for number, other in enumerate(others, start=1)
        )

    def _adapter(
        self, model: LabelModel, material: Material
    ) -> tuple[AdapterFit | None, Path | None]:
        job, own = self.job, self.folder.adapter
        if job.model.adapter is not None:
            return None, Path(job.model.adapter)
        if job.tuning == "no":
            if not (own / "adapter_model.safetensors").exists():
                return None, None
            self._say(f"Using the adapter in {own}; --retune fits it again.")
            return None, own
        if job.tuning == "again" and own.exists():
            shutil.rmtree(own)
        fit = self._fit(model, material)
        return fit, fit.folder

    def _fit(self, model: LabelModel, material: Material) -> AdapterFit:
        train = _examples(model, material, material.split.train)
        validation = _examples(model, material, material.split.validation)
        verbalisers = model.verbalisers
        loss = tuning.label_loss(verbalisers.groups, verbalisers.nested)
        rank = self.job.rank or tuning.default_rank(model.engine.info.d_model)
        recipe = replace(self.job.recipe, rank=rank, alpha=2 * rank, seed=self.job.seed)
        if not self.folder.adapter.exists():
            with self._stage("forecast", "Trying out one batch"):
                measured = tuning.probe(
                    model.engine, train, verbalisers.continuations, loss, recipe
                )
            work = tuning.Workload(
                n_train=len(train),
                n_validation=len(validation),
                n_inference=len(material.held_out),
                tokens=float(np.mean([len(each.prompt) for each in train])),
            )
            self._say(_sentence(tuning.forecast(model.engine.info, measured, work, recipe)))
        with self._stage("tune", "Tuning") as report:
            fit = model.engine.fit_adapter(
                train,
                validation,
                verbalisers.continuations,
                loss,
                self.folder.adapter,
                recipe,
                progress=lambda _point, done, total: report(done, total),
            )
        self._say(
            f"Trained {fit.n_trainable:,} of {fit.n_parameters:,} parameters "
            f"({fit.n_trainable / fit.n_parameters:.1%}); lowest validation loss "
            f"{min(point.validation_loss for point in fit.curve):.4f} at step {fit.best_step}."
        )
        return fit


def _common(answers: Mapping[str, EvaluatedRows]) -> dict[str, EvaluatedRows]:
    """Return the answers to the texts that every model answered, so that rows are paired."""
    kept = set.intersection(*(set(rows.held_out.texts) for rows in answers.values()))
    return {
        name: rows.take(
            np.array([i for i, text in enumerate(rows.held_out.texts) if text in kept], dtype=int)
        )
        for name, rows in answers.items()
    }


def _examples(model: LabelModel, material: Material, rows: tuple[int, ...]) -> list[Example]:
    texts, classes = material.texts, material.labels.classes
    built = model.prompts.build([texts.texts[i] for i in rows])
    targets = [classes.index(texts.labels[i]) for i in rows]
    return [
        Example(prompt, targets[place])
        for prompt, place in zip(built.prompts, built.kept, strict=True)
    ]


def _bag_of_words(material: Material) -> EvaluatedRows:
    texts, classes = material.texts, material.labels.classes
    train, validation = (
        ([texts.texts[i] for i in rows], [texts.labels[i] for i in rows])
        for rows in (material.split.train, material.split.validation)
    )
    model = fit_baseline(*train, classes, validation=validation)
    probs = model.label_probs(material.held_out.texts)
    logprobs = np.log(np.clip(probs, np.finfo(np.float64).tiny, 1.0))
    return EvaluatedRows(classes, material.held_out, logprobs, -(probs * logprobs).sum(axis=1))


def _sentence(expected: tuning.Forecast) -> str:
    gib = 2**30
    return (
        f"Tuning trains {expected.trainable_fraction:.1%} of the parameters and will take about "
        f"{_duration(expected.tuning_seconds)} and {expected.tuning_memory_bytes / gib:.1f} GiB; "
        f"each evaluation about {_duration(expected.inference_seconds)} and "
        f"{expected.inference_memory_bytes / gib:.1f} GiB."
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
