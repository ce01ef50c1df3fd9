"""Techniques in files: found, named, and the broken ones told of."""

import sys

import pytest

from glassbox.errors import InvalidData, UnknownName
from glassbox.techniques import transport
from glassbox.techniques.client.folders import function_of, load_techniques_from_dir, techniques_of

GOOD = '''
"""A file."""
from dataclasses import dataclass
from shared_words import WORD

@dataclass
class Answer:
    word: str

def say(model, tokenizer, text):
    """Say it."""
    return Answer(WORD + text)

def not_a_technique(text):
    return text

def _private(model, tokenizer):
    return 1
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "_ignored.py").write_text("raise RuntimeError('never loaded')\n")
    (tmp_path / "shared_words.py").write_text("WORD = 'oh '\n")
    (tmp_path / "say_it.py").write_text(GOOD)
    return tmp_path


def test_techniques_are_the_functions_that_take_a_model_and_a_tokenizer_first(folder):
    found = load_techniques_from_dir(folder)
    assert list(found) == ["say"]
    assert found["say"](None, None, "no").word == "oh no"
    assert not found.broken


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def half(:\n", "SyntaxError"),
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("raise OSError('no disk')\n", "no disk"),
        ("import sys\nsys.exit(4)\n", "ends the program"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_broken_file_is_named_and_the_others_load(folder, text, reason):
    (folder / "broken.py").write_text(text)
    found = load_techniques_from_dir(str(folder))
    assert list(found) == ["say"]
    assert list(found.broken) == ["broken.py"]
    assert reason in found.broken["broken.py"]
    assert "broken" not in sys.modules
    with pytest.raises(UnknownName, match=r"broken\.py could not be read"):
        found["half"]


def test_the_line_of_the_mistake_is_told(folder):
    (folder / "broken.py").write_text("x = 1\n\nx.y = 2\n")
    with pytest.raises(InvalidData, match=r"broken\.py, line 3: AttributeError"):
        techniques_of(folder / "broken.py")


def test_two_files_may_use_the_same_name(folder):
    (folder / "zzz.py").write_text("def say(model, tokenizer):\n    return 2\n")
    found = load_techniques_from_dir(folder)
    assert list(found) == ["say", "zzz.say"]
    assert found["zzz.say"](None, None) == 2


def test_a_file_named_like_a_library_does_not_take_its_place(folder):
    import json

    (folder / "json.py").write_text("def f(model, tokenizer):\n    return 'mine'\n")
    assert load_techniques_from_dir(folder)["f"](None, None) == "mine"
    assert sys.modules["json"] is json


def test_a_file_is_read_anew_each_time(folder):
    file = folder / "fresh.py"
    file.write_text("def f(model, tokenizer):\n    return 1\n")
    assert function_of(file, "f")(None, None) == 1
    file.write_text("def f(model, tokenizer):\n    return 'two'\n")
    assert function_of(file, "f")(None, None) == "two"
    with pytest.raises(UnknownName, match="Known: f"):
        function_of(file, "g")
    with pytest.raises(UnknownName, match="file of techniques"):
        function_of(folder / "absent.py", "f")


def test_a_folder_that_is_not_there_is_unknown(tmp_path):
    with pytest.raises(UnknownName, match="folder of techniques"):
        load_techniques_from_dir(tmp_path / "absent")


def test_a_technique_from_a_file_can_travel(folder):
    shipment = transport.ship(load_techniques_from_dir(folder)["say"])
    assert shipment.name == "say"
    assert "Say it." in shipment.source
