"""``glassbox deploy sagemaker``: shown before it is done, and never done unasked."""

import functools
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from glassbox.cli.deploy.targets import TARGETS
from glassbox.cli.main import load_command, main
from glassbox.cli.terminal.exit_codes import ExitCode
from tests.deploy.sagemaker.fake_aws import FakeAws, refusal
from tests.deploy.sagemaker.world import IMAGE, ROLE, write_adapter, write_bundle

pytest.importorskip("boto3", reason="deploying needs boto3 (extra 'sagemaker')")
from botocore.exceptions import EndpointConnectionError

Run = Callable[..., int]


@pytest.fixture
def fake(monkeypatch) -> FakeAws:
    """An account in memory, in the place of the one that would be signed in to."""
    account = FakeAws()
    from glassbox.deploy.sagemaker import deployment, waiting

    # What it is called with must know the class before another takes its place.
    importlib.import_module("glassbox.deploy.sagemaker.carrying_out")
    monkeypatch.setattr(deployment, "signed_in", lambda settings: account.aws())
    at_once = functools.partial(waiting.Patience, sleep=lambda seconds: None)
    monkeypatch.setattr(waiting, "Patience", at_once)
    return account


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    write_bundle(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLASSBOX_ENDPOINT__IMAGE", IMAGE)
    monkeypatch.setenv("GLASSBOX_ENDPOINT__ROLE", ROLE)
    Path("glassbox.toml").write_text(
        '[endpoint]\nname = "shop"\nregion = "us-east-1"\nartifacts = "s3://models/deploy"\n'
    )
    return lambda *words: main(["deploy", "sagemaker", *words])


def test_a_plan_needs_no_account(run, capsys):
    assert run("--plan", "--offline", "--bundle", "bundle") == ExitCode.OK
    out, err = capsys.readouterr()
    assert "in an account where nothing is" in out
    assert "p99 above 0.5 s (500,000 µs)" in out
    assert "331,785" in out
    assert "AWS was not asked." in err


def test_a_plan_as_json_has_the_very_requests(run, capsys):
    assert run("--offline", "--bundle", "bundle", "--json", "--instances", "7") == ExitCode.OK
    plan = json.loads(capsys.readouterr().out)
    by_operation = {each.get("operation"): each for each in plan["actions"]}
    (variant,) = by_operation["CreateEndpointConfig"]["request"]["ProductionVariants"]
    assert variant["InitialInstanceCount"] == 7
    alarms = [each for each in plan["actions"] if each.get("operation") == "PutMetricAlarm"]
    assert [each["request"]["Threshold"] for each in alarms] == [500_000, 0.01]
    assert plan["cost"]["n_machines"] == [7, 5, 300]
    assert not plan["is_done"]


def test_applied_seen_changed_and_removed(run, fake, capsys, tmp_path):
    assert run("--status") == ExitCode.INCOMPLETE
    assert "no such endpoint in us-east-1" in capsys.readouterr().err
    assert run("--apply", "--yes", "--bundle", "bundle") == ExitCode.OK
    err = capsys.readouterr().err
    assert "[1/9] + bundle tiny" in err
    assert "shop: InService" in err
    assert err.endswith("Done: 9 steps.\n")
    assert run("--apply", "--bundle", "bundle") == ExitCode.OK
    assert "Nothing to do: shop in us-east-1 is as wished." in capsys.readouterr().out

    assert run("--status", "--json") == ExitCode.OK
    status = json.loads(capsys.readouterr().out)
    assert (status["state"], status["answers"]) == ("InService", True)

    write_bundle(tmp_path / "next", {"a.txt": b"next"})
    assert run("--bundle", "next") == ExitCode.OK
    out, err = capsys.readouterr()
    assert "What changes at the endpoint" in out
    assert "Nothing was changed. Do it with --apply." in err
    assert run("--apply", "-y", "--bundle", "next") == ExitCode.OK
    assert run("--rollback", "-y") == ExitCode.OK
    capsys.readouterr()
    assert run("--status") == ExitCode.OK
    assert "before that" in capsys.readouterr().out

    assert run("--destroy", "-y") == ExitCode.OK
    assert "--with-artifacts removes them too" in capsys.readouterr().err
    assert fake.objects
    assert run("--destroy", "-y", "--with-artifacts") == ExitCode.OK
    assert not fake.objects
    assert not fake.models


def test_without_a_terminal_nothing_is_changed_unasked(run, fake, capsys):
    assert run("--apply", "--bundle", "bundle") == ExitCode.USAGE
    assert "then give --yes" in capsys.readouterr().err
    assert fake.changing() == []


def test_a_failure_says_what_was_done(run, fake, capsys):
    fake.refuses["CreateEndpoint"] = lambda: refusal("ResourceLimitExceeded", "0 Instances")
    assert run("--apply", "-y", "--bundle", "bundle") == ExitCode.CAPACITY
    err = capsys.readouterr().err
    assert "Stopped at step 6 of 9. Done: + bundle tiny" in err
    assert "not known" not in err, "AWS has said no"
    assert "Service Quotas" in err
    fake.refuses.clear()
    assert run("--apply", "-y", "--bundle", "bundle") == ExitCode.OK
    assert "[1/4] + endpoint shop" in capsys.readouterr().err


def test_a_failure_at_the_first_step_says_that_nothing_was_changed(run, fake, capsys):
    fake.refuses["PutObject"] = lambda: refusal("AccessDenied", "no", status=403)
    assert run("--apply", "-y", "--bundle", "bundle") == ExitCode.DENIED
    assert "Nothing was changed." in capsys.readouterr().err


def test_a_failure_midway_of_a_step_says_what_was_put(run, fake, capsys):
    fake.before[1] = lambda: refusal("AccessDenied", "no", status=403)
    assert run("--apply", "-y", "--bundle", "bundle") == ExitCode.DENIED
    err = capsys.readouterr().err
    assert len(fake.objects) == 1
    assert re.search(r"Stopped at step 1 of 9\. Done: \+ 5 bytes of \d+ bytes of bundle tiny", err)
    assert "--destroy removes it" in err


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (KeyboardInterrupt, ExitCode.INTERRUPTED),
        (lambda: EndpointConnectionError(endpoint_url="https://x"), ExitCode.CAPACITY),
    ],
)
def test_who_does_not_hear_what_became_of_a_request_is_told_so(run, fake, capsys, fault, code):
    # The three files of the bundle are requests, too.
    fake.after[3] = fault
    assert run("--apply", "-y", "--bundle", "bundle") == code
    err = capsys.readouterr().err
    assert "Stopped at step 2 of 9. Done: + bundle tiny" in err
    assert "Whether this step was done is not known." in err
    assert len(fake.models) == 1
    assert run("--apply", "-y", "--bundle", "bundle") == ExitCode.OK
    assert "[1/7] + endpoint configuration" in capsys.readouterr().err


def test_a_removal_that_stops_does_not_advise_to_remove(run, fake, capsys):
    assert run("--apply", "-y", "--bundle", "bundle") == ExitCode.OK
    fake.refuses["DeleteAlarms"] = lambda: refusal("AccessDenied", "no", status=403)
    capsys.readouterr()
    assert run("--destroy", "-y") == ExitCode.DENIED
    err = capsys.readouterr().err
    assert "- endpoint shop. What is left stays; the same command goes on from there." in err
    assert "--destroy" not in err


def test_the_way_back_is_shown_before_it_is_taken(run, fake, capsys, tmp_path):
    assert run("--apply", "-y", "--bundle", "bundle") == ExitCode.OK
    write_bundle(tmp_path / "next", {"a.txt": b"next"})
    assert run("--apply", "-y", "--bundle", "next", "--instance-type", "ml.g5.xlarge") == 0
    capsys.readouterr()
    assert run("--rollback") == ExitCode.USAGE, "there is no terminal to ask"
    out = capsys.readouterr().out
    assert re.search(r"primary: instance type +ml\.g5\.xlarge +ml\.g5\.2xlarge", out)
    assert "5,530" in out


def test_adapters_are_put_and_their_addresses_said(run, fake, capsys, tmp_path):
    write_adapter(tmp_path / "support")
    assert run("-y", "--apply", "-b", "bundle", "--adapter", "support=support") == ExitCode.OK
    out = capsys.readouterr().out
    assert "s3://models/deploy/adapters/shop/support-" in out
    assert any(key.endswith(".tar.gz") for key in fake.objects)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--apply", "--destroy"], "one of them"),
        (["--apply", "--offline", "--bundle", "bundle"], "with --plan only"),
        (["--plan", "--to", "x"], "with --rollback only"),
        (["--status", "--with-artifacts"], "with --destroy only"),
        (["--plan", "--offline"], "bundle make"),
        (["--offline", "-b", "bundle", "--env", "X"], "NAME=VALUE"),
        (
            ["--offline", "-b", "bundle", "--adapter", "a=x", "--adapter", "a=y"],
            "the name 'a' once",
        ),
        (["--offline", "-b", "nowhere"], "bundle make"),
        (["--offline", "-b", "bundle", "--scaling", "hope"], "endpoint.scaling"),
        (["--offline", "-b", "bundle", "--region", "us-eat-1"], "Did you mean 'us-east-1'"),
    ],
)
def test_what_does_not_go_together_is_said(run, capsys, words, match):
    assert run(*words) == ExitCode.USAGE
    assert match in capsys.readouterr().err


def test_a_bundle_that_was_damaged_is_not_deployed(run, fake, capsys):
    Path("bundle/notes/a.txt").write_bytes(b"fIrst")
    assert run("--apply", "-y", "--bundle", "bundle") == ExitCode.INTEGRITY
    assert "notes/a.txt" in capsys.readouterr().err
    assert fake.changing() == []


def test_each_target_is_a_command_of_the_group():
    group = load_command("deploy")
    assert list(group.commands) == list(TARGETS)
    assert group.commands["sagemaker"].name == "sagemaker"


def test_one_target_does_not_import_the_others():
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from glassbox.cli.main import main\n"
        "assert main(['deploy', 'sagemaker', '--help']) == 0\n"
        "there = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not there & {'torch', 'boto3', 'modal', 'ray', 'fastapi'}, there\n"
        "assert 'glassbox.cli.deploy.ray' not in sys.modules\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                           check=False)  # fmt: skip
    assert found.returncode == 0, found.stderr
