import sys
import types

import pytest

from glassbox.errors import DeadlineExceeded, QueueFull, TechniqueFailed
from glassbox.techniques.calls import RemoteError, Run
from glassbox.techniques.running.remote_errors import N_NOTED, describe, edited, raise_here


class OddlyMade(Exception):
    def __init__(self, code, reason):
        self.code_of_it = code
        super().__init__(code, reason)

    def __str__(self):
        return f"{self.code_of_it}!"


class Wordless(Exception):
    def __str__(self):
        raise OSError("no words")


def described(error):
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001
        return describe(raised, __file__)


def again(error, **fields):
    run = Run("run-1", "failed", error=described(error), **fields)
    with pytest.raises(type(error)) as caught:
        raise_here(run)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        KeyError("missing"),
        KeyError(("a", 1)),
        OSError(2, "no such file"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad start"),
        StopIteration("over"),
        ZeroDivisionError("division by zero"),
        DeadlineExceeded("too long"),
        QueueFull(3, 1.5),
        OddlyMade(7, "x"),
        ExceptionGroup("two", [ValueError("a"), KeyError("b")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_same_class_is_raised_with_the_same_words(error):
    if isinstance(error, ExceptionGroup):
        with pytest.raises(TechniqueFailed, match="two"):
            raise_here(Run("run-1", "failed", error=described(error)))
        return
    found = again(error)
    assert str(found) == str(error)
    assert isinstance(found.__cause__, TechniqueFailed)
    assert "On the other side:\nTraceback" in str(found.__cause__)


def test_a_class_of_the_script_that_asked_is_found_by_the_scripts_name(monkeypatch):
    class Missing(Exception):
        pass

    script = types.ModuleType("__main__")
    script.__file__ = "/home/me/ideas.py"
    script.Missing = Missing
    Missing.__qualname__ = "Missing"
    monkeypatch.setitem(sys.modules, "__main__", script)
    with pytest.raises(Missing, match="no such layer"):
        raise_here(Run("run-1", "failed", error=RemoteError("ideas.Missing", "no such layer", "")))


@pytest.mark.parametrize(
    "name",
    ["builtins.SystemExit", "builtins.KeyboardInterrupt", "no.such.Thing", "builtins.print",
     "os.system", "Nothing", ""],
)  # fmt: skip
def test_what_is_no_exception_class_here_is_a_failed_technique(name):
    with pytest.raises(TechniqueFailed, match="words"):
        raise_here(Run("run-1", "failed", error=RemoteError(name, "words", "")))


def test_notes_tell_the_own_line_and_what_was_printed():
    lines = tuple(f"line {number}" for number in range(30))
    found = again(ValueError("bad"), lines=lines)
    own, printed = found.__notes__
    assert own.endswith("raise error")
    assert printed.splitlines()[0] == "it printed:"
    assert len(printed.splitlines()) == N_NOTED + 1
    assert printed.endswith("line 29")


def test_a_run_that_was_lost_says_so():
    with pytest.raises(TechniqueFailed, match="run-1 has lost"):
        raise_here(Run("run-1", "lost"))


def test_an_exception_without_words_is_described():
    assert "cannot be had: OSError" in described(Wordless()).message


def test_half_characters_of_an_exception_are_spelled_out():
    error = described(ValueError("a\ud800b"))
    assert error.message == "a\\ud800b"
    assert "a\\ud800b" in error.traceback


def test_a_long_text_is_cut_and_says_so():
    message = described(ValueError("x" * 50_000)).message
    assert len(message) < 21_000
    assert "30,000 characters left out" in message


def test_causes_come_along():
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        found = describe(error, __file__)
    assert "KeyError: 'inner'" in found.traceback
    assert found.source_line == 'raise ValueError("outer") from inner'


def test_every_text_of_it_can_be_edited():
    found = edited(described(ValueError("secret")), lambda text: text.replace("secret", "-"))
    assert "secret" not in found.message + found.traceback + found.source_line


def test_notes_of_the_error_are_part_of_its_words():
    error = ValueError("bad")
    error.add_note("in input 3")
    assert described(error).message == "bad\nin input 3"


def test_what_we_say_of_a_run_is_said_once_and_without_a_class():
    error = describe(TechniqueFailed("The run was cancelled."))
    assert error.traceback == ""
    with pytest.raises(TechniqueFailed) as caught:
        raise_here(Run("run-1", "cancelled", error=error))
    assert str(caught.value) == "The run was cancelled."
