"""``glassbox pathways``: what its commands answer where a study is not as it should be."""

import json

import pytest

from glassbox.cli.main import main
from glassbox.cli.terminal.exit_codes import ExitCode
from tests.pathways.study.studies import made_study


@pytest.fixture
def study(tmp_path):
    """A configuration on logs with one empty response."""
    made = made_study(n_latents=3)
    made.logs[0]["response"] = ""
    made.write(tmp_path)
    file = tmp_path / "study.yaml"
    file.write_text(
        "study: {out: out}\naudit: {n_permutations: 100}\n"
        "data: {checkpoints: analysis, response_logs: response_logs}\n"
    )
    return file


def test_an_audit_with_errors_lists_them_and_ends_with_a_code_of_its_own(study, capsys):
    assert main(["pathways", "audit", str(study)]) == ExitCode.INCOMPLETE
    shown = " ".join(capsys.readouterr().out.split())
    assert "empty-response" in shown
    assert "1 error, 0 warnings: NOT fit to go on with as it is" in shown
    # A finished audit says so again, and what comes after does not begin.
    assert main(["pathways", "audit", str(study), "--json"]) == ExitCode.INCOMPLETE
    found = json.loads(capsys.readouterr().out)
    assert (found["was_there"], found["figures"]["validated"]) == (True, False)
    assert main(["pathways", "select", str(study)]) not in (ExitCode.OK, ExitCode.INCOMPLETE)
    assert "despite_errors" in " ".join(capsys.readouterr().err.split())


def test_an_option_that_means_nothing_is_refused_by_name(study, capsys):
    assert main(["pathways", "run", str(study), "--backend", "slurm"]) != ExitCode.OK
    assert "parallel.backend" in " ".join(capsys.readouterr().err.split())
