"""A finished run can be read, drawn and asked for thresholds without any model library."""

import subprocess
import sys

import pytest

BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        library = name.partition(".")[0]
        if library in ("torch", "transformers", "peft", "safetensors", "tokenizers"):
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)

sys.meta_path.insert(0, Absent())
from glassbox.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments], capture_output=True, text=True, check=False
    )


def test_the_shipped_run_is_drawn_and_reported(tmp_path):
    done = run("charts", "shipped", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "charts").rglob("*.png"))) == 18
    assert "What can be automated" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [("threshold", "shipped", "--max-error", "0.1"), ("compare", "shipped", "shipped")],
)
def test_figures_of_the_shipped_run_are_printed(arguments):
    done = run(*arguments)
    assert done.returncode == 0, done.stderr


def test_what_needs_a_model_names_the_extra():
    done = run("classify", "The soup was superb.")
    assert done.returncode == 6
    assert "glassbox-llm[serve]" in done.stderr
