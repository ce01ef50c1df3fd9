"""Runs of many rows: their charts stay small, and no figure comes from fewer rows for it."""

import numpy as np
import pytest

from glassbox.charts.chart import numbers
from glassbox.confidence.analysis.whole_run import (
    Question,
    analyse,
    recalibrate,
    reopen,
    save,
    summary,
    with_promise,
)
from glassbox.confidence.evaluation.rows import EvaluatedRows
from glassbox.confidence.job import Promise
from glassbox.confidence.reporting.drawing import MOST_DOTS, MOST_POINTS, charts_of
from glassbox.confidence.run import RunFolder
from glassbox.stats.selective.ranking import risk_coverage_curve
from tests.confidence.rows_world import drawn_rows

QUESTION = Question(Promise(0.1, 0.9))


@pytest.fixture(scope="module")
def large():
    rows = drawn_rows(14_000, sharpness=1.5, noise=0.3)
    return analyse({"base": rows}, (), QUESTION)


def test_numbers_beside_pictures_do_not_grow_with_the_rows(large, tmp_path):
    charts = {each.info.name: numbers(each) for each in charts_of(large, RunFolder(tmp_path))}
    final = large.final
    n_rows = final.best.n_rows
    assert n_rows > MOST_DOTS
    for panel in charts["truth_versus_confidence"]["values"]["panels"]:
        assert len(panel["confidence"]) == len(panel["truth"]) <= MOST_DOTS
        assert sum(panel["bin_counts"]) == n_rows
    answers = final.answers[final.chosen]
    whole = risk_coverage_curve(answers.confidence, answers.correct)
    (series,) = [
        each
        for each in charts["risk_coverage"]["values"]["series"]
        if each["curve"]["aurc"] == whole.aurc
    ][:1]
    assert whole.coverage.size > MOST_POINTS
    assert len(series["curve"]["coverage"]) <= MOST_POINTS + len(series["coverage_at"])
    assert series["curve"]["n_rows"] == n_rows
    # The marks stand on the curve itself.
    places = np.searchsorted(series["curve"]["coverage"], [at for _, at in series["coverage_at"]])
    for (risk, coverage), place in zip(series["coverage_at"], places, strict=True):
        assert coverage == 0 or series["curve"]["coverage"][place] == coverage
        assert coverage == 0 or series["curve"]["risk"][place] <= risk
    corp = charts["reliability_raw_model_output"]["values"]["panel"]["corp"]
    assert len(corp["confidence"]) < MOST_POINTS
    assert corp["n_rows"] == n_rows


@pytest.mark.parametrize("promise", [Promise(0.05, 0.9), Promise(0.1, 0.99), Promise(0.0005)])
def test_another_promise_gives_what_measuring_anew_would(promise):
    rows = {"base": drawn_rows(), "tuned": drawn_rows(sharpness=1.5, noise=0.1)}
    run = analyse(rows, (), QUESTION)
    anew = analyse(rows, (), Question(promise))
    assert summary(with_promise(run, promise)) == summary(anew)


def test_calibrating_again_gives_what_the_first_time_gave(tmp_path):
    folder = RunFolder(tmp_path)
    run = analyse({"base": drawn_rows()}, (), QUESTION)
    save(run, (), folder)
    folder.write_run({})
    assert summary(recalibrate(folder)) == summary(run) == summary(reopen(folder))


@pytest.mark.parametrize("known", [True, False])
def test_rows_come_back_from_the_disk_bit_by_bit(tmp_path, known):
    rows = drawn_rows(300, known=known)
    rows.class_logprobs[7, 1] = -np.inf
    rows.save(tmp_path / "rows.parquet")
    again = EvaluatedRows.load(tmp_path / "rows.parquet")
    np.testing.assert_array_equal(again.class_logprobs, rows.class_logprobs)
    np.testing.assert_array_equal(again.entropy, rows.entropy)
    np.testing.assert_array_equal(again.held_out.labels, rows.held_out.labels)
    assert (again.held_out.truth is None) == (not known)
    if known:
        np.testing.assert_array_equal(again.held_out.truth, rows.held_out.truth)
