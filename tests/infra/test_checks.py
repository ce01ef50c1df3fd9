"""The checks of ``infra/`` themselves: what they say where a tool is absent, fails or finds."""

import os
import stat
import subprocess
from datetime import date
from pathlib import Path

import pytest

from recipes.infra import __main__ as program
from recipes.infra import aws_requests, containers, machine, supply, terraform, tools
from recipes.infra.outcomes import Check, Failed, Skipped, outcomes_of, said_by


@pytest.fixture
def shims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which programs are looked for before the machine's own."""
    folder = tmp_path / "shims"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def shim(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def raising(error: Exception) -> str:
    raise error


def test_outcomes_come_in_order_with_their_reasons():
    found = outcomes_of(
        [
            Check("one", lambda: "all well"),
            Check("two", lambda: raising(Skipped("no such tool"))),
            Check("three", lambda: raising(Failed("line 3 is wrong"))),
        ]
    )
    assert [(each.name, each.state, each.words) for each in found] == [
        ("one", "ok", "all well"),
        ("two", "skipped", "no such tool"),
        ("three", "failed", "line 3 is wrong"),
    ]


def test_a_finding_fails_the_whole_and_a_skip_does_not(monkeypatch, capsys):
    skipped = Check("terraform", lambda: raising(Skipped("not installed")))
    failed = Check("compose", lambda: raising(Failed("bad")))
    monkeypatch.setattr(program, "CHECKS", (skipped,))
    assert program.main([]) == 0
    assert "skipped  terraform" in capsys.readouterr().out
    monkeypatch.setattr(program, "CHECKS", (skipped, failed))
    assert program.main([]) == 1
    assert "FAILED   compose" in capsys.readouterr().out
    assert program.main(["--only", "terraform"]) == 0


def test_what_a_program_said_is_the_finding():
    assert said_by(["sh", "-c", "echo well"]) == "well\n"
    assert said_by(["sh", "-c", "echo odd; exit 1"], allowed=(0, 1)) == "odd\n"
    with pytest.raises(Failed, match=r"(?s)sh -c.*it broke"):
        said_by(["sh", "-c", "echo it broke >&2; exit 3"])
    with pytest.raises(Failed, match=r"sleep was stopped after 0\.1 s"):
        said_by(["sleep", "30"], limit_s=0.1)


def test_terraform_that_is_not_here_is_skipped(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Skipped, match="terraform is not installed"):
        terraform.check()


def test_a_provider_that_cannot_be_fetched_is_a_skip_only_without_a_mirror(shims, monkeypatch):
    monkeypatch.delenv("TF_MIRROR", raising=False)
    away = 'case $1 in init) echo "Failed to query available provider packages"; exit 1;; esac'
    shim(shims, "terraform", away)
    with pytest.raises(Skipped, match="TF_MIRROR names no mirror"):
        terraform.check()
    monkeypatch.setenv("TF_MIRROR", str(shims))
    with pytest.raises(Failed, match="Failed to query"):
        terraform.check()
    monkeypatch.delenv("TF_MIRROR")
    shim(shims, "terraform", 'case $1 in init) echo "Unsupported block"; exit 1;; esac')
    with pytest.raises(Failed, match="Unsupported block"):
        terraform.check()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Success! 0 passed, 0 failed.", "no test ran"),
        ("Failure! 3 passed, 1 failed.", "no test ran"),
    ],
)
def test_terraform_tests_that_did_not_run_are_a_finding(said, words, shims, monkeypatch):
    monkeypatch.delenv("TF_MIRROR", raising=False)
    shim(shims, "terraform", f'[ "$1" = test ] && echo "{said}"; exit 0')
    with pytest.raises(Failed, match=words):
        terraform.check()


def test_nothing_of_terraform_is_left_in_the_repository(shims, monkeypatch):
    monkeypatch.delenv("TF_MIRROR", raising=False)
    before = sorted(terraform.STACK.rglob("*"))
    shim(shims, "terraform", 'touch .terraform.lock.hcl; echo "2 passed, 0 failed"')
    assert terraform.check() == "format, types and 6 runs of 3 test files"
    assert sorted(terraform.STACK.rglob("*")) == before


def test_tools_that_cannot_be_installed_are_a_skip(tmp_path, monkeypatch):
    def refuse(*_words: object, **_more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(Skipped, match="could not be installed here: ERROR: No matching"):
        tools.installed("policy", tmp_path)
    assert not (tmp_path / "policy" / "installed").exists()


def test_tools_are_installed_once(tmp_path, monkeypatch):
    commands = []

    def note(command: list[str], **_more: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (tmp_path / "policy").mkdir(exist_ok=True)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", note)
    assert tools.installed("policy", tmp_path) == tmp_path / "policy" / "bin"
    assert len(commands) == 2
    tools.installed("policy", tmp_path)
    assert len(commands) == 2
    (tmp_path / "policy" / "installed").write_text("another list", encoding="utf-8")
    tools.installed("policy", tmp_path)
    assert len(commands) == 4


@pytest.fixture
def supply_tools(shims: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(supply, "installed", lambda _name: shims)
    return shims


def audited(vulns: str, *, skip: bool = False) -> str:
    more = ', "skip_reason": "not found"' if skip else f', "vulns": {vulns}'
    package = f'{{"name": "urllib3", "version": "1.24.1"{more}}}'
    return f"""echo '{{"dependencies": [{package}], "fixes": []}}'"""


def test_an_audit_that_looked_nothing_up_is_no_clean_bill(supply_tools):
    shim(supply_tools, "pip-audit", audited("[]", skip=True))
    with pytest.raises(Skipped, match="nothing was audited"):
        supply.audit_python()
    shim(supply_tools, "pip-audit", "echo 'Traceback: no connection'; exit 1")
    with pytest.raises(Skipped, match="can be reached"):
        supply.audit_python()


def test_a_known_vulnerability_is_a_finding_until_it_is_accepted(supply_tools, monkeypatch):
    bug = '[{"id": "PYSEC-1", "aliases": ["GHSA-1"], "fix_versions": ["1.24.2"]}]'
    shim(supply_tools, "pip-audit", audited(bug) + "; exit 1")
    with pytest.raises(Failed, match=r"urllib3 1\.24\.1: PYSEC-1, fixed in"):
        supply.audit_python()
    monkeypatch.setattr(supply, "accepted_until", lambda _today: {"GHSA-1"})
    assert supply.audit_python() == "1 packages; not looked up: none"


def test_what_was_accepted_ends(tmp_path):
    file = tmp_path / "accepted.txt"
    file.write_text("# why\n\nGHSA-1 2027-01-31 never reached\n", encoding="utf-8")
    assert supply.accepted_until(date(2027, 1, 31), file) == {"GHSA-1"}
    assert supply.accepted_until(date(2027, 2, 1), file) == set()
    for line, words in (("GHSA-1 soon why", "is not ID"), ("GHSA-1 2027-01-31", "no reason")):
        file.write_text(line, encoding="utf-8")
        with pytest.raises(Failed, match=words):
            supply.accepted_until(date(2027, 1, 1), file)


def test_the_accepted_ones_of_this_repository_can_be_read():
    supply.accepted_until(date(2026, 1, 1))


def test_npm_without_a_registry_is_a_skip_and_findings_are_not(shims):
    shim(shims, "npm", """echo '{"error": {"code": "ENOAUDIT"}}'; exit 1""")
    with pytest.raises(Skipped, match="no registry answers"):
        supply.audit_web()
    found = '{"metadata": {"dependencies": {"prod": 3}}, "vulnerabilities": {"left-pad": {}}}'
    shim(shims, "npm", f"echo '{found}'; exit 1")
    with pytest.raises(Failed, match="left-pad"):
        supply.audit_web()
    shim(shims, "npm", f"echo '{found}'")
    assert supply.audit_web() == "3 packages that are shipped"


def test_requests_that_nobody_looked_at_are_a_finding(monkeypatch):
    monkeypatch.setattr(aws_requests, "said_by", lambda _command: "no tests ran in 0.1s")
    with pytest.raises(Failed, match="no test ran"):
        aws_requests.check()
    monkeypatch.setattr(aws_requests, "said_by", lambda _command: "18 passed in 7.0s")
    assert aws_requests.check() == "18 tests with botocore's validator and Stubber"


def test_policies_that_look_at_nothing_are_a_finding(shims):
    none = '{"summary": {"passed": 0, "failed": 0, "skipped": 0, "parsing_errors": 0}, '
    shim(shims, "checkov", f"""echo '{none}"results": {{"failed_checks": []}}}}'""")
    with pytest.raises(Failed, match="looked at nothing"):
        containers.policies()
    one = '{"check_id": "CKV_1", "check_name": "n", "resource": "r", "file_path": "/f"}'
    some = none.replace('"passed": 0', '"passed": 4') + f'"results": {{"failed_checks": [{one}]}}}}'
    shim(shims, "checkov", f"echo '{some}'; exit 1")
    with pytest.raises(Failed, match="CKV_1 n: r"):
        containers.policies()
    shim(shims, "checkov", "echo no json; exit 1")
    with pytest.raises(Failed, match="no JSON"):
        containers.policies()


def test_a_unit_that_leaves_too_much_open_is_a_finding(shims):
    judged = 'security) echo "exposure level for x: 9.2 UNSAFE";;'
    shim(shims, "systemd-analyze", f'case $1 in --version) echo "systemd 252";; {judged} esac')
    with pytest.raises(Failed, match=r"9\.2"):
        machine.unit()
    shim(shims, "systemd-analyze", "echo 'Unknown key name'")
    with pytest.raises(Failed, match="Unknown key"):
        machine.unit()


def test_the_unit_as_it_is_passes_where_systemd_can_judge_it():
    try:
        assert "exposure" in machine.unit()
    except Skipped as reason:
        pytest.skip(str(reason))
