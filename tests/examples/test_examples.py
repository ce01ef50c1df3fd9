"""The examples run as they stand, and stay short."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from glassbox.techniques.local.backend import running

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = {
    "inline": "attention_to_first_token succeeded: ",
    "from_files": "forced_answer, rank_of_last",
    "dynamic_experiments": "temperature 1.5 done",
    "model_info": "8 layers of width 128",
    "always_on": " ms  The soup was",
}
COLD = "inline"
"""The example that is run as somebody would who has just switched the machine on."""


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """One folder for all, so that later examples find the model resident."""
    folder = tmp_path_factory.mktemp("w")
    yield folder
    for state in running(folder):
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name, workers, warm):
    done = subprocess.run(
        [sys.executable if name == COLD else warm / "python", FOLDER / f"{name}.py"],
        env={**os.environ, "GLASSBOX_PATHS__WORKERS": str(workers)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert EXAMPLES[name] in done.stdout


def test_every_example_is_run_and_short():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(EXAMPLES)
    for path in FOLDER.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
