"""``glassbox config show``: every setting with its origin, and never the token."""

import json

import pytest

from glassbox.cli.main import main
from glassbox.settings import known_settings


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_setting_is_shown_with_its_origin(capsys, monkeypatch):
    monkeypatch.setenv("GLASSBOX_ENGINE__THREADS", "3")
    assert main(["config", "show", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["key"] for each in found["settings"]] == [info.key for info in known_settings()]
    threads = next(each for each in found["settings"] if each["key"] == "engine.threads")
    assert threads == {
        "key": "engine.threads",
        "value": 3,
        "source": "environment GLASSBOX_ENGINE__THREADS",
    }
    assert main(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert all(info.key in shown for info in known_settings())


def test_the_token_is_only_set_or_not_set(capsys, monkeypatch):
    assert main(["config", "show"]) == 0
    assert "not set" in capsys.readouterr().out
    monkeypatch.setenv("HF_TOKEN", "hf_secret_value")
    for words in (["config", "show"], ["config", "show", "--json"], ["doctor", "--json"]):
        main(words)
        out, err = capsys.readouterr()
        assert "hf_secret_value" not in out + err


def test_a_misspelt_setting_ends_the_command(capsys, monkeypatch):
    monkeypatch.setenv("GLASSBOX_ENGINE__THREDS", "3")
    assert main(["config", "show", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "invalid-setting"
    assert "Did you mean 'GLASSBOX_ENGINE__THREADS'?" in err


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://glassbox:s3cr3t@db/glassbox",
        "postgresql+psycopg://db/glassbox?user=glassbox&password=s3cr3t",
    ],
)
def test_the_databases_password_is_not_shown(url, capsys, monkeypatch):
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", url)
    for words in (["config", "show"], ["config", "show", "--json"]):
        assert main(words) == 0
        out, err = capsys.readouterr()
        assert "s3cr3t" not in out + err
    assert "***" in out
