"""``glassbox drift``: from recorded answers or files to a verdict on the terminal."""

import json
from pathlib import Path

import pytest

from glassbox.audit.store import InferenceStore
from glassbox.cli import main as shell
from glassbox.storage.database import open_database
from tests.rollout.drift.worlds import records


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InferenceStore:
    url = f"sqlite:///{tmp_path}/glassbox.db"
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", url)
    monkeypatch.setenv("GLASSBOX_DRIFT__WINDOW", "600")
    monkeypatch.setenv("GLASSBOX_DRIFT__MIN_ROWS", "200")
    monkeypatch.setenv("COLUMNS", "160")
    return InferenceStore(open_database(url))


def keep(store: InferenceStore, seed: int, n: int, *, shift: float = 0.0, start: int = 0) -> None:
    for each in records(seed, n, shift=shift, start=start):
        store.record(each.primary)
        if each.label is not None:
            store.record(each.label)
    store.flush()


def test_the_whole_way_from_a_reference_to_a_column_over_time(
    store: InferenceStore, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store, 0, 700)
    assert shell.main(["drift", "reference", "create", "--last-n", "700"]) == 0
    assert capsys.readouterr().out.strip() == "default-r1"
    keep(store, 1, 600, shift=1.0, start=700)
    assert shell.main(["drift", "run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Drift: 1 of 7 columns. 600 rows of default_model_v1 against 700")
    assert "mean 4" in shown
    assert "600 rows" in shown
    assert "300 labels" in shown
    assert "selection_rate by sex" in shown
    assert shell.main(["drift", "show"]) == 0
    assert capsys.readouterr().out == shown
    assert shell.main(["drift", "show", "age"]) == 0
    column = capsys.readouterr().out
    assert "default-d1" in column
    assert "and above" in column
    assert shell.main(["drift", "show", "member"]) == 0
    assert "true" in capsys.readouterr().out
    assert shell.main(["drift", "reference", "list"]) == 0
    assert "current" in capsys.readouterr().out


def test_programs_read_json(store: InferenceStore, capsys: pytest.CaptureFixture[str]) -> None:
    keep(store, 0, 700)
    assert shell.main(["drift", "reference", "create", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["n_rows"] == 700
    assert "age" in made["columns"]
    assert shell.main(["drift", "run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "no_drift"
    assert shell.main(["drift", "show", "--json", "--report", report["report_id"]]) == 0
    assert json.loads(capsys.readouterr().out)["report_id"] == report["report_id"]
    assert shell.main(["drift", "show", "age", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["feature"] == "age"
    assert shell.main(["drift", "reference", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["is_current"]


@pytest.mark.usefixtures("store")
def test_what_is_missing_is_said_with_the_command_that_makes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shell.main(["drift", "show"]) == 0
    assert "glassbox drift run" in capsys.readouterr().err
    assert shell.main(["drift", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) is None
    assert shell.main(["drift", "reference", "list"]) == 0
    assert "glassbox drift reference create" in capsys.readouterr().err
    assert shell.main(["drift", "run"]) == 3
    assert "glassbox drift reference create" in capsys.readouterr().err
    assert shell.main(["drift", "reference", "create", "--since", "yesterday"]) == 2
    assert "--since" in capsys.readouterr().err


def test_a_column_that_is_not_in_the_report_is_an_error(
    store: InferenceStore, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store, 0, 700)
    shell.main(["drift", "reference", "create"])
    shell.main(["drift", "run"])
    capsys.readouterr()
    assert shell.main(["drift", "show", "agee"]) == 2
    assert "Did you mean 'age'?" in capsys.readouterr().err


@pytest.mark.data
def test_files_are_compared_without_a_database(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("COLUMNS", "160")
    folder = data_dir / "drift" / "california-housing-nannyml"
    files = [str(folder / f"california_housing_{name}.csv") for name in ("reference", "analysis")]
    roles = ["--prob", "y_pred_proba", "--answer", "y_pred", "--truth", "clf_target"]
    assert shell.main(["drift", "compare", *files, *roles, "--time", "timestamp"]) == 0
    shown = capsys.readouterr().out
    assert "8,232 rows against 5,832 of the reference" in shown
    assert "confidence alone" in shown
    assert "fell" in shown
    assert shell.main(["drift", "compare", *files, *roles, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimate"]["fell"]
    for option in ("--prob", "--truth"):
        assert shell.main(["drift", "compare", files[0], files[1], option, "nope"]) == 2
        assert "'nope'" in capsys.readouterr().err
