import collections
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glassbox.artifacts import Classifier, Part
from glassbox.confidence.analysis import whole_run
from glassbox.confidence.analysis.figures import METHODS
from glassbox.confidence.analysis.whole_run import Question, analyse, reopen, with_promise
from glassbox.confidence.job import Promise
from glassbox.confidence.reporting import drawing
from glassbox.confidence.reporting.comparing import compare_runs, comparison_table
from glassbox.confidence.reporting.sentences import label_mass, off_task, overlong, verdict
from glassbox.confidence.reporting.tables import (
    MOST_LINES,
    all_methods,
    automation,
    categories,
    class_checks,
    differences,
    terminal_tables,
    threshold_cell,
    truth,
)
from glassbox.confidence.run import RunFolder
from glassbox.errors import CorruptArtifact, NotEnoughData, UnknownName
from glassbox.stats.selective.business import Costs
from glassbox.wording import estimated
from tests.confidence.rows_world import drawn_rows

QUESTION = Question(Promise(0.1, 0.9), Costs(10.0, 1.0), samples=10)


@pytest.fixture(scope="module")
def run():
    rows = {
        "base": drawn_rows(3000, sharpness=3.0, noise=1.5),
        "tuned": drawn_rows(3000, sharpness=1.0),
    }
    return analyse(rows, (), QUESTION)


def test_every_calibrator_is_measured_on_the_test_part_alone(run):
    assert tuple(run.models["base"].metrics) == METHODS
    n_test = run.models["base"].rows.held_out.parts.count("test")
    assert {each.n_rows for each in run.models["base"].metrics.values()} == {n_test}


def test_calibration_mends_an_overconfident_model(run):
    raw, best = run.models["base"].metrics["identity"], run.models["base"].best
    assert raw.ece.low > raw.null.quantile_99
    assert best.ece.estimate < 0.5 * raw.ece.estimate
    assert best.nll < raw.nll


def test_a_perfect_model_shows_its_null_level(run):
    raw = run.models["tuned"].metrics["identity"]
    assert raw.ece.estimate <= raw.null.quantile_99
    assert run.models["tuned"].truth["identity"].mean_absolute_error < 1e-9
    assert "on average, and no model on more; on these very rows luck" in truth(run).notes[0]


def test_the_tuned_model_is_the_final_one_and_the_differences_are_paired(run):
    assert run.final.name == "tuned"
    (pair,) = run.differences
    assert (pair.first, pair.second) == ("base", "tuned")
    base, tuned = (run.models[name].best.accuracy.estimate for name in ("base", "tuned"))
    assert pair.accuracy.estimate == pytest.approx(tuned - base)


def test_the_model_named_first_is_the_one_whose_own_right_answers_come_first(run):
    (pair,) = run.differences
    ((name, points, _, only_first, only_second, _),) = differences(run).rows
    assert name == "tuned − base"
    assert int(only_first) - int(only_second) == round(
        pair.accuracy.estimate * run.final.best.n_rows
    )
    assert points.startswith(f"{100 * pair.accuracy.estimate:+.1f}")


def test_a_wording_that_some_texts_do_not_fit_is_compared_on_the_others(run):
    rows = run.models["base"].rows
    fewer = rows.take(np.flatnonzero(np.arange(len(rows.held_out)) % 7))
    found = analyse({"base": rows}, (fewer, rows), QUESTION).consistency
    assert found == analyse({"base": fewer}, (fewer, fewer), QUESTION).consistency
    assert found.n_prompts == 3


def test_figures_of_the_threshold_are_consistent(run):
    threshold, outcome = run.final.threshold, run.final.outcome
    assert threshold.error_upper_bound <= 0.1
    answers = run.final.answers[run.final.chosen]
    automated = answers.confidence >= threshold.value
    assert outcome.n_automated == automated.sum()
    assert outcome.n_errors == (~answers.correct[automated]).sum()
    assert outcome.cost_per_decision == pytest.approx(
        (10.0 * outcome.n_errors + (len(automated) - outcome.n_automated)) / len(automated)
    )


def test_categories_partition_the_test_part(run):
    assert sum(each.n_rows for each in run.final.categories) == run.final.best.n_rows


@pytest.mark.parametrize("n", [8, 20, 60])
def test_a_handful_of_rows_gives_figures_and_no_threshold(n):
    few = analyse({"base": drawn_rows(n)}, (), QUESTION)
    assert few.final.choice.n_folds == min(5, n // 4)
    assert few.final.chosen == "identity" or n // 4 >= 10
    assert (few.final.best.debiased_ece is None) == (few.final.best.n_rows < 15)
    assert few.final.threshold.value is None
    assert "No safe threshold" in verdict(few)[0]
    (debiased,) = {row[4] for row in all_methods(few).rows if row[1].startswith("raw")}
    assert (debiased == "–") == (few.final.best.n_rows < 15)


def test_rows_of_the_threshold_part_are_told_as_texts_to_label():
    refused, in_all, *_ = verdict(analyse({"base": drawn_rows(20)}, (), QUESTION))
    threshold = analyse({"base": drawn_rows(20)}, (), QUESTION).final.threshold
    taken = threshold.n_more * threshold.n_rows / threshold.n_start / 0.07
    assert f"about {estimated(threshold.n_more)} more labelled rows" in refused
    assert f"on 7 % of them, so that takes about {taken:,.0f}"[:-2] in in_all


def test_repeated_texts_are_no_independent_rows():
    rows = drawn_rows(1000)
    assert rows.n_different() == 1000
    parts = np.array(rows.held_out.parts)
    texts = list(rows.held_out.texts)
    for place in np.flatnonzero(parts == "threshold")[:100]:
        texts[place] = "Again" if place % 2 else " again "
    repeating = replace(rows, held_out=replace(rows.held_out, texts=tuple(texts)))
    n_rows = int((parts == "threshold").sum())
    worth = n_rows**2 / (100**2 + n_rows - 100)
    assert repeating.part("threshold").n_different() == pytest.approx(worth)
    told = " ".join(verdict(analyse({"base": repeating}, (), QUESTION)))
    assert f"the {n_rows} threshold rows repeat texts" in told
    assert f"as about {worth:.0f} different ones" in told
    assert "repeat texts" not in " ".join(verdict(analyse({"base": rows}, (), QUESTION)))


def test_a_promise_is_told_as_it_was_asked_for(run):
    told = with_promise(run, Promise(0.0625, 0.9), None)
    assert "at most 6.25 % errors" in automation(told).caption
    assert threshold_cell(0.99982) == "0.9998"
    assert [threshold_cell(each) for each in (None, 0.8692, 1.0)] == ["none", "0.869", "1.000"]


def test_a_stricter_promise_automates_less(run):
    strict = with_promise(run, Promise(0.03, 0.9), None)
    assert strict.question.costs == run.question.costs
    assert with_promise(run, Promise(0.03), Costs(7.0, 2.0)).question.costs == Costs(7.0, 2.0)
    assert strict.final.threshold.coverage < run.final.threshold.coverage


def test_of_very_many_classes_a_terminal_shows_the_worst_and_says_so(run):
    checked = run.final.classes[0]
    classes = tuple(
        replace(checked, label=n % 2, n_errors=n, is_shown=n < 3) for n in range(MOST_LINES + 5)
    )
    category = run.final.categories[0]
    accuracy = [replace(category.accuracy, estimate=n / 100) for n in range(MOST_LINES + 5)]
    many = replace(
        run.final,
        classes=classes,
        categories=tuple(
            replace(category, name=f"c{n}", accuracy=each) for n, each in enumerate(accuracy)
        ),
    )
    found = class_checks(replace(run, models={**run.models, many.name: many}), MOST_LINES)
    assert [int(row[2]) for row in found.rows] == list(range(MOST_LINES + 4, 4, -1))
    assert found.notes[0].startswith(f"Shown for 3 of {MOST_LINES + 5} classes. Those of most err")
    lowest = categories(many, MOST_LINES)
    assert [row[0] for row in lowest.rows] == [f"c{n}" for n in range(MOST_LINES)]
    assert "the report has the other 5, too" in lowest.notes[0]
    assert len(categories(many).rows) == MOST_LINES + 5
    assert categories(many).notes == ()


def test_an_impossible_promise_is_answered_honestly(run):
    none = with_promise(run, Promise(0.0005, 0.99), None)
    assert none.final.threshold.value is None
    assert none.final.outcome is None
    assert "No safe threshold" in verdict(none)[0]


def test_a_better_bag_of_words_is_said_in_a_sentence():
    worse, better = drawn_rows(1200, noise=4.0), drawn_rows(1200)
    told = verdict(analyse({"base": worse, "tfidf": better}, (), QUESTION))
    assert [each for each in told if each.startswith("A bag of words (TF-IDF) is right more often")]
    for rows in ({"base": better, "tfidf": worse}, {"base": better, "tfidf": better}):
        assert "bag of words" not in " ".join(verdict(analyse(rows, (), QUESTION)))


def test_tables_and_sentences_can_be_made(run):
    for table in terminal_tables(run):
        assert all(len(row) == len(table.header) for row in table.rows)
    told, outcome = verdict(run), run.final.outcome
    assert len(told) == 3
    least, most = 100 * outcome.error_rate_low, 100 * outcome.error_rate_high
    assert f"of those wrong (95 % interval {least:.1f} to {most:.1f} %), which is" in told[1]


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.99, "no sign of miscalibration is left"),
        (1.01, "that is more than 95 of 100 such models show"),
        (9.0, "miscalibration remains"),
    ],
)
def test_the_last_sentence_says_no_other_than_the_diagrams(run, share, said):
    best = run.final.best
    found = replace(best, ece=replace(best.ece, estimate=share * best.null.quantile_95))
    final = replace(run.final, metrics={**run.final.metrics, run.final.chosen: found})
    told = verdict(replace(run, models={**run.models, run.final.name: final}))[-1]
    assert said in told


def test_a_model_that_wants_to_say_something_else_is_warned_of(run):
    assert off_task(run) == ()
    elsewhere = replace(run.final, mean_label_mass=0.2)
    (warning,) = off_task(replace(run, models={**run.models, run.final.name: elsewhere}))
    assert "Mean label mass 20.0 %" in warning
    assert label_mass(replace(run, models={**run.models, run.final.name: elsewhere})) == (warning,)
    assert label_mass(run)[0].startswith("Mean label mass 98.0 %: ")


def test_texts_that_did_not_fit_are_told_by_who_read_them():
    nobody = {"base": {"n_truncated": 0, "n_skipped": 0}}
    assert overlong(nobody) == overlong({}) == ()
    found = {
        "base": {"n_truncated": 1200, "n_skipped": 0},
        "tuning": {"n_truncated": 0, "n_skipped": 3},
    }
    assert overlong(found) == (
        "Texts that did not fit the model's context: 1,200 cut at their end (base), 3 left out "
        "(tuning).",
    )


def test_a_saved_run_gives_the_same_figures_again(run, tmp_path):
    folder = RunFolder(tmp_path)
    whole_run.save(run, (), folder)
    folder.write_run({})
    again = reopen(folder)
    assert whole_run.summary(again) == whole_run.summary(run)
    np.testing.assert_array_equal(
        again.final.answers["platt"].probs, run.final.answers["platt"].probs
    )


def test_charts_that_an_evaluation_no_longer_has_go(run, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    charts = [next(drawing.charts_of(run, folder))]
    monkeypatch.setattr(drawing, "charts_of", lambda *_: iter(charts))
    (kept,) = drawing.write_charts(run, folder)
    assert {each.stem for each in folder.charts.rglob("*.*")} == {kept.info.name}
    mine = folder.charts / "calibration" / "mine.png"
    mine.write_bytes(b"somebody's own")
    charts.clear()
    assert drawing.write_charts(run, folder) == ()
    assert list(folder.charts.rglob("*.*")) == [mine]


@pytest.mark.parametrize("max_error", [0.0005, 0.009, 0.01, 0.04, 0.1, 0.12, 0.4, 0.995])
def test_the_promise_of_a_run_lies_on_the_axes_that_say_what_it_takes(run, max_error):
    asked = with_promise(run, Promise(max_error, 0.9), None)
    made = drawing.charts_of(asked, RunFolder(Path("none")))
    chart = next(each for each in made if each.info.name == "sample_size_thresholds")
    for axes in chart.figure.axes:
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert left < max_error < right
        if asked.final.threshold.n_automated:
            assert low <= asked.final.threshold.n_automated <= high
    limits = chart.values["max_error"]
    assert limits == sorted(set(limits))
    assert len(limits) == 7


def test_a_folder_without_a_run_is_named_with_its_neighbours(tmp_path):
    RunFolder(tmp_path / "good").write_run({})
    with pytest.raises(UnknownName, match="good"):
        reopen(RunFolder(tmp_path / "bad"))


def test_a_folder_of_runs_is_told_to_be_one(tmp_path):
    RunFolder(tmp_path / "good").write_run({})
    with pytest.raises(UnknownName, match=r"Known: .*good\..* This is a folder of runs: name one"):
        reopen(RunFolder(tmp_path))


def test_damaged_files_of_a_run_are_named(run, tmp_path):
    folder = RunFolder(tmp_path)
    whole_run.save(run, (), folder)
    folder.write_run({})
    (folder.evaluation / "base.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CorruptArtifact, match=r"base\.parquet"):
        reopen(folder)
    folder.calibrators.write_text('{"schema_version": 1}')
    with pytest.raises(CorruptArtifact, match="incomplete"):
        reopen(folder)
    whole_run.save(run, (), folder)
    folder.write_run({})
    content = json.loads(folder.calibrators.read_text())
    content["question"]["promise"]["max_error"] = 5
    folder.calibrators.write_text(json.dumps(content))
    with pytest.raises(CorruptArtifact, match="max_error is 5"):
        reopen(folder)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ('{"schema_version": 2, "points": []}', "schema_version is 2; this Glassbox reads 1"),
        ('{"schema_version": 1}', "its points are incomplete"),
        ('{"schema_version": 1, "points": [{"step": 1}]}', "its points are incomplete"),
        ('{"schema_version": 1, "points": []}', "its points are missing or hold something else"),
        ("[1, 2", "not valid JSON"),
    ],
)
def test_a_training_curve_that_cannot_be_read_is_named(run, tmp_path, content, refusal):
    folder = RunFolder(tmp_path)
    folder.adapter.mkdir()
    curve = folder.adapter / "training_curve.json"
    curve.write_text(content)
    with pytest.raises(CorruptArtifact, match=rf"{curve}: {refusal}"):
        collections.deque(drawing.charts_of(run, folder), maxlen=0)


def test_keeping_a_choice_changes_the_manifest(run, tmp_path):
    folder = RunFolder(tmp_path)
    whole_run.save(run, (), folder)
    folder.write_run({})
    Classifier(Part("tiny", "00"), {}, "11").save(tmp_path)
    whole_run.save_choice(with_promise(run, Promise(0.05, 0.9), None), folder)
    kept = Classifier.load(tmp_path)
    assert kept.threshold["max_error"] == 0.05
    assert kept.calibrator["kind"] == run.final.chosen
    again = reopen(folder)
    assert again.question.promise == Promise(0.05, 0.9)
    assert again.question.samples == run.question.samples
    assert folder.read_run()["classifier"] == kept.digest


def test_results_that_are_half_replaced_are_no_finished_run(run, tmp_path):
    folder = RunFolder(tmp_path)
    whole_run.save(run, (), folder)
    folder.write_run({})
    folder.calibrators.unlink()
    folder.calibrators.mkdir()
    with pytest.raises(IsADirectoryError):
        whole_run.save(run, (), folder)
    folder.calibrators.rmdir()
    whole_run.save_figures(run, folder)
    with pytest.raises(UnknownName, match=r"run\.json is missing: run 'glassbox evaluate --out"):
        reopen(folder)


def stop_before(name):
    """A renaming that is interrupted where a file of this name would appear."""
    rename = Path.replace

    def renamed(self, target):
        if Path(target).name == name:
            raise KeyboardInterrupt
        return rename(self, target)

    return renamed


@pytest.mark.parametrize("name", ["calibrators.json", "results.json", "classifier.json"])
def test_a_choice_that_is_half_kept_is_told_and_kept_again(run, tmp_path, name):
    folder = RunFolder(tmp_path)
    whole_run.save(run, (), folder)
    folder.write_run({"job": "as it was"})
    Classifier(Part("tiny", "00"), {}, "11").save(tmp_path)
    before = (tmp_path / name).read_bytes()

    chosen = with_promise(run, Promise(0.05, 0.9), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", stop_before(name))
        with pytest.raises(KeyboardInterrupt):
            whole_run.save_choice(chosen, folder)
    assert (tmp_path / name).read_bytes() == before
    with pytest.raises(CorruptArtifact, match=r"was interrupted\. Run that 'glassbox calibrate'"):
        reopen(folder)
    kept = whole_run.save_choice(
        with_promise(reopen(folder, changing=True), Promise(0.05, 0.9)), folder
    )
    assert folder.read_run() == {
        "schema_version": 1, "job": "as it was", "classifier": kept.digest,
    }  # fmt: skip
    assert whole_run.summary(reopen(folder)) == whole_run.summary(chosen)


def test_runs_are_compared_on_shared_rows(run):
    other = analyse({"base": drawn_rows(3000, sharpness=3.0, noise=1.5)}, (), QUESTION)
    found = compare_runs(run, other, ("one", "two"))
    assert found.n_shared == run.final.best.n_rows
    assert found.accuracy.estimate == pytest.approx(
        found.metrics[1].accuracy.estimate - found.metrics[0].accuracy.estimate
    )
    assert "one is right more often than two" in found.sentence
    lower = f"lower by {found.nll.low:.3f} to {found.nll.high:.3f} nats"
    assert f"The probabilities of one are better: its NLL is {lower}" in found.sentence
    table = comparison_table(found)
    assert table.header == ("", "one", "two")


def test_a_run_beside_itself_differs_by_as_much_as_its_rows_leave_open(run):
    found = compare_runs(run, run, ("one", "one"))
    assert found.accuracy.estimate == 0
    assert 0 < found.accuracy.high == -found.accuracy.low < 3 / found.n_shared
    assert "No difference in accuracy can be shown" in found.sentence
    assert "probabilities" not in found.sentence
    assert "NLL the same on every row" in comparison_table(found).notes[0]


def test_every_copy_of_a_text_is_compared():
    rows = drawn_rows(400)
    held = replace(rows.held_out, texts=tuple(f"text {i // 2}" for i in range(400)))
    run = analyse({"base": replace(rows, held_out=held)}, (), QUESTION)
    found = compare_runs(run, run, ("one", "one"))
    assert found.n_shared == run.final.best.n_rows
    assert found.metrics[0].accuracy == run.final.best.accuracy


def test_runs_that_share_too_little_are_refused(run):
    other = analyse({"base": drawn_rows(800, seed=5)}, (), QUESTION)
    relabelled = other.final.rows.held_out.texts
    assert relabelled[0] == run.final.rows.held_out.texts[0]
    small = analyse({"base": drawn_rows(200)}, (), QUESTION)
    with pytest.raises(NotEnoughData, match="shared test rows"):
        compare_runs(run, small, ("one", "two"))
