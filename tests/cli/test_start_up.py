"""What a command does not import, because it does not need it and every import is waited for."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from glassbox.cli import main as shell
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.runtime import SHIPPED_RUN

ROOMS_APART = ("glassbox.rollout.assembly", "glassbox.rollout.drift", "glassbox.pathways")
"""Rooms that no answer of a single model passes."""

SOURCE = Path(shell.__file__).parents[2]

SEEN = "import sys; print('MODULES', *sys.modules, file=sys.stderr)"


def imported(code: str, folder: Path) -> set[str]:
    """Return the modules that a process of its own has imported when some code is done."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GLASSBOX_")}
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SEEN}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**clean, "PYTHONPATH": str(SOURCE)},
        timeout=600,
    )
    assert found.returncode == 0, found.stderr
    return set(found.stderr.rpartition("MODULES ")[2].split())


def command(words: Iterable[object], code: ExitCode = ExitCode.OK) -> str:
    """Return code that carries out one command line."""
    said = [str(word) for word in words]
    return f"from glassbox.cli.main import main; assert main({said!r}) == {int(code)}"


def unneeded(modules: set[str], *names: str) -> set[str]:
    """Return those of some libraries and packages that were imported all the same."""
    return {each for each in names if each in modules}


def test_a_text_is_written_without_peft_and_without_the_registry(tmp_path):
    modules = imported(
        command(["generate", "Oslo", "--model", "tiny", "--max-tokens", 1, "--json"]), tmp_path
    )
    assert {"torch", "transformers.modeling_utils"} <= modules
    without = ("peft", "sqlalchemy", "scipy.stats", "sklearn", "pandas", "pyarrow")
    assert not unneeded(modules, *without, *ROOMS_APART)


def test_a_text_is_labelled_without_what_fits_and_draws(tmp_path):
    modules = imported(command(["classify", "The soup was cold.", "--run", SHIPPED_RUN]), tmp_path)
    assert {"torch", "peft"} <= modules
    without = ("sqlalchemy", "scipy.stats", "sklearn", "pandas", "matplotlib")
    assert not unneeded(modules, *without, *ROOMS_APART, "glassbox.engine.fitting")


def test_finished_runs_are_compared_without_a_model_and_without_pandas(tmp_path):
    modules = imported(command(["compare", SHIPPED_RUN, SHIPPED_RUN]), tmp_path)
    assert "pyarrow" in modules
    assert not unneeded(modules, "torch", "scipy.stats", "sklearn", "pandas", "matplotlib")


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--model", "tiny", "--data", "nowhere.csv"],
        ["tune", "--model", "tiny", "--data", "nowhere.csv"],
        ["verify", "Who?", "--response", "Oslo", "--verifier", "nowhere"],
    ],
    ids=lambda words: words[0],
)
def test_what_is_not_there_is_told_before_torch_is_imported(words, tmp_path):
    modules = imported(command(words, ExitCode.USAGE), tmp_path)
    assert not unneeded(modules, "torch", "transformers", "peft", "sklearn", "pandas")


def test_a_server_is_put_together_without_what_compares_and_fits(tmp_path):
    code = "from glassbox.server import start; from glassbox.server.process import running"
    modules = imported(code, tmp_path)
    assert {"glassbox.rollout.assembly.assembling", "transformers.modeling_utils"} <= modules
    without = ("peft", "scipy.stats", "sklearn", "pandas", "matplotlib")
    assert not unneeded(
        modules, *without, "glassbox.rollout.drift.watch", "glassbox.engine.fitting"
    )
