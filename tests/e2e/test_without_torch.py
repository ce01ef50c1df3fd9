"""What needs no model library works without one, and what asks a server with the base alone."""

import subprocess
import sys

import pytest

from glassbox.cli.machine.doctor import EXTRA_LIBRARIES

BLOCKED = """
import sys

ABSENT = sys.argv.pop(1).split(",")

class Absent:
    def find_spec(self, name, path=None, target=None):
        library = name.partition(".")[0]
        if library in ABSENT:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)

sys.meta_path.insert(0, Absent())
"""

MAIN = """
from glassbox.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


MODEL = ("torch", "transformers", "peft", "safetensors", "tokenizers", "huggingface_hub")
"""Libraries of models."""

OPTIONAL = (*MODEL, *(library for each in EXTRA_LIBRARIES.values() for library in each))
"""All that the package without an extra does not bring."""

IMPORTS = """
import importlib, pkgutil
import glassbox, glassbox.client, glassbox.wire
for package in (glassbox.client, glassbox.wire):
    for each in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{each.name}")
glassbox.Client().close()
print(glassbox.AsyncClient.__name__)
"""


def run(*arguments, absent=MODEL, code=MAIN):
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, ",".join(absent), *arguments],
        capture_output=True,
        text=True,
        check=False,
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


def test_the_client_and_the_wire_need_no_extra():
    done = run(absent=OPTIONAL, code=IMPORTS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "AsyncClient\n"


@pytest.mark.parametrize(
    ("arguments", "number", "words"),
    [
        (("--help",), 0, "generate"),
        (("probes", "list", "no-such-folder"), 2, "no-such-folder"),
        (("probes", "list"), 0, ""),
        (("generate", "hi", "--server", "http://127.0.0.1:9"), 4, "No server answers"),
        (("generate", "hi"), 6, "glassbox-llm[serve]"),
        (("serve",), 6, "glassbox-llm[serve]"),
    ],
)
def test_commands_that_need_no_model_need_no_extra(arguments, number, words):
    done = run(*arguments, absent=OPTIONAL)
    assert done.returncode == number, done.stderr
    assert words in done.stdout + done.stderr
