"""What goes where, and how progress behaves with and without a terminal."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from glassbox.cli.terminal import console
from glassbox.cli.terminal.console import (
    Column,
    note,
    print_json,
    print_json_line,
    print_table,
    print_text,
    progress,
    visible,
)
from tests.waiting import PATIENCE_S


def test_results_go_to_standard_output_and_notes_to_standard_error(capsys):
    print_table(["a", Column("b", align="right")], [(1, None), ("x [not markup]", 2)])
    print_text("text")
    note("aside")
    out, err = capsys.readouterr()
    assert "[not markup]" in out
    assert "text" in out
    assert "None" not in out
    assert err == "aside\n"


@pytest.mark.parametrize("command", ["\x1b]0;title\x07", "\x1b[2J", "\x9b2J", "a\rb", "\x7f"])
def test_no_text_commands_the_terminal(command, capsys):
    print_text(command)
    print_table(["a"], [(f"{command}\tb",)])

    out = capsys.readouterr().out
    assert not any(ord(letter) < 32 and letter != "\n" for letter in out.replace("\t", ""))
    assert not any(0x7F <= ord(letter) < 0xA0 for letter in out)
    assert visible("a\n\tb ä 😀") == "a\n\tb ä 😀"
    assert visible("\x1b") == "␛"


def test_a_table_keeps_to_the_width(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    print_table(["name", "meaning"], [("key", "word " * 40)], title="A title")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40


WORDS = st.text("abcdefghi", min_size=1, max_size=9)
CELLS = st.lists(WORDS, max_size=5).map(" ".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    width=st.integers(36, 130),
    wraps=st.lists(st.booleans(), min_size=3, max_size=9),
    rows=st.integers(1, 3),
    data=st.data(),
)
def test_no_word_of_a_table_is_broken_and_no_column_goes(
    monkeypatch, capsys, width, wraps, rows, data
):
    monkeypatch.setenv("COLUMNS", str(width))
    columns = [Column(data.draw(WORDS), wraps=each) for each in wraps]
    cells = [[data.draw(CELLS) for _ in columns] for _ in range(rows)]
    print_table(columns, cells)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    seen = out.split()
    for word in (word for row in cells for cell in row for word in cell.split()):
        assert word in seen


@pytest.mark.parametrize(
    ("width", "wraps", "cells"),
    [
        # The library takes a letter more from a column than there is to take.
        (
            87,
            True,
            ["cc accbcccaa", "bc aaccbccbc caba", "ccbab abaccba bbccccac", "bab cbbbacc caab"],
        ),
        # It cuts lines off that are to stay whole where all of them are too many.
        (
            60,
            False,
            ["aab accbcbba acbcbcaa", "cabaccab cabab", "acaacac aacbbbc", "c bacacca cbaa"],
        ),
    ],
)
def test_the_library_takes_nothing_from_a_table(monkeypatch, capsys, width, wraps, cells):
    for each in range(36, width):
        monkeypatch.setenv("COLUMNS", str(each))
        print_table([Column(name, wraps=wraps) for name in ("bac", "bbaccac", "b", "aba")], [cells])
        seen = capsys.readouterr().out.split()
        assert {word for cell in cells for word in cell.split()} <= set(seen)


def test_on_a_narrow_terminal_rows_become_lists(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    print_table(
        [Column("name", wraps=False), Column("address", wraps=False), "aliases", "measured"],
        [("default_model_v1", "models:/default/1", "champion", "accuracy 0.784, ECE 0.063")],
    )
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split(maxsplit=1) for line in lines if line] == [
        ["name", "default_model_v1"],
        ["address", "models:/default/1"],
        ["aliases", "champion"],
        ["measured", "accuracy 0.784, ECE 0.063"],
    ]


def test_a_piped_table_is_wide(capsys):
    print_table(["name"], [("x" * 110,)])
    assert "x" * 110 in capsys.readouterr().out


def test_a_note_cannot_command_the_terminal(capsys):
    note("of kind 'LO\x1b]52;c;ZWNobyBoaQ==\x1b\\\x9b31mRA'\nsecond line")
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\x9b" not in said
    assert "LO␛]52;" in said
    assert said.endswith("\nsecond line\n")


def test_a_long_note_is_not_broken(capsys):
    note("word " * 100)
    assert capsys.readouterr().err.count("\n") == 1


def test_json_takes_arrays_and_paths(capsys):
    print_json({"a": np.float32(0.5), "b": np.arange(2), "c": Path("x"), "d": float("nan"), 3: 4})
    found = json.loads(capsys.readouterr().out)
    assert found == {"a": 0.5, "b": [0, 1], "c": "x", "d": None, "3": 4}
    print_json_line([1, 2])
    assert capsys.readouterr().out == "[1,2]\n"


def test_json_refuses_what_has_no_form():
    with pytest.raises(TypeError, match="not JSON serializable"):
        print_json({"a": object()})


def test_short_work_shows_nothing(capsys):
    with progress("Scoring") as report:
        report(1, 2)
        report(2, 2)
    assert capsys.readouterr() == ("", "")


def test_long_work_without_a_terminal_prints_plain_lines(capsys, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(console, "monotonic", lambda: float(next(clock)))
    with progress("Scoring") as report:
        for done in range(1, 41):
            report(done, 40)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "Scoring: 2 of 40, 2 s, about 38 s left"
    assert lines[1] == "Scoring: 7 of 40, 7 s, about 33 s left"
    assert len(lines) == 8


def test_what_came_before_counting_is_no_pace(capsys, monkeypatch):
    clock = iter([0.0, 100.0, 110.0])
    monkeypatch.setattr(console, "monotonic", lambda: next(clock))
    with progress("Packing") as report:
        report(500, 1000)
        report(550, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "Packing: 500 of 1,000, 100 s",
        "Packing: 550 of 1,000, 110 s, about 90 s left",
    ]


def test_work_that_never_reports_still_says_what_it_does(capsys, monkeypatch):
    monkeypatch.setattr(console, "SHOW_AFTER_S", 0.01)
    err = ""
    with progress("Loading"):
        deadline = time.monotonic() + PATIENCE_S
        while not err and time.monotonic() < deadline:
            time.sleep(0.01)
            err = capsys.readouterr().err
    assert err == "Loading…\n"


def test_a_total_may_be_unknown(capsys, monkeypatch):
    monkeypatch.setattr(console, "SHOW_AFTER_S", 0.0)
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    with progress("Reading") as report:
        report(1234, 0)
    assert "Reading: 1,234 done" in capsys.readouterr().err


def test_quiet_is_quiet(capsys, monkeypatch):
    monkeypatch.setattr(console, "SHOW_AFTER_S", 0.0)
    with progress("Scoring", quiet=True) as report:
        report(1, 2)
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def screen(monkeypatch) -> io.StringIO:
    """What a terminal on standard error shows."""
    text = io.StringIO()
    terminal = Console(file=text, force_terminal=True, width=100)
    monkeypatch.setattr(console, "errors", lambda: terminal)
    return text


def test_a_terminal_gets_a_bar_when_it_takes_long(screen, monkeypatch):
    monkeypatch.setattr(console, "SHOW_AFTER_S", 0.01)
    with progress("Scoring") as report:
        report(3, 8)
        deadline = time.monotonic() + PATIENCE_S
        while "3/8" not in screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "Scoring" in screen.getvalue()
    assert "3/8" in screen.getvalue()


def test_a_bar_says_how_long_it_will_take_when_reports_come_a_minute_apart(monkeypatch):
    moment = 0.0
    text = io.StringIO()
    terminal = Console(file=text, force_terminal=True, width=100, get_time=lambda: moment)
    monkeypatch.setattr(console, "errors", lambda: terminal)
    monkeypatch.setattr(console, "SHOW_AFTER_S", 0.01)
    with progress("Replaying") as report:
        for done in range(1, 6):
            report(done, 12)
            moment += 60.0
        deadline = time.monotonic() + PATIENCE_S
        while "5/12" not in text.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "0:07:00" in text.getvalue()


def test_a_terminal_shows_nothing_of_short_work(screen, monkeypatch):
    monkeypatch.setattr(console, "SHOW_AFTER_S", 60.0)
    with progress("Scoring") as report:
        report(3, 8)
    assert "Scoring" not in screen.getvalue()


def test_a_line_of_json_is_on_disk_when_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as out:
        monkeypatch.setattr("sys.stdout", out)
        print_json_line({"a": 1})
        assert (tmp_path / "out").read_text(encoding="utf-8") == '{"a":1}\n'


@pytest.mark.parametrize("width", range(20, 60))
def test_no_line_ends_between_a_number_and_its_unit(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    words = "At most 10 % of 1,200 answers, 6.8 points, after 12 s or 3 samples.\n\nEnd 5 %"
    print_text(words)
    out = capsys.readouterr().out
    assert " ".join(out.split()) == " ".join(words.split())
    for line in out.splitlines():
        assert len(line) <= width
        assert not line.lstrip().startswith(("%", "points", "s "))
