"""``glassbox versions``: register, look, move, go back; every refusal says what to do."""

import json
from pathlib import Path

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from glassbox.cli import main as shell
from glassbox.rollout.versions.registry import Registry
from glassbox.storage.database import open_database


class Shell:
    def __init__(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self._capsys = capsys
        self.url = url

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = shell.main(["versions", *words])
        told = self._capsys.readouterr()
        return code, told.out, told.err

    def json(self, *words: str) -> dict:
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    def registry(self) -> Registry:
        return Registry(open_database(self.url))


@pytest.fixture
def versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    url = f"sqlite:///{tmp_path}/g.db"
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", url)
    monkeypatch.setenv("GLASSBOX_PATHS__VERSIONS", str(tmp_path / "versions"))
    # No other model is served here, so nothing is there before something is registered.
    monkeypatch.setenv("GLASSBOX_ENGINE__MODEL", "elsewhere")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "three"):
        source = f"def {name}(row):\n    return {len(name)}\n"
        (tmp_path / f"{name}.py").write_text(source)
    return Shell(capsys, url)


@pytest.mark.parametrize(("asked", "named"), [((), ""), (("--model", "tox"), " --model tox")])
def test_nothing_registered_says_what_to_type(versions: Shell, asked: tuple, named: str) -> None:
    code, _, err = versions("list", *asked)
    assert code == 0
    assert " ".join(err.split()).endswith(f"glassbox versions register RUN{named}")


def test_a_version_is_registered_tried_crowned_and_taken_back(versions: Shell) -> None:
    code, out, err = versions("register", "one.py:one", "--example", '{"a": 1}')
    assert code == 0, err
    assert "Registered default_model_v1 (models:/default/1): Python function one.py:one" in out
    assert "It is champion." in err
    made = versions.json("register", "two.py:two", "--name", "better", "--alias", "challenger")
    assert (made["name"], made["aliases"], made["is_new"]) == ("better", ["challenger"], True)
    listed = versions.json("list")
    assert listed["aliases"] == {"default": {"challenger": 2, "champion": 1}}
    code, out, err = versions("alias", "champion", "better", "--reason", "it is better")
    assert "champion of 'default' is better; it was default_model_v1." in out
    assert "Back to default_model_v1: glassbox versions rollback" in err
    code, out, _ = versions("rollback", "--reason", "errors")
    assert "champion of 'default' is default_model_v1; it was better." in out
    lines = versions.json("history")
    assert lines[-1]["alias"] == "champion"
    assert lines[0]["reason"] == "errors"
    code, out, _ = versions("history", "--alias", "champion")
    assert out.count("it is better") == 1


def test_the_same_content_is_said_to_be_there_already(versions: Shell) -> None:
    versions("register", "one.py:one")
    code, out, _ = versions("register", "one.py:one")
    assert code == 0
    assert "Registered already, as default_model_v1" in out
    assert versions.json("register", "one.py:one")["is_new"] is False


def test_a_skops_model_needs_its_types_trusted_and_shows_what_it_takes(
    versions: Shell, tmp_path: Path
) -> None:
    model = LogisticRegression().fit([[0.0, 1.0], [1.0, 0.0]], ["no", "yes"])
    skops.io.dump(model, tmp_path / "m.skops")
    schema = {"features": [{"name": "age", "low": 0}, {"name": "income"}]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    words = ("register", "m.skops", "--schema", "schema.json")
    code, _, err = versions(*words, "--example", '{"age": -1, "income": 0}')
    assert code == 2
    assert "at least 0" in err
    assert versions.registry().snapshot().versions == ()
    code, out, _ = versions(*words)
    assert "scikit-learn LogisticRegression, 2 labels" in out
    code, out, err = versions("show", "champion")
    assert "age (number), income (number)" in out
    assert "no, yes" in out
    assert "Its files are what was registered." in err


def test_damage_is_told(versions: Shell, tmp_path: Path) -> None:
    versions("register", "one.py:one")
    version = versions.registry().snapshot().versions[0]
    (tmp_path / "versions" / version.digest / "one.py").write_text("def one(row): return 9")
    code, _, err = versions("show", "1")
    assert code != 0
    assert "error[corrupt-artifact]" in err
    assert "Register it again" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("register", "nowhere"), "No run folder, skops file or function 'nowhere'"),
        (("register", "one.py:wrong"), "No function in one.py 'wrong'. Known: one."),
        (("register", "three.py:three", "--name", "a b"), "name is 'a b'"),
        (("register", "three.py:three", "--example", "{"), "--example: not valid JSON"),
        (("register", "three.py:three", "--schema", "one.py"), "one.py: not valid JSON"),
        (("alias", "champion", "7"), "No registered version '7'. Known: default_model_v1"),
        (("alias", "champion", "1"), "it is this one already"),
        (("alias", "challenger", "1"), "a version that is not the champion"),
        (("alias", "champion", "--remove"), "has one champion"),
        (("alias", "champion"), "a version, or --remove"),
        (("alias", "latest", "2"), "not 'latest'"),
        (("alias", "champion", "2", "--expected", "2"), "version 1 now, not version 2"),
        (("rollback",), "no previous champion"),
        (("show", "models:/default/9"), "Known: default_model_v1, default_model_v2"),
        (("export-mlflow", "ftpx://x"), "MLflow's address is 'ftpx://x'"),
    ],
)
def test_every_refusal_says_what_is_allowed(
    versions: Shell, words: tuple[str, ...], message: str
) -> None:
    versions("register", "one.py:one", "--unchecked")
    versions("register", "two.py:two", "--unchecked")
    before = versions.registry().history()
    code, _, err = versions(*words)
    assert code != 0
    assert message in err
    assert versions.registry().history() == before


def test_an_alias_of_ones_own_can_be_set_and_removed(versions: Shell) -> None:
    versions("register", "one.py:one")
    line = versions.json("alias", "nightly", "1", "--expected", "none")
    assert (line["before"], line["after"]) == (None, 1)
    _, out, _ = versions("alias", "nightly", "--remove")
    assert "nightly of 'default' names no version any more; it was default_model_v1." in out


def test_an_alias_that_looks_like_a_slip_is_told(versions: Shell) -> None:
    versions("register", "one.py:one")
    assert "Did you mean 'challenger'?" in versions("alias", "chalenger", "1")[2]
    assert "Did you mean" not in versions("alias", "nightly", "1")[2]


def test_a_challenger_needs_a_champion_and_settings_can_name_one_that_is_to_come(
    versions: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSBOX_ACTIVE_MODEL_VERSION", "mine")
    code, _, err = versions("register", "one.py:one", "--alias", "challenger")
    assert code == 2
    assert "has none yet: glassbox versions alias champion VERSION" in err
    assert versions.json("register", "two.py:two", "--name", "mine")["aliases"] == ["champion"]


def test_settings_that_were_overruled_are_mentioned(
    versions: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions("register", "one.py:one")
    monkeypatch.setenv("A1_SHADOW_MODEL_VERSION", "experimental_v3")
    code, _, err = versions("list")
    assert code == 0
    assert "The settings name 'experimental_v3'" in err
