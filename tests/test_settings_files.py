"""Settings that stand in files, as Docker, systemd and Kubernetes mount secrets."""

from pathlib import Path

import pytest

from glassbox.errors import InvalidSetting
from glassbox.settings import client_key, effective, known_settings, load_settings

URL = "postgresql+psycopg://glassbox:s3cret@db/glassbox"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "storage_url"
    path.write_text(f"{URL}\n", encoding="utf-8")
    monkeypatch.setenv("GLASSBOX_STORAGE__URL_FILE", str(path))
    return path


def test_a_value_is_read_from_the_file_that_the_environment_names(secret):
    assert load_settings().storage.url == URL
    origin = next(each.source for each in effective() if each.key == "storage.url")
    assert origin == "environment GLASSBOX_STORAGE__URL_FILE"


def test_it_wins_over_the_configuration_file_and_not_over_arguments(folder, secret):
    (folder / "glassbox.toml").write_text('[storage]\nurl = "sqlite://"\n', encoding="utf-8")
    assert load_settings().storage.url == URL
    assert load_settings({"storage.url": "sqlite:///other.db"}).storage.url == "sqlite:///other.db"


@pytest.mark.parametrize("info", known_settings(), ids=lambda info: info.key)
def test_every_setting_can_stand_in_a_file(info, folder, monkeypatch):
    monkeypatch.setenv(f"{info.variable}_FILE", str(folder / "absent"))
    with pytest.raises(InvalidSetting, match="cannot be read: No such file"):
        load_settings()


def test_numbers_are_read_as_numbers(folder, monkeypatch):
    (folder / "threads").write_text("3", encoding="utf-8")
    monkeypatch.setenv("GLASSBOX_ENGINE__THREADS_FILE", str(folder / "threads"))
    assert load_settings().engine.threads == 3


def test_two_sources_of_one_value_are_refused(secret, monkeypatch):
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", "sqlite://")
    with pytest.raises(InvalidSetting, match=r"URL_FILE.*both set: unset one"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"x" * 70_000, "over 64 KiB"),
    ],
)
def test_a_file_without_a_value_is_refused(secret, content, words):
    secret.write_bytes(content)
    with pytest.raises(InvalidSetting, match=words):
        load_settings()


def test_a_variable_of_no_setting_is_refused_with_the_suffix_too(folder, monkeypatch):
    monkeypatch.setenv("GLASSBOX_STORAGE__ADDRESS_FILE", str(folder / "x"))
    with pytest.raises(InvalidSetting, match="GLASSBOX_STORAGE__ADDRESS_FILE"):
        load_settings()


def test_a_wrong_value_does_not_hide_where_it_came_from(folder, monkeypatch):
    (folder / "threads").write_text("many", encoding="utf-8")
    monkeypatch.setenv("GLASSBOX_ENGINE__THREADS_FILE", str(folder / "threads"))
    with pytest.raises(InvalidSetting, match="GLASSBOX_ENGINE__THREADS_FILE"):
        load_settings()


def test_the_clients_key_too(folder, monkeypatch):
    (folder / "key").write_text("gb_abc\n", encoding="utf-8")
    monkeypatch.setenv("GLASSBOX_API_KEY_FILE", str(folder / "key"))
    load_settings()
    assert client_key() == "gb_abc"
    monkeypatch.setenv("GLASSBOX_API_KEY", "gb_other")
    assert client_key() == "gb_other"
