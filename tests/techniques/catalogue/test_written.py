"""Code that an agent wrote becomes a function, and none of it runs before the function does."""

import linecache
import traceback

import pytest

from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques.catalogue.written import MOST_CHARACTERS, as_written, function_from

MODULE = """\
from __future__ import annotations

import math
from dataclasses import dataclass

FACTOR = 3
calls = 0


@dataclass
class Answer:
    values: list[Missing]


def helper(value):
    global calls
    calls += 1
    return math.floor(value) * FACTOR


def technique(model, tokenizer, values):
    try:
        found = [helper(value) for value in values]
    except TypeError as problem:
        raise ValueError(str(problem))
    return Answer(found), calls
"""


def test_a_module_s_functions_constants_and_globals_work_as_in_a_module():
    function = function_from(MODULE)
    answer, calls = function("model", "tokenizer", values=[1.5, 2.5])
    assert (answer.values, calls) == ([3, 6], 2)
    assert function.__name__ == "technique"


def test_nothing_runs_until_it_is_called():
    function = function_from("raise KeyError('ran')\ndef technique(model, tokenizer): pass\n")
    with pytest.raises(KeyError, match="ran"):
        function(None, None)


def test_a_traceback_shows_the_lines_of_the_text():
    function = function_from("def technique(model, tokenizer, n):\n    half = 1 / n  # here\n")
    with pytest.raises(ZeroDivisionError) as raised:
        function(None, None, 0)
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert last.line == "half = 1 / n  # here"
    assert last.lineno == 3
    assert linecache.getline(last.filename, 3).strip() == last.line


def test_numbers_of_lines_are_those_of_the_text_wherever_it_ran():
    frame = 'File "<technique technique 4adb12e1>", line '
    trace = f'  {frame}2, in written_technique\n  {frame}4, in technique\n  File "x.py", line 9'
    shifted = trace.replace("line 2", "line 1").replace("line 4", "line 3")
    assert as_written(trace, "line 4 of the technique: 1 / 0") == (
        shifted, "line 3 of the technique: 1 / 0"
    )  # fmt: skip
    others = f"  {frame}4, in technique"
    assert as_written(others, "line 4 of it") == (others, "line 4 of it"), "nothing was put before"


@pytest.mark.parametrize("mark", ["\x0c", "\x1c", "\x85", "\u2028"])
def test_only_what_ends_a_line_of_python_counts_as_a_line(mark):
    source = f"# one{mark}two{mark}\ndef technique(model, tokenizer, n):\n    return 1 / n\n"
    with pytest.raises(ZeroDivisionError) as raised:
        function_from(source)(None, None, 0)
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert last.line == "return 1 / n"


def test_the_function_that_takes_model_and_tokenizer_is_found():
    source = "def first(model, tokenizer): return 1\ndef help(x): return x\n"
    assert function_from(source)(None, None) == 1
    assert function_from(source, "first")(None, None) == 1
    with pytest.raises(UnknownName, match="Known: first, help"):
        function_from(source, "second")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def technique(model, tokenizer:\n", "line 1: def technique"),
        ("x = 1\n", "source that defines a function"),
        ("", "source that defines a function"),
        ("x" * (MOST_CHARACTERS + 1), "at most 100,000"),
        ("from os import *\ndef t(model, tokenizer): pass", r"import \*"),
        ("model = 3\ndef t(model, tokenizer): pass", "other names"),
        ("def t(model, tokenizer): pass\nreturn 5", "outside function"),
        ("\0", "Python"),
        ("(" * 5000, "Python"),
    ],
)
def test_what_is_no_technique_is_refused_in_words(source, words):
    with pytest.raises(InvalidValue, match=words):
        function_from(source)
