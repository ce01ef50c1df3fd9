"""``glassbox probes`` on the embedded model: trained, listed, shown and evaluated."""

import json

import numpy as np
import pytest

from glassbox.cli.main import main
from glassbox.cli.terminal.exit_codes import ExitCode


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "films.jsonl"
    with path.open("w") as file:
        for number in range(160):
            kind = int(rng.random() < 0.5)
            text = f"Film number {number} was {('awful', 'lovely')[kind]}."
            file.write(json.dumps({"text": text, "target": kind, "n_words": 5}) + "\n")
    return path


@pytest.fixture(scope="module")
def probe(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ["--layers", "2,-1", "--pooling", "last", "--baseline", "n_words"]
        code = main(["probes", "train", "--data", str(rows), "--name", "mood", *arguments])
    assert code == ExitCode.OK
    return folder / "runs" / "probes" / "mood"


def test_a_probe_is_made_with_its_charts(probe):
    assert (probe / "probe.json").is_file()
    assert (probe / "probe.safetensors").is_file()
    assert (probe / "charts" / "probes" / "probe_layers.png").is_file()


def test_show_and_list_say_what_it_is(probe, capsys, monkeypatch):
    monkeypatch.chdir(probe.parent.parent.parent)
    assert main(["probes", "list"]) == ExitCode.OK
    assert "target = 1" in capsys.readouterr().out
    assert main(["probes", "show", str(probe)]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "n_words" in shown
    assert "corrected" in shown
    assert main(["probes", "list", str(probe.parent), "--json"]) == ExitCode.OK
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["mood"]


def test_evaluate_leaves_out_what_fitted_it(probe, rows, capsys):
    assert main(["probes", "evaluate", str(probe), "--data", str(rows), "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["n_seen"] == 128
    assert found["figures"]["n_rows"] == 32
    assert found["figures"]["auroc"]["estimate"] > 0.9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layers", "one"], "whole numbers"),
        (["--layers", "8"], "layers 0 to 7"),
        (["--pooling", "best"], "No pooling 'best'"),
        (["--scope", "everything"], "No scope 'everything'"),
        (["--target", "mood"], "No column 'mood'"),
    ],
)
def test_wrong_options_are_named(rows, words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["probes", "train", "--data", str(rows), *words]) == ExitCode.USAGE
    assert message in " ".join(capsys.readouterr().err.split())
