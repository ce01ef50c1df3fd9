"""``glassbox verify``: the prompt follows the command, and ``train`` is still one."""

import json
from pathlib import Path

import pytest

from glassbox.cli.main import main
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.runtime import Runtime
from glassbox.testing import FakeEngine


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "open_engine", lambda _self, _spec: FakeEngine())


def test_a_prompt_right_after_the_command_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "Where?", "--response", "here", "--k", "2"]) == ExitCode.OK
    seen = capsys.readouterr()
    assert "REVIEW" in seen.out
    assert "mean-logprob" in seen.out
    assert "nobody validated" in seen.err.replace("\n", " ")


def test_options_may_go_before_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--json", "--k", "0", "Where?", "-r", "here"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["method"] == "heuristic"
    assert found["confidence"] == pytest.approx(1 - found["uncertainty"])


def test_a_prompt_that_names_a_command_goes_after_judge(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["verify", "judge", "train", "-r", "here", "--k", "0"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("train")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--equivalence", "same"], "No equivalence 'same'. Known: exact, normalised"),
        (["--frame", "Question:"], "a text that holds {prompt} once"),
        (["--k", "1001"], "0 to 1000 samples"),
    ],
)
def test_train_refuses_a_plan_that_is_none_before_the_model_is_loaded(
    words: list[str], told: str, capsys, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Runtime, "open_engine", None)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "response": "b", "correct": true}\n')
    wanted = ["verify", "train", "--data", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path)]
    assert main([*wanted, *words]) == ExitCode.USAGE
    assert told in capsys.readouterr().err.replace("\n", " ")


def test_train_refuses_a_missing_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wanted = ["verify", "train", "--data", str(tmp_path / "no.jsonl"), "--out", str(tmp_path)]
    assert main(wanted) == ExitCode.USAGE
    assert "file of graded responses" in capsys.readouterr().err
