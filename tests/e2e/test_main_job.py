"""The main job from the command line, on a slice of the embedded data with the embedded model."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from glassbox.artifacts import Classifier
from glassbox.charts.registry import CHARTS
from glassbox.cli.main import main
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.confidence.data.sources import embedded_dataset

ROWS_PER_CATEGORY = 90
TUNING = ["--tune", "--epochs", "1", "--max-error", "0.3", "--samples", "5"]


def small_data(folder: Path) -> Path:
    target = folder / "texts.jsonl"
    with target.open("w", encoding="utf-8") as file:
        for source in sorted(embedded_dataset().glob("*.jsonl")):
            file.writelines(source.read_text(encoding="utf-8").splitlines(True)[:ROWS_PER_CATEGORY])
    return target


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    code = main(["evaluate", "-m", "tiny", "-d", str(data), "-o", str(out), *TUNING])
    assert code == 0
    return out


def test_a_run_leaves_everything_it_promises(run):
    names = {each.name for each in run.iterdir()}
    assert {
        "run.json", "test_set.json", "adapter", "evaluation", "calibrators.json", "results.json",
        "classifier.json", "charts", "report.html",
    } <= names  # fmt: skip
    for chart in (each for each in CHARTS.values() if each.folder not in ("probes", "capacity")):
        for ending in ("png", "svg", "json"):
            assert (run / "charts" / chart.folder / f"{chart.name}.{ending}").stat().st_size > 100
    report = (run / "report.html").read_text()
    assert "What can be automated" in report
    assert "What tuning changed" in report
    assert "https://" not in report.replace("http://www.w3.org", "")


def test_the_result_is_printed_as_json_on_request(run, data, capsys):
    arguments = ["-m", "tiny", "-d", str(data), "-o", str(run), *TUNING, "--skip-charts", "--json"]
    assert main(["evaluate", *arguments]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["models"]) == {"base", "tuned", "tfidf"}
    assert printed["models"]["tuned"]["metrics"]["identity"]["n_rows"] > 50


def test_the_adapter_in_the_run_folder_is_used_again(run, data, capsys):
    before = (run / "adapter" / "adapter_model.safetensors").read_bytes()
    assert main(["evaluate", "-m", "tiny", "-d", str(data), "-o", str(run), "--skip-charts"]) == 0
    told = capsys.readouterr()
    assert "Using the adapter" in told.err
    # How the program itself is called depends on who started it.
    assert f" serve --model tiny --classifier {run}" in " ".join(told.out.split())
    assert (run / "adapter" / "adapter_model.safetensors").read_bytes() == before


def test_an_adapter_is_never_measured_on_texts_that_tuned_it(run, data, tmp_path, capsys):
    words = ["evaluate", "-m", "tiny", "-d", str(data), "-o", str(tmp_path / "other")]
    code = main([*words, "--adapter", str(run / "adapter"), "--seed", "1", "--skip-charts"])
    assert code == ExitCode.CONFLICT
    assert "that are held out here, so its figures would be too good" in capsys.readouterr().err


def test_classify_answers_in_order_and_goes_on_after_a_bad_line(run, tmp_path, capsys):
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"text": "The soup was superb."}\n{"no": 1}\n{"text": "It broke."}\n')
    assert main(["classify", "--file", str(lines), "--run", str(run)]) == ExitCode.INCOMPLETE
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["line"] for each in records] == [1, 2, 3]
    assert "error" in records[1]
    for record in (records[0], records[2]):
        assert sum(record["label_probs"].values()) == pytest.approx(1.0)
        assert record["confidence"] == max(record["label_probs"].values())


def test_one_text_is_answered_as_in_a_batch(run, capsys):
    texts = ["The soup was superb.", "I would never call the hotel clean.", "It broke at once."]
    assert main(["classify", *texts, "--run", str(run)]) == 0
    together = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for text, expected in zip(texts, together, strict=True):
        assert main(["classify", text, "--run", str(run)]) == 0
        alone = json.loads(capsys.readouterr().out)
        assert alone["confidence"] == pytest.approx(expected["confidence"], abs=1e-4)


@pytest.mark.parametrize("model", ["base", "tuned", "tiny"])
def test_logprobs_add_up_to_the_confidence(run, model, capsys):
    text = "The soup was superb, but the waiter was rude."
    assert main(["logprobs", text, "--run", str(run), "--model", model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    totals = {each["label"]: each["total"] for each in found["classes"]}
    assert found["label_mass"] == pytest.approx(sum(totals.values()), abs=1e-5)
    for each in found["classes"]:
        assert each["share"] == pytest.approx(each["total"] / sum(totals.values()), abs=1e-5)
    assert found["answer"]["confidence"] == max(each["calibrated"] for each in found["classes"])


def test_logprobs_explain_themselves(run, capsys):
    assert main(["logprobs", "The soup was superb.", "--run", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "Most probable next tokens" in printed
    assert "threshold" in printed
    assert main(["logprobs", "The soup", "--run", str(run), "--raw-prompt", "--top-k", "3"]) == 0
    assert "predicts what comes next" in capsys.readouterr().out
    assert main(["logprobs", "The soup was superb.", "--run", str(run), "--quiet"]) == 0
    assert capsys.readouterr().out.split()[0] in ("positive", "negative")


def test_a_threshold_can_be_asked_and_kept(run, capsys):
    assert main(["threshold", str(run), "--max-error", "0.4", "--json"]) == 0
    loose = json.loads(capsys.readouterr().out)["threshold"]
    assert loose["max_error"] == 0.4
    assert Classifier.load(run).threshold["max_error"] != 0.4
    assert main(["threshold", str(run), "--max-error", "0.4", "--save"]) == 0
    assert Classifier.load(run).threshold["max_error"] == 0.4
    assert main(["threshold", str(run), "--max-error", "0.001"]) == 0
    assert "No safe threshold" in capsys.readouterr().out


def test_charts_are_drawn_again_without_a_model(run, tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("charts must not load a model")

    monkeypatch.setattr("glassbox.engine.model.load.load_model", refuse)
    assert main(["charts", str(run), "--out", str(tmp_path)]) == 0
    name = Path("calibration") / "reliability_platt_scaling.json"
    assert (tmp_path / "charts" / name).read_bytes() == (run / "charts" / name).read_bytes()


def test_calibrate_and_compare_read_the_run(run, capsys):
    assert main(["calibrate", str(run)]) == 0
    assert "Every calibrator" in capsys.readouterr().out
    assert main(["compare", str(run), str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"]["estimate"] == 0.0


def test_another_base_model_is_refused(run, tmp_path, capsys):
    edited = tmp_path / "run"
    edited.mkdir()
    manifest = Classifier.load(run)
    replace(manifest, base=replace(manifest.base, digest="0" * 64)).save(edited)
    assert main(["classify", "text", "--run", str(edited)]) != 0
    assert "Its calibration would not hold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "-d", "nowhere.csv"], "nowhere.csv"),
        (["evaluate", "-d", "few.csv", "-m", "no/such/model"], "no/such/model"),
        (
            ["evaluate", "-d", "tiny", "--overlong", "ignore"],
            "'ignore' is not one of 'error', 'truncate', 'skip'",
        ),
        (["evaluate", "-d", "tiny", "--max-error", "2"], "--max-error': 2 is not between 0 and 1"),
        (["evaluate", "-d", "tiny", "--samples", "1"], "number of samples"),
        (["evaluate", "-d", "tiny", "--tune", "--adapter", "x"], "not both"),
        (
            ["evaluate", "-d", "tiny", "--quantization", "2bit"],
            "'2bit' is not one of '8bit', '4bit'",
        ),
        (
            ["evaluate", "-d", "tiny", "--bad-rows", "keep"],
            "'keep' is not one of 'error', 'drop'",
        ),
        (["evaluate", "-d", "tiny", "--data-format", "xlsx"], "No data format 'xlsx'"),
        (["threshold", "shipped", "--save"], "part of the package"),
        (["calibrate", "shipped"], "part of the package"),
        (["classify"], "one of them"),
        (["classify", "text", "--run", "nowhere"], "nowhere"),
        (["threshold", "nowhere"], "nowhere"),
        (["charts", "nowhere"], "nowhere"),
        (["demo", "nothing"], "glassbox demo --help"),
    ],
)
def test_bad_requests_get_a_clear_error(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rows = (f"Number {i} is fine,{'ab'[i % 2]}\n" for i in range(200))
    (tmp_path / "few.csv").write_text("text,label\n" + "".join(rows))
    assert main(arguments) not in (0, 1)
    assert message in capsys.readouterr().err


def test_a_killed_run_goes_on_and_ends_the_same(run, data, tmp_path):
    """Kill -9 in the middle of tuning, start again, and get the very same adapter and figures."""
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "glassbox", "evaluate", "-m", "tiny", "-d", str(data)]
    command += ["-o", str(out), *TUNING, "--skip-charts"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    state = out / "adapter"
    deadline = time.monotonic() + 120
    while not any(state.rglob("*.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None or any(state.rglob("*.safetensors"))
        time.sleep(0.05)
    assert any(state.rglob("*.safetensors")), "there is nothing yet that it could go on from"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(command[3:]) == 0
    digests = [Classifier.load(each).adapter.digest for each in (run, out)]
    assert digests[0] == digests[1]


def test_reworded_prompts_and_label_bias_can_be_asked_for(data, tmp_path, capsys):
    arguments = ["-m", "tiny", "-d", str(data), "-o", str(tmp_path / "run"), "--skip-charts"]
    options = ["--paraphrases", "--label-bias", "--sample", "120", "--max-error", "0.3"]
    assert main(["evaluate", *arguments, *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["consistency"]["n_prompts"] == 3
    assert found["question"]["label_bias"] is True
    assert sum(found["models"]["base"]["rows"].values()) == 120
    assert Classifier.load(tmp_path / "run").label_bias is not None
    # What the run was evaluated with stays, until something else is asked for.
    assert main(["calibrate", str(tmp_path / "run")]) == 0
    assert Classifier.load(tmp_path / "run").label_bias is not None
    assert main(["calibrate", str(tmp_path / "run"), "--no-label-bias"]) == 0
    assert Classifier.load(tmp_path / "run").label_bias is None


def test_costs_reach_the_table(run, tmp_path, capsys):
    costs = tmp_path / "costs.toml"
    costs.write_text("wrong_automated = 10\nhuman_review = 1\n")
    arguments = ["threshold", str(run), "--max-error", "0.4", "--costs", str(costs)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Cost per" in printed
    assert "Giving every text to a person costs 1 a decision." in printed
    costs.write_text("wrong_automatd = 10\nhuman_review = 1\n")
    assert main(arguments) == 2
    assert "Did you mean 'wrong_automated'?" in capsys.readouterr().err


def test_texts_are_read_from_a_pipe(run, monkeypatch, capsys):
    pipe = io.TextIOWrapper(io.BytesIO(b"The soup was superb.\nIt broke.\n"))
    monkeypatch.setattr(sys, "stdin", pipe)
    assert main(["classify", "-", "--run", str(run)]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["line"] for each in answers] == [1, 2]
