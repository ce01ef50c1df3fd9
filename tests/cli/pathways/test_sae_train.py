"""``glassbox sae train``: SAEs of the embedded model, measured, and found again when done."""

import json

import pytest

from glassbox.cli.main import main
from glassbox.cli.terminal.exit_codes import ExitCode

ARGUMENTS = ["--texts", "tiny", "--layers", "0,6", "--latents", "64", "--tokens", "6000"]


def test_saes_are_trained_measured_and_not_trained_twice(tmp_path, capsys):
    command = ["sae", "train", *ARGUMENTS, "--out", str(tmp_path / "saes")]
    assert main([*command, "--json"]) == ExitCode.OK
    answer = json.loads(capsys.readouterr().out)
    assert [each["layer"] for each in answer["metrics"]] == [0, 6]
    assert all(0 < each["recovered"] <= 1 for each in answer["metrics"])
    assert main(command) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "explained variance" in shown
    assert "recovered" in shown
    assert main(["sae", "inspect", str(tmp_path / "saes"), "--json"]) == ExitCode.OK
    assert [each["d_sae"] for each in json.loads(capsys.readouterr().out)["saes"]] == [64, 64]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--layers", "two"], "'all', or blocks such as 0,4,7"),
        (["--kind", "vanilla"], "kind of SAE"),
        (["--k", "64"], "less than the 64 latents"),
        (["--layers", "9"], "the model has 0 to 7"),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path, capsys, changed, said):
    assert main(["sae", "train", *ARGUMENTS, "--out", str(tmp_path), *changed]) != ExitCode.OK
    assert said in " ".join(capsys.readouterr().err.split())
