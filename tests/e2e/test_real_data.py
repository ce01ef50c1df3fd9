"""The main job on real reviews with real models: whatever the accuracy, the promises hold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from glassbox.artifacts import Classifier
from glassbox.confidence.analysis.figures import Answers, probs_of
from glassbox.confidence.job import Promise
from glassbox.confidence.reporting.sentences import verdict
from glassbox.confidence.run import RunFolder
from glassbox.stats.selective.threshold import choose_threshold
from tests.e2e.jobs import POLARITY, quick_job, run_job

pytestmark = pytest.mark.data

N_DRAWS = 200
DELTA = 0.1


def sst2(data_dir: Path, _folder: Path) -> Path:
    return data_dir / "text-classification" / "sst2" / "stsa.binary.test"


def rt_polarity(data_dir: Path, folder: Path) -> Path:
    """A folder with a file per class, a third of the rows: the test is about promises, not size."""
    for name, stem in (("pos", "positive"), ("neg", "negative")):
        path = data_dir / "text-classification" / "rt-polarity" / f"rt-polarity.{name}"
        lines = path.read_text(encoding="utf-8").split("\n")[::3]
        (folder / f"{stem}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["tiny", "stories260K"])
def model(request, data_dir):
    return "tiny" if request.param == "tiny" else data_dir / "models" / request.param


@pytest.fixture(scope="module", params=[sst2, rt_polarity])
def finished(request, model, data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    (folder / "labels.toml").write_text(POLARITY)
    (folder / "texts").mkdir()
    job = quick_job(model, request.param(data_dir, folder / "texts"), folder / "run")
    job = replace(job, data=replace(job.data, labels_file=folder / "labels.toml"))
    outcome, said = run_job(job)
    return job, outcome, said


def test_the_calibrated_error_is_shown_against_what_perfection_would_show(finished):
    _, outcome, _ = finished
    final = outcome.analysis.final
    raw, best = final.metrics["identity"], final.best
    assert 0.0 <= best.accuracy.low <= best.accuracy.estimate <= best.accuracy.high <= 1.0
    assert 0.0 < best.null.mean < best.null.quantile_99
    if raw.ece.estimate > raw.null.quantile_99:
        assert best.ece.estimate < raw.ece.estimate
    sentence = verdict(outcome.analysis)[-1]
    assert f"{best.ece.estimate:.3f}" in sentence
    assert f"{best.null.quantile_99:.3f}" in sentence


def test_the_promise_is_kept_as_often_as_it_says(finished):
    _, outcome, _ = finished
    final = outcome.analysis.final
    calibrator = final.calibrators[final.chosen]
    pool = np.concatenate([final.rows.part(part).held_out.labels for part in ("threshold", "test")])
    probs = np.concatenate(
        [
            calibrator.apply(probs_of(final.rows.part(part), final.bias))
            for part in ("threshold", "test")
        ]
    )
    everyone = Answers(probs, pool)
    confidence, correct = everyone.confidence, everyone.correct
    # A promise just out of reach of automating everything, so that the test has work to do.
    promise = Promise(max_error=float(0.9 * (1.0 - correct.mean())), confidence_level=1.0 - DELTA)
    draw = np.random.default_rng(0)
    n_rows = len(final.rows.part("threshold").held_out)
    broken = 0
    for _ in range(N_DRAWS):
        rows = draw.integers(0, len(pool), size=n_rows)
        found = choose_threshold(
            confidence[rows],
            correct[rows],
            max_error=promise.max_error,
            confidence_level=promise.confidence_level,
        )
        if found.value is not None:
            automated = confidence >= found.value
            broken += bool((~correct[automated]).mean() > promise.max_error)
    assert broken <= binom.ppf(0.999, N_DRAWS, DELTA)


def test_a_second_start_computes_nothing_and_changes_nothing(finished):
    job, outcome, _ = finished
    folder = RunFolder(job.out)
    before = {path: path.read_bytes() for path in (folder.results, folder.calibrators)}
    parts = sorted((folder.evaluation / "cache").rglob("*"))
    again, _ = run_job(job)
    assert again.classifier == outcome.classifier == Classifier.load(job.out)
    assert {path: path.read_bytes() for path in before} == before
    assert sorted((folder.evaluation / "cache").rglob("*")) == parts


def test_what_was_read_is_said(finished):
    _, _, said = finished
    assert "rows" in said[0]
    assert "calibrator" in said[1]
