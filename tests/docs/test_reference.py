"""The reference pages are current, and nothing a user can type or meet is missing from them."""

from pathlib import Path
from typing import Any

import pytest

from glassbox.cli.commands import ENTRIES
from glassbox.cli.main import load_command
from glassbox.cli.reference import COMMAND_HELP, pages, write
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import BY_CODE
from glassbox.settings import known_settings
from tests.docs.markdown import ROOT

REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def current() -> dict[str, str]:
    return pages()


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "errors.md"])
def test_the_page_is_current(name, current):
    assert (REFERENCE / name).read_text(encoding="utf-8") == current[name], (
        f"docs/reference/{name} is stale. Run: {COMMAND_HELP}"
    )


def test_pages_are_written_as_they_are(tmp_path: Path, current):
    files = write(tmp_path / "reference")
    assert {path.name: path.read_text(encoding="utf-8") for path in files} == current


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_command_and_option_has_its_place(entry, current):
    page = current["cli.md"]

    def look(command: Any, path: str) -> None:
        assert f"### `{path}`" in page
        part = page.partition(f"### `{path}`")[2].partition("\n### ")[0]
        for param in command.params:
            if getattr(param, "hidden", False):
                continue
            is_argument = param.param_type_name == "argument"
            names = [param.display_name_raw] if is_argument else param.opts
            assert any(f"`{name}`" in part for name in names), (path, param.name)
            assert param.help, f"{path}: {param.name} says nothing about itself"
        for name, each in getattr(command, "commands", {}).items():
            look(each, f"{path} {name}")

    look(load_command(entry.name), f"glassbox {entry.name}")


def test_every_setting_has_its_place(current):
    for info in known_settings():
        assert f"`{info.variable}`" in current["settings.md"]
        assert info.description in current["settings.md"]


def test_every_error_and_exit_code_has_its_place(current):
    for error in BY_CODE.values():
        assert f"`{error.code}` | `{error.__name__}` |" in current["errors.md"]
        assert error.__name__ in current["errors.md"].partition("| code")[0], "not in the drawing"
    for code in ExitCode:
        assert f"| {int(code)} |" in current["cli.md"]
