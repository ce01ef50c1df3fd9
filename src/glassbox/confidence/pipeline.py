"""The main job from labelled texts to a classifier with a threshold, one stage after another.

Every stage leaves its result in the run folder and finds it there when the same job is started
again, so a kill costs at most the chunk that was being worked on. What is wrong with the data is
told before torch and scikit-learn are imported. Knows nothing of terminals: it reports progress to
whoever asked.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glassbox.artifacts import Classifier, digest_json
from glassbox.confidence.analysis import whole_run
from glassbox.confidence.analysis.whole_run import Question, RunAnalysis
from glassbox.confidence.asking.consistency import check_samples, paraphrased
from glassbox.confidence.asking.forecast import (
    TRIED_TEXTS,
    Workload,
    forecast_asking,
    forecast_tuning,
    probe,
)
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.data.held_out import TEST_SET_SCHEMA, HeldOutRows
from glassbox.confidence.data.labelled import MOST_NAMED
from glassbox.confidence.data.tuned_rows import n_tuned_on, write_tuned_on
from glassbox.confidence.evaluation.cache import EvaluatorKey, RowCache
from glassbox.confidence.evaluation.rows import (
    EvaluatedRows,
    HeldOut,
    Overlong,
    evaluate_rows,
    shared_rows,
)
from glassbox.confidence.job import Job, OpenEngine
from glassbox.confidence.labels import LabelSet
from glassbox.confidence.material import Material, prepare
from glassbox.confidence.record import manifest, run_record
from glassbox.confidence.run import RunFolder
from glassbox.engine.protocol import AdapterFit, Engine
from glassbox.errors import AdapterMismatch, CorruptArtifact, InvalidValue
from glassbox.progress import Progress, Say, Stages
from glassbox.wording import listed, percent

if TYPE_CHECKING:
    from glassbox.confidence.tuning.plan import TuningPlan


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
        self.overlong: dict[str, Overlong] = {}
        self._open_engine = open_engine
        self._stages = stages
        self._say = say

    def evaluate(self) -> Outcome:
        """Return what came of the whole job; charts and report are drawn by whoever asked.

        Raises:
            UsageError: Data, labels or model cannot be used.
            AdapterMismatch: The adapter was tuned on texts that are held out here, or the run
                folder's own otherwise than asked for.
            ConflictError: A newer Glassbox has run there, or another process works there.
            NonFiniteOutput: The model answered NaN or infinity.
            NoDiskSpace: The run folder's device is full; starting again goes on.
        """
        with self._begun() as (material, engine):
            adapter = self._adapter_at_hand(engine, material.held_out)
            model = self._base_model(engine, material.labels)
            plan = self._tuning_plan(model, material)
            answers = {"base": self._ask("base", model, material)}
            fit = None if plan is None else self._fit(engine, material, plan)
            if fit is not None:
                adapter = fit.folder
            if adapter is not None:
                name = engine.load_adapter(adapter)
                model = LabelModel(
                    engine, material.labels, adapter=name, overlong=self.job.overlong
                )
                answers["tuned"] = self._ask("tuned", model, material)
            with self._stage("tfidf", "Fitting a bag of words to compare with") as report:
                answers["tfidf"] = _bag_of_words(material, report)
            paraphrases = self._ask_in_other_words(model, material)
            with self._stage("analyse", "Calibrating and measuring"):
                common = dict(zip(answers, shared_rows(list(answers.values())), strict=True))
                analysis = whole_run.analyse(common, paraphrases, self._question())
            classifier = manifest(
                self.job, engine, material.labels, analysis, adapter, model.adapter
            )
            # All that a finished run in the folder is replaced by comes together, at the end.
            whole_run.save(analysis, paraphrases, self.folder)
            material.rows.save(self.folder.test_set)
            classifier.save(self.folder.root)
            self.folder.write_run(
                run_record(
                    self.job,
                    engine.info,
                    material,
                    self.seconds,
                    self.overlong,
                    classifier,
                )
            )
            return Outcome(analysis, classifier, fit, self.seconds)

    def tune(self) -> AdapterFit:
        """Fit LoRA weights alone; an evaluation can follow in the same run folder.

        Raises:
            UsageError: Data, labels or model cannot be used, or tuning was not asked for.
            AdapterMismatch: The run folder's own adapter was tuned otherwise than asked for.
            ConflictError: A newer Glassbox has run there, or another process works there.
        """
        with self._begun() as (material, engine):
            plan = self._tuning_plan(self._base_model(engine, material.labels), material)
            if plan is None:
                raise InvalidValue("tuning", self.job.tuning, "missing or again")
            material.rows.save(self.folder.test_set)
            return self._fit(engine, material, plan)

    @contextmanager
    def _begun(self) -> Iterator[tuple[Material, Engine]]:
        self.folder.check()
        with self._stage("read", "Reading the texts"):
            material = prepare(self.job)
        # Only now: data that cannot be used leave no empty folder behind.
        with self.folder.alone():
            yield material, self._model_for(material)

    def _model_for(self, material: Material) -> Engine:
        self._compare_rows(material.rows)
        sizes = material.split.sizes
        self._say(material.description)
        names = material.labels.classes
        self._say(
            f"{len(names):,} classes: {listed(names, MOST_NAMED)}. "
            f"Rows: train {sizes.train:,}, validation {sizes.validation:,}; held out: calibrator "
            f"{sizes.calibrator:,}, threshold {sizes.threshold:,}, test {sizes.test:,}."
        )
        with self._stage("load", "Loading the model"):
            engine = self._open_engine(replace(self.job.model, adapter=None))
        info = engine.info
        self._say(
            f"Model {info.name}: {info.n_parameters:,} parameters, {info.dtype} on {info.device}."
        )
        if info.remark:
            self._say(info.remark)
        return engine

    def _base_model(self, engine: Engine, labels: LabelSet) -> LabelModel:
        model = LabelModel(engine, labels, overlong=self.job.overlong)
        if model.verbalisers.set_aside:
            self._say(
                "Not counted as answers, because the tokenizer joins them with the end of the "
                f"prompt: {', '.join(map(repr, model.verbalisers.set_aside))}."
            )
        return model

    def _compare_rows(self, rows: HeldOutRows) -> None:
        """Say so where the folder holds a run on other rows, whose results will be replaced."""
        if not self.folder.test_set.exists():
            return
        self.folder.check_age(self.folder.test_set, TEST_SET_SCHEMA)
        try:
            before = HeldOutRows.load(self.folder.test_set)
        except CorruptArtifact:
            self._say(f"{self.folder.test_set} is damaged and is written anew.")
            return
        if before.split_digest != rows.split_digest:
            what = "other data" if before.data_digest != rows.data_digest else "another split"
            self._say(
                f"{self.folder.root} holds a run on {what} (seed {before.seed}, {len(before):,} "
                "texts held out). Its results will be replaced; another folder for --out keeps "
                "them."
            )

    @contextmanager
    def _stage(self, name: str, description: str) -> Iterator[Progress]:
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
        cache = RowCache(self.folder.evaluation / "cache", key, len(model.labels.classes))
        texts = material.held_out.texts
        missing = [texts[i] for i in cache.find(texts).missing]
        if len(missing) > TRIED_TEXTS:
            with self._stage(f"{name} forecast", f"Trying out the {name} model"):
                expected = forecast_asking(model, missing)
            if expected.n_texts:  # none is left where all that are missing are too long
                self._say(expected.sentence)
        with self._stage(name, f"Asking the {name} model") as report:
            answered = evaluate_rows(model, material.held_out, cache, progress=report)
        self.overlong[name] = answered.overlong
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

    def _adapter_at_hand(self, engine: Engine, held_out: HeldOut) -> Path | None:
        """Return the adapter to be used as it is: brought along, or in the run folder."""
        from glassbox.engine.lora.files import WEIGHTS_FILE

        job, own = self.job, self.folder.adapter
        if job.tuning != "no":
            return None
        if job.model.adapter is not None:
            adapter = Path(job.model.adapter)
        elif (own / WEIGHTS_FILE).exists():
            self._say(f"Using the adapter in {own}; --retune fits it again.")
            adapter = own
        else:
            return None
        self._check_unseen(adapter, engine.load_adapter(adapter), held_out)
        return adapter

    def _check_unseen(self, adapter: Path, digest: str, held_out: HeldOut) -> None:
        """Refuse an adapter that has seen held-out texts: every figure would be too good."""
        n_seen = n_tuned_on(adapter, digest, held_out.texts)
        if n_seen:
            raise AdapterMismatch(
                f"The adapter in {adapter} was tuned on {n_seen:,} of the {len(held_out):,} texts "
                "that are held out here, so its figures would be too good. Fit it again with "
                "--retune, or evaluate it on the data and with the seed that it was tuned with."
            )
        if n_seen is None:
            self._say(
                f"The adapter in {adapter} does not say which texts it was tuned on. If any of "
                "them are held out here, its figures are too good."
            )

    def _tuning_plan(self, model: LabelModel, material: Material) -> "TuningPlan | None":
        """Return the fit that is asked for, before anything is written for it."""
        if self.job.tuning == "no":
            return None
        from glassbox.confidence.tuning.plan import check_own, plan_tuning

        plan = plan_tuning(model, material.texts, material.split, self.job)
        if self.job.tuning == "missing":
            check_own(self.folder.adapter, plan, model.engine.info.digest)
        self.overlong["tuning"] = plan.overlong
        for line in plan.overlong.remarks():
            self._say(f"For tuning {line}")
        return plan

    def _fit(self, engine: Engine, material: Material, plan: "TuningPlan") -> AdapterFit:
        from glassbox.confidence.tuning.plan import is_unfinished

        own, task, recipe = self.folder.adapter, plan.task, plan.recipe
        # An unfinished fit is what an interrupted --retune left: it goes on.
        if self.job.tuning == "again" and own.exists() and not is_unfinished(own):
            shutil.rmtree(own)
        if not own.exists():
            with self._stage("tuning forecast", "Trying out one batch"):
                measured = probe(engine, task.train, task.continuations, task.loss, recipe)
            prompts = [each.prompt for each in task.train]
            work = Workload(prompts, len(task.validation), task.continuations)
            self._say(forecast_tuning(engine.info, measured, work, recipe).sentence)
        with self._stage("tune", "Tuning") as report:
            fit = engine.fit_adapter(
                task.train,
                task.validation,
                task.continuations,
                task.loss,
                own,
                recipe,
                progress=lambda _point, done, total: report(done, total),
            )
        seen = (*material.split.train, *material.split.validation)
        write_tuned_on(fit.folder, fit.digest, (material.texts.texts[i] for i in seen))
        self._say(
            f"Trained {fit.n_trainable:,} of {fit.n_parameters:,} parameters "
            f"({percent(fit.n_trainable / fit.n_parameters, 1)}); lowest validation loss "
            f"{min(point.validation_loss for point in fit.curve):.4f} at step {fit.best_step}."
        )
        return fit


def _bag_of_words(material: Material, progress: Progress) -> EvaluatedRows:
    from glassbox.confidence.evaluation.baseline import fit_baseline

    texts, classes = material.texts, material.labels.classes
    train, validation = (
        ([texts.texts[i] for i in rows], [texts.labels[i] for i in rows])
        for rows in (material.split.train, material.split.validation)
    )
    model = fit_baseline(*train, classes, validation=validation, progress=progress)
    probs = model.label_probs(material.held_out.texts)
    logprobs = np.log(np.clip(probs, np.finfo(np.float64).tiny, 1.0))
    return EvaluatedRows(classes, material.held_out, logprobs, -(probs * logprobs).sum(axis=1))
