"""A whole run where each of three labels takes two or three words, as most real labels do."""

import json
from itertools import islice

import numpy as np
import pytest

from glassbox.artifacts import Classifier
from glassbox.cli.main import main
from glassbox.confidence.analysis.whole_run import reopen
from glassbox.confidence.data.sources import embedded_dataset
from glassbox.confidence.reporting.drawing import charts_of
from glassbox.confidence.reporting.report import report_of
from glassbox.confidence.run import RunFolder

LABELS = {
    "strong_negative": "not at all content",
    "neutral_positive": "no clear opinion",
    "strong_positive": "fully content",
}
"""Two of them begin with different words, and two end with the same one."""

ROWS_PER_LABEL = 300
QUIET = ["--skip-charts", "--max-error", "0.4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "messages.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for category, label in LABELS.items():
            lines = (embedded_dataset() / f"{category}.jsonl").read_text(encoding="utf-8")
            for line in islice(lines.splitlines(), ROWS_PER_LABEL):
                file.write(json.dumps({"text": json.loads(line)["text"], "label": label}) + "\n")
    return path


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "three"
    assert main(["evaluate", "-m", "tiny", "-d", str(data), "-o", str(out), *QUIET]) == 0
    return out


@pytest.fixture(scope="module")
def analysis(run):
    return reopen(RunFolder(run))


def test_every_label_is_said_with_several_tokens(run):
    manifest = Classifier.load(run)
    assert set(manifest.labels["classes"]) == set(LABELS.values())


def test_figures_of_each_part_stand_in_the_results(run):
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    base = results["models"]["base"]
    assert sum(base["rows"].values()) == 3 * ROWS_PER_LABEL // 5
    assert {each["label"] for each in base["classes"]} == set(LABELS.values())
    for metrics in base["metrics"].values():
        assert 0 <= metrics["ece"]["low"] <= metrics["ece"]["high"] <= 1
        assert metrics["null"]["mean"] > 0
    assert set(base["metrics"]) >= {"identity", "temperature", "platt", "isotonic"}


def test_the_chosen_calibrator_beats_guessing_in_proportion(analysis):
    final = analysis.final
    probs = np.bincount(final.answers[final.chosen].labels) / final.best.n_rows
    assert final.best.nll < -float(np.sum(probs * np.log(probs))) + 0.1


def test_charts_and_report_show_three_labels(run, analysis):
    folder = RunFolder(run)
    charts = {chart.info.name: chart for chart in charts_of(analysis, folder)}
    confusion = charts["label_confusion"]
    assert set(confusion.values["labels"]) == set(LABELS.values())
    assert sum(map(sum, confusion.values["counts"])) == analysis.final.best.n_rows
    report = report_of(analysis, folder.read_run(), ())
    tables = [table for section in report.sections for table in section.tables]
    assert any(LABELS["strong_negative"] in row[0] for table in tables for row in table.rows)
    said = " ".join(each for section in report.sections for each in section.paragraphs)
    assert "A calibrated confidence can lie below 50 %." in said


def test_classify_gives_all_three_in_order(run, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("The soup was superb.\nIt broke at once.\nIt is a chair.\n", encoding="utf-8")
    assert main(["classify", "--file", str(texts), "--run", str(run)]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["line"] for each in records] == [1, 2, 3]
    for record in records:
        assert set(record["label_probs"]) == set(LABELS.values())
        assert sum(record["label_probs"].values()) == pytest.approx(1.0, abs=1e-5)
        assert record["label"] == max(record["label_probs"], key=record["label_probs"].get)


def test_logprobs_shows_the_ways_of_saying_each(run, capsys):
    text = "The soup was superb."
    assert main(["logprobs", text, "--run", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert min(each["n_tokens"] for each in found["verbalisers"]) >= 2
    assert {each["label"] for each in found["verbalisers"]} == set(LABELS.values())


def test_a_threshold_is_chosen_and_refused(run, capsys):
    assert main(["threshold", str(run), "--max-error", "0.9", "--json"]) == 0
    loose = json.loads(capsys.readouterr().out)
    assert loose["threshold"]["value"] is not None
    assert {each["label"] for each in loose["classes"]} == set(LABELS.values())
    assert main(["threshold", str(run), "--max-error", "0.001"]) == 0
    assert "No safe threshold" in capsys.readouterr().out
