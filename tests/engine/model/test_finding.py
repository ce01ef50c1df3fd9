"""A name that means nothing is told before anything large is imported or asked for."""

import json
import subprocess
import sys

import pytest

from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.engine.model.finding import find_config, find_model, require_model
from glassbox.errors import UnknownName
from glassbox.testing import tiny_loaded

TYPED = """
import sys
from glassbox.cli.main import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules, "torch was imported first"
sys.exit(code)
"""


@pytest.mark.parametrize(
    "typed",
    [["generate", "hello", "--model"], ["logprobs", "hello", "--model"], ["doctor", "--model"]],
    ids=lambda typed: typed[0],
)
def test_a_name_mistyped_is_told_before_torch_is_imported(typed):
    told = subprocess.run(
        [sys.executable, "-c", TYPED, *typed, "TYPO"], capture_output=True, text=True
    )
    assert "No model 'TYPO'" in told.stderr
    assert told.returncode == ExitCode.USAGE, told.stderr


def test_the_hub_is_not_asked_for_what_is_here(tmp_path, monkeypatch):
    asked = []

    def fetch(name, *, revision, allow_patterns, local_files_only=False):
        asked.append(local_files_only)
        return str(tmp_path)

    monkeypatch.setattr("glassbox.engine.model.finding.snapshot_download", fetch)
    require_model("tiny")
    require_model(str(tmp_path))
    assert not asked
    # Not whole in the cache: the files that are missing are fetched.
    require_model("somebody/some-model")
    assert asked == [True, False]
    loaded = tiny_loaded()
    loaded.model.save_pretrained(tmp_path)
    require_model("somebody/some-model")
    assert asked == [True, False, True]


def test_of_a_configuration_nothing_else_is_fetched(tmp_path, monkeypatch):
    file = find_config("tiny")
    assert file == find_model("tiny") / "config.json"
    assert find_config(str(file)) == file
    assert json.loads(file.read_text())["model_type"] == "llama"
    wanted = []

    def fetch(name, *, revision, allow_patterns):
        wanted.append((name, revision, allow_patterns))
        return str(file.parent)

    monkeypatch.setattr("glassbox.engine.model.finding.snapshot_download", fetch)
    assert find_config("somebody/some-model@v1") == file
    assert wanted == [("somebody/some-model", "v1", ["config.json"])]
    for name in (str(tmp_path), str(tmp_path / "nothing"), "a/b/c"):
        with pytest.raises(UnknownName, match=f"No model '{name}'"):
            find_config(name)
