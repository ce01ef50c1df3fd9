"""``glassbox audit``: what is kept can be looked at, checked, told more about, and removed."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from glassbox.audit import InferenceStore
from glassbox.audit.records import ErasureEvent, LabelEvent
from glassbox.cli import main as shell
from glassbox.storage.database import open_database
from tests.audit.made_events import primary, shadow


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/glassbox.db"
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", url)
    database = open_database(url)
    store = InferenceStore(database)
    for number in range(8):
        failed = number == 2
        store.record(
            primary(
                f"r{number}",
                time_s=1_700_000_000.0 + number,
                status="error" if failed else "success",
                error_code="capacity" if failed else "",
                segments={"country": "de" if number % 2 else "fr"},
                features={"name": "Ada"},
            )
        )
        store.record(shadow(f"r{number}", diff=number / 10))
    store.close()
    database.close()
    return url


def asked(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> object:
    assert shell.main(["audit", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_summary_is_that_of_the_window(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(["summary"], capsys)
    assert isinstance(found, dict)
    assert (found["rolling_count"], found["error_count"]) == (8, 1)
    assert found["shadow_max_diff"] == 0.7
    assert shell.main(["audit", "summary"]) == 0
    shown = capsys.readouterr().out
    for text in ("87.50 %, 1 failed", "0.0000 to 0.7000", "country", "default_model_v1"):
        assert text in shown


def test_an_empty_log_has_a_summary_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", f"sqlite:///{tmp_path}/none.db")
    assert shell.main(["audit", "summary"]) == 0
    assert shell.main(["audit", "recent"]) == 0
    assert "No such predictions" in capsys.readouterr().err
    assert shell.main(["audit", "verify"]) == 0


def test_recent_predictions_are_listed_and_narrowed_down(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = asked(["recent", "--limit", "3"], capsys)
    assert [each["request_id"] for each in found] == ["r7", "r6", "r5"]
    assert found[0]["shadow_diff"] == 0.7
    assert len(asked(["recent", "--segment", "country=de"], capsys)) == 4
    assert len(asked(["recent", "--model", "default"], capsys)) == 8
    assert asked(["recent", "--model", "another"], capsys) == []
    assert len(asked(["recent", "--min-diff", "0.5", "--status", "success"], capsys)) == 3
    assert shell.main(["audit", "recent"]) == 0
    shown = capsys.readouterr().out
    assert "capacity" in shown
    assert shell.main(["audit", "recent", "--status", "odd"]) == 2
    assert shell.main(["audit", "recent", "--segment", "odd"]) == 2


def test_one_prediction_is_shown_in_full_until_it_is_erased(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.main(["audit", "show", "r3"]) == 0
    assert "Ada" in capsys.readouterr().out
    assert shell.main(["audit", "erase", "r3", "--reason", "asked by its subject"]) == 0
    assert "The content of 2 events of r3 is gone." in capsys.readouterr().err
    assert shell.main(["audit", "show", "r3"]) == 0
    shown = capsys.readouterr()
    assert "erased" in shown.out + shown.err
    assert "Ada" not in shown.out
    assert asked(["show", "r3"], capsys)["record"] is None  # type: ignore[index]
    assert shell.main(["audit", "show", "nobody"]) == 2
    assert shell.main(["audit", "erase", "nobody", "--reason", "x"]) == 2
    assert shell.main(["audit", "erase", "r4"]) == 2
    assert shell.main(["audit", "verify"]) == 0


def test_the_log_says_who_erased_and_who_told_a_truth(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    (tmp_path / "labels.jsonl").write_text('{"request_id": "r1", "label": "yes"}')
    assert shell.main(["audit", "labels", str(tmp_path / "labels.jsonl")]) == 0
    assert shell.main(["audit", "erase", "r3", "--reason", "asked by its subject"]) == 0
    events = [event for _, event in InferenceStore(open_database(url)).read()]
    assert [each.actor for each in events if isinstance(each, LabelEvent | ErasureEvent)] == [
        "ada", "ada",
    ]  # fmt: skip


def test_a_changed_byte_ends_with_a_code_of_its_own(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = asked(["verify"], capsys)
    assert isinstance(found, dict)
    head = found["predictions"]["head"]
    known = f"{head['sequence']}:{head['hash']}"
    assert shell.main(["audit", "verify", "--known", known]) == 0
    assert known in capsys.readouterr().out.replace("\n", "")
    for option in ("--known", "--known-actions"):
        assert shell.main(["audit", "verify", option, "16"]) == 2
        assert f"{option} is '16'" in capsys.readouterr().err
    database = open_database(url)
    with database.transaction() as connection:
        statement = "UPDATE inference_events SET time_s = time_s + 1 WHERE sequence = 5"
        connection.execute(sa.text(statement))
    database.close()
    assert shell.main(["audit", "verify"]) == 5
    assert "The log of predictions breaks at event 5" in capsys.readouterr().err
    broken = asked(["verify"], capsys, code=5)
    assert broken["predictions"]["broken"]["sequence"] == 5  # type: ignore[index]


def test_a_stretch_of_time_is_exported(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.parquet"
    words = ["export", str(path), "--since", "2023-11-14T22:13:22"]
    assert asked(words, capsys)["n_rows"] == 6  # type: ignore[index]
    assert pq.read_table(path).num_rows == 6
    assert shell.main(["audit", "export", str(path), "--until", "yesterday"]) == 2


def test_labels_are_taken_for_predictions_that_are_kept(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(
        '{"request_id": "r1", "label": "negative"}\n\n{"request_id": "gone", "label": 1.5}\n'
        '{"request_id": "r2", "label": true}\n'
    )
    assert asked(["labels", str(path)], capsys, code=7) == {"accepted": 2, "unknown": ["gone"]}
    assert asked(["show", "r2"], capsys)["record"]["label"]["label"] == "true"  # type: ignore[index]
    for text, reason in (
        ("{", "this is no JSON"),
        ('{"request_id": "r1"}', "a line is"),
        ('{"request_id": 1, "label": "x"}', "labels.jsonl, line 1"),
        ("", "no labels in it"),
    ):
        path.write_text(text)
        assert shell.main(["audit", "labels", str(path)]) == 2
        assert reason in capsys.readouterr().err
    assert shell.main(["audit", "labels", str(tmp_path / "none")]) == 2


def test_the_oldest_are_removed_by_the_settings_or_by_option(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.main(["audit", "retain"]) == 2
    assert "--max-age-s" in capsys.readouterr().err
    done = asked(["retain", "--max-bytes", "2000"], capsys)
    assert isinstance(done, dict)
    assert done["n_removed"] > 0
    monkeypatch.setenv("GLASSBOX_AUDIT__RETENTION_S", "1")
    assert asked(["retain"], capsys)["kept"]["n_primaries"] == 0  # type: ignore[index]
    assert shell.main(["audit", "verify"]) == 0
