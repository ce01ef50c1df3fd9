"""A probe and a verifier trained from the command line on the embedded facts, then used."""

import json
from pathlib import Path

import pytest

from glassbox.cli.main import main
from glassbox.cli.terminal.exit_codes import ExitCode
from recipes.tiny.facts import Fact
from recipes.verify_facts.facts import embedded_facts

EVERY = 3
"""Every third fact: enough that the threshold's part holds the forty rows that it asks for."""


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True and false foreign answers in turn, each about another entity."""
    facts = embedded_facts()[::EVERY]
    path = tmp_path_factory.mktemp("graded") / "graded.jsonl"
    path.write_text("".join(json.dumps(_row(at, facts)) + "\n" for at in range(len(facts))))
    return path


def _row(at: int, facts: list[Fact]) -> dict[str, object]:
    fact = facts[at]
    others = sorted({each.answer for each in facts if each.relation == fact.relation})
    wrong = next(each for each in others if each != fact.answer)
    return {
        "prompt": fact.prompt,
        "response": wrong if at % 2 else fact.answer,
        "correct": at % 2 == 0,
        "group": fact.entity,
    }


def test_a_probe_and_a_verifier_are_trained_killed_resumed_and_used(
    graded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe, verifier = tmp_path / "probe", tmp_path / "verifier"
    wanted = ["probes", "train", "-d", str(graded), "--target", "correct", "--group", "group"]
    wanted += ["--layers", "5", "--pooling", "last", "--name", "right", "--out", str(probe)]
    assert main(wanted) == ExitCode.OK
    train = ["verify", "train", "-d", str(graded), "--probe", str(probe), "--k", "1"]
    train += ["--out", str(verifier), "--no-report", "--json"]
    capsys.readouterr()
    assert main(train) == ExitCode.OK
    figures = json.loads(capsys.readouterr().out)
    assert "probe:right" in figures["separation"]
    assert figures["separation"]["fusion"]["auroc"]["estimate"] > 0.75
    # As if it had been killed: some of the readings are there, the verifier is not.
    (verifier / "verifier.json").unlink()
    evidence = sorted((verifier / "evidence").iterdir())
    evidence[-1].unlink()
    assert main(train) == ExitCode.OK
    resumed = json.loads(capsys.readouterr().out)
    for name, each in figures["separation"].items():
        again = resumed["separation"][name]["auroc"]["estimate"]
        assert again == pytest.approx(each["auroc"]["estimate"], abs=0.01), name
    assert resumed["ece"]["estimate"] == pytest.approx(figures["ece"]["estimate"], abs=0.01)
    row = json.loads(graded.read_text().splitlines()[0])
    judge = ["verify", row["prompt"], "--response", row["response"], "--verifier", str(verifier)]
    assert main([*judge, "--json"]) == ExitCode.OK
    verdict = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in verdict["checks"]}
    assert checks["probe:right"]["value"] is not None
    assert verdict["validated"]
    # The probe is part of the verifier: without it, it is refused, never judged without.
    for file in (verifier / "probes").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-8])
    assert main(judge) == ExitCode.INTEGRITY
    assert "probe" in capsys.readouterr().err
