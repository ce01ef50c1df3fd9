"""``glassbox keys``: a key is shown once and never again."""

import json
from pathlib import Path

import pytest

from glassbox.cli import main as shell
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/glassbox.db"
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", url)
    return url


def test_a_key_that_is_made_works_and_is_not_listed(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.main(["keys", "create", "team a", "--scope", "observe"]) == 0
    secret = capsys.readouterr().out.strip()
    key = KeyStore(open_database(url)).find(secret)
    assert key is not None
    assert key.scopes == ("observe",)
    assert shell.main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert "team a" in listed
    assert secret not in listed
    assert shell.main(["keys", "list", "--json"]) == 0
    assert secret not in capsys.readouterr().out


def test_a_script_reads_the_key_as_json(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.main(["keys", "create", "team", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scopes"] == ["observe", "predict"]
    assert KeyStore(open_database(url)).find(made["key"]) is not None


@pytest.mark.parametrize(
    "given", [["--scope", "admin, observe"], ["--scope", "admin", "--scope", "observe"]]
)
def test_several_scopes_are_given_with_commas_or_one_by_one(
    url: str, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    assert shell.main(["keys", "create", "team", "--json", *given]) == 0
    assert json.loads(capsys.readouterr().out)["scopes"] == ["admin", "observe"]


def test_a_revoked_key_is_shown_as_revoked(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    shell.main(["keys", "create", "team", "--json"])
    made = json.loads(capsys.readouterr().out)
    assert shell.main(["keys", "revoke", made["id"]]) == 0
    capsys.readouterr()
    shell.main(["keys", "list", "--json"])
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["revoked_s"] is not None


def test_an_unknown_scope_or_key_is_an_error_of_the_user(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.main(["keys", "create", "team", "--scope", "everything"]) == 2
    assert "predict, observe, admin, techniques" in capsys.readouterr().err
    assert shell.main(["keys", "revoke", "nobody"]) == 2


def test_no_keys_say_what_that_means(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.main(["keys", "list"]) == 0
    assert "listens on this machine alone" in capsys.readouterr().err
