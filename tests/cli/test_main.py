"""The shell around the commands: errors, exit codes, lazy loading, signals, pipes."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
import typer

from glassbox.cli import main as shell
from glassbox.cli.commands import RESUMES, Entry
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import NotEnoughData, UnknownName
from glassbox.settings.foreign import SPIN_COUNT
from tests.waiting import PATIENCE_S

SOURCE = Path(shell.__file__).parents[2]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Put one function in the place of all commands, under the name ``trial``."""

    def install(function: Callable[..., None]) -> None:
        module = types.ModuleType("trial_command")
        module.trial = function
        monkeypatch.setitem(sys.modules, "trial_command", module)
        entry = Entry("trial", "trial_command:trial", "Try something.", "Trials")
        monkeypatch.setattr(shell, "ENTRIES", (entry,))

    return install


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GLASSBOX_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**clean, "PYTHONPATH": str(SOURCE), **environment},
    )


def test_no_words_show_the_help(capsys):
    assert shell.main([]) == 0
    shown = capsys.readouterr().out
    for entry in shell.ENTRIES:
        assert entry.name in shown


def test_version(capsys):
    assert shell.main(["--version"]) == 0
    assert re.fullmatch(r"glassbox \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize("entry", shell.ENTRIES, ids=lambda entry: entry.name)
def test_every_command_loads_and_explains_itself(entry, capsys):
    assert shell.main([entry.name, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
    assert entry.help.endswith(".")
    assert shell.load_command(entry.name).name == entry.name


def test_help_shows_the_words_as_they_are_written(command, capsys, monkeypatch):
    def trial(
        place: Annotated[str, typer.Argument(help="Where.")],
        plan: Annotated[int, typer.Option(help="Steps and [limits].", min=1)] = 1,
        loud: Annotated[bool, typer.Option("--loud", help="Say more.")] = False,
    ) -> None:
        """Try something.

        What stands in a second paragraph
        is one paragraph.
        """

    command(trial)
    monkeypatch.setenv("COLUMNS", "100")
    assert shell.main(["trial", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Usage: glassbox trial [OPTIONS] PLACE" in shown
    assert "What stands in a second paragraph is one paragraph." in shown
    assert "--plan <int> [x>=1] Steps and [limits]." in shown
    assert "--loud Say more." in shown


def test_commands_of_one_panel_stand_together():
    panels = [entry.panel for entry in shell.ENTRIES]
    runs = [panel for place, panel in enumerate(panels) if place == 0 or panels[place - 1] != panel]
    assert len(runs) == len(set(runs))
    assert len({entry.name for entry in shell.ENTRIES}) == len(shell.ENTRIES)


def test_a_result_is_printed_and_ends_with_zero(command, capsys):
    def trial(text: str, loud: bool = False) -> None:
        typer.echo(text.upper() if loud else text)

    command(trial)
    assert shell.main(["trial", "hello", "--loud"]) == 0
    assert capsys.readouterr().out == "HELLO\n"


def test_our_error_ends_without_a_traceback(command, capsys):
    def trial() -> None:
        raise NotEnoughData("A calibrator", 3, 40)

    command(trial)
    assert shell.main(["trial"]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error[not-enough-data]: A calibrator needs at least 40 rows; there are 3.\n"


def test_json_commands_answer_errors_in_json(command, capsys):
    def trial(json: Annotated[bool, typer.Option("--json")] = False) -> None:
        raise UnknownName("column", "lable", ["label", "text"])

    command(trial)
    assert shell.main(["trial", "--json"]) == ExitCode.USAGE
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"]["code"] == "unknown-name"
    assert "Did you mean 'label'?" in answer["error"]["message"]


def test_json_after_the_end_of_options_is_a_text(command, capsys):
    def trial(text: str) -> None:
        raise UnknownName("label", text)

    command(trial)
    assert shell.main(["trial", "--", "--json"]) == ExitCode.USAGE
    assert capsys.readouterr().out == ""


def test_a_message_that_ends_in_a_question_gets_no_full_stop(capsys):
    assert shell.main(["demo", "confidense"]) == ExitCode.USAGE
    assert "Did you mean 'confidence'? Try: glassbox demo --help\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trail"], r"No command 'trail'.*Did you mean 'trial'\?"),
        (["trial", "--nmber", "3"], r"No such option: --nmber.*Try: glassbox trial --help"),
        (["trial"], r"Missing (option|parameter).*number"),
        (["trial", "--number", "many"], r"Invalid value for '--number'.*valid integer"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(words, message, command, capsys):
    def trial(number: Annotated[int, typer.Option()]) -> None:
        raise AssertionError(number)

    command(trial)
    assert shell.main(words) == ExitCode.USAGE
    assert re.search(message, capsys.readouterr().err, re.DOTALL)


def test_a_missing_extra_is_named(command, capsys):
    def trial() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    command(trial)
    assert shell.main(["trial"]) == ExitCode.DEPENDENCY
    assert "pip install 'glassbox-llm[serve]'" in capsys.readouterr().err


def test_a_fault_of_ours_keeps_its_traceback(command):
    def trial() -> None:
        raise ModuleNotFoundError("No module named 'glassbox.absent'", name="glassbox.absent")

    command(trial)
    with pytest.raises(ModuleNotFoundError, match="absent"):
        shell.main(["trial"])


@pytest.mark.parametrize("name", ["x" * 300, "."])
def test_a_path_that_cannot_be_opened_is_named(name, command, capsys):
    command(lambda: Path(name).read_text())
    assert shell.main(["trial"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert f"path is '{name}'" in said.replace("\n", "")
    assert "can be opened" in said


def test_a_folder_that_cannot_be_written_is_named(command, capsys):
    def trial() -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/mnt/plan")

    command(trial)
    assert shell.main(["trial"]) == ExitCode.USAGE
    assert "path is '/mnt/plan'" in capsys.readouterr().err


def test_a_terminal_without_utf_8_is_told_the_same(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "glassbox", "config", "show"],
        capture_output=True, cwd=tmp_path, timeout=120, check=False,
        env=os.environ | plain | {"GLASSBOX_ENGINE__MODEL": "größe"},
    )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr.decode()
    assert b"engine.model" in done.stdout


def test_a_command_chooses_its_exit_code(command):
    def trial() -> None:
        raise typer.Exit(ExitCode.INCOMPLETE)

    command(trial)
    assert shell.main(["trial"]) == ExitCode.INCOMPLETE


def test_an_interrupt_says_what_becomes_of_the_work(command, capsys, monkeypatch):
    def trial() -> None:
        raise KeyboardInterrupt

    kept = {entry.name for entry in shell.ENTRIES if entry.when_interrupted == RESUMES}
    assert kept == {"demo", "evaluate", "tune", "pathways"}
    command(trial)
    assert shell.main(["trial"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    (entry,) = shell.ENTRIES
    monkeypatch.setattr(shell, "ENTRIES", (replace(entry, when_interrupted=RESUMES),))
    assert shell.main(["trial"]) == 130
    assert "resume by running the same command" in capsys.readouterr().err


def test_help_is_light_and_needs_no_torch():
    found = python(
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'transformers', 'matplotlib']))\n"
        "from glassbox.cli.main import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'numpy', 'scipy', 'sklearn', 'pyarrow', 'pydantic', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert found.returncode == 0, found.stderr


def test_every_command_explains_itself_without_torch():
    found = python(
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'transformers', 'peft', 'matplotlib']))\n"
        "from glassbox.cli.commands import ENTRIES\n"
        "from glassbox.cli.main import main\n"
        "codes = {entry.name: main([entry.name, '--help']) for entry in ENTRIES}\n"
        "assert not any(codes.values()), codes\n"
    )
    assert found.returncode == 0, found.stderr


def test_output_without_a_terminal_has_no_colour():
    found = python("from glassbox.cli.main import run; run()", TERM="xterm-256color")
    assert "\x1b[" not in found.stdout


def test_a_real_interrupt_ends_with_130():
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, sys, time, types\n"
            # A shell's background job is started deaf to interrupts, and so are its children.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from glassbox.cli import main as shell\n"
            "from glassbox.cli.commands import Entry\n"
            "def trial() -> None:\n"
            "    print('started', flush=True)\n"
            "    time.sleep(30)\n"
            "sys.modules['trial_command'] = module = types.ModuleType('trial_command')\n"
            "module.trial = trial\n"
            "shell.ENTRIES = (Entry('trial', 'trial_command:trial', 'Try.', 'Trials'),)\n"
            "sys.argv = ['glassbox', 'trial']\n"
            "shell.run()\n",
        ],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_error():
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, types\n"
            "from glassbox.cli import main as shell\n"
            "from glassbox.cli.commands import Entry\n"
            "def trial() -> None:\n"
            "    for number in range(200_000):\n"
            "        print(number)\n"
            "sys.modules['trial_command'] = module = types.ModuleType('trial_command')\n"
            "module.trial = trial\n"
            "shell.ENTRIES = (Entry('trial', 'trial_command:trial', 'Try.', 'Trials'),)\n"
            "sys.argv = ['glassbox', 'trial']\n"
            "shell.run()\n",
        ],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "0\n"
    child.stdout.close()
    assert child.stderr is not None
    err = child.stderr.read()
    child.stderr.close()
    assert child.wait(timeout=PATIENCE_S) == ExitCode.PIPE_CLOSED
    assert err == ""


def test_completion_of_a_half_typed_line_does_not_fail():
    found = python(
        "from glassbox.cli.main import run; run()",
        _GLASSBOX_COMPLETE="complete_bash",
        COMP_WORDS="glassbox conf",
        COMP_CWORD="1",
    )
    assert found.returncode == 0, found.stderr
    assert "config" in found.stdout


def test_with_every_command_torchs_threads_wait_awake_for_a_short_time(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    # Whatever it sets goes again with the test.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert shell.main(["config", "show", "--help"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == SPIN_COUNT
