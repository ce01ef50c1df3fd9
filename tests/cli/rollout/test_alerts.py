"""``glassbox alerts``: what fires, what arrived, and whether a file is right."""

import json
from pathlib import Path

import pytest

from glassbox.cli import main as shell
from glassbox.rollout.alerts.engine import AlertEngine
from glassbox.rollout.alerts.receivers import Outcome
from glassbox.rollout.alerts.rules import AlertRule
from glassbox.storage.database import open_database
from tests.rollout.alerts.worlds import Told, listening

RULES = """
[receivers.team]
kind = "webhook"
url = "{url}/very-secret"

[[rules]]
name = "challenger differs"
signal = "{signal}"
above = 0.05
for_s = 60
only_if = {{ signal = "summary.rolling_count", above = 100 }}
"""


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/glassbox.db"
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", url)
    return url


def rules(folder: Path, url: str = "http://x", signal: str = "summary.shadow_avg_diff") -> str:
    path = folder / "alerts.toml"
    path.write_text(RULES.format(url=url, signal=signal), encoding="utf-8")
    return str(path)


def test_what_fires_and_what_became_of_it_is_shown(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = Told(), Told()
    bad.outcome = Outcome("hooks.example answered 500")
    rule = AlertRule(name="differs", signal="x", above=0.0, severity="error")
    database = open_database(url)
    engine = AlertEngine(database, [rule], {"good": good, "bad": bad})
    engine.look({"x": 1.0})
    engine.deliver()
    database.close()
    assert shell.main(["alerts", "list"]) == 0
    said = capsys.readouterr()
    assert "differs: x is 1, above 0." in said.out
    assert "1 message(s) wait for bad" in said.err
    assert shell.main(["alerts", "history"]) == 0
    assert "bad: 1 attempt(s), hooks.example answered 500" in capsys.readouterr().out
    assert shell.main(["alerts", "history", "--json"]) == 0
    (message,) = json.loads(capsys.readouterr().out)
    assert [each["receiver"] for each in message["delivered"]] == ["bad", "good"]
    assert shell.main(["alerts", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["firing"][0]["severity"] == "error"
    assert listed["waiting"] == {"bad": 1}


def test_nothing_is_said_to_be_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.main(["alerts", "list"]) == 0
    assert "Nothing fires." in capsys.readouterr().err
    assert shell.main(["alerts", "history"]) == 0
    assert "No message yet." in capsys.readouterr().err


def test_a_file_that_is_right_is_shown_without_its_secrets(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.main(["alerts", "check", rules(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "challenger differs" in said.out
    assert "1 rule(s), 1 receiver(s), well formed" in said.err
    assert shell.main(["alerts", "check", rules(tmp_path), "--json"]) == 0
    shown = capsys.readouterr()
    checked = json.loads(shown.out)
    assert checked["receivers"] == ["team"]
    assert checked["rules"][0]["above"] == 0.05
    assert "very-secret" not in said.out + said.err + shown.out + shown.err


def test_a_signal_that_nothing_reports_is_pointed_out(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rules(tmp_path, signal="sumary.shadow_avg_diff")
    assert shell.main(["alerts", "check", path]) == 7
    assert "'sumary.shadow_avg_diff' begins with none of summary" in capsys.readouterr().err


def test_a_receiver_is_tried(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening() as hook:
        monkeypatch.setenv("GLASSBOX_ALERTS__RULES", rules(tmp_path, hook.url))
        assert shell.main(["alerts", "test", "team"]) == 0
        assert "team took the test message." in capsys.readouterr().err
        assert b"nothing is wrong" in hook.got[0][2]
        hook.answers.append((403, {}))
        assert shell.main(["alerts", "test", "team", "--json"]) == 7
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "receiver": "team",
        "delivered": False,
        "error": "127.0.0.1 answered 403",
    }


def test_an_unknown_receiver_or_no_file_is_an_error_of_the_user(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.main(["alerts", "test", "taem", "--rules", rules(tmp_path)]) == 2
    assert "No receiver 'taem'. Known: team." in capsys.readouterr().err
    assert shell.main(["alerts", "check"]) == 2
    assert "GLASSBOX_ALERTS__RULES=alerts.toml" in capsys.readouterr().err
