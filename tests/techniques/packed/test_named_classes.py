"""Classes are found by name where they are known, and nothing else is imported for it."""

import dataclasses
import sys
import types

import pytest

from glassbox.techniques import transport, values
from glassbox.techniques.calls import Limits
from glassbox.techniques.packed import named_classes
from glassbox.techniques.packed.named_classes import class_name, classes_of, find_class


@dataclasses.dataclass
class Settings:
    depth: int = 1


def use(model, tokenizer, settings):
    return isinstance(settings, Settings)


def test_classes_are_found_by_module_and_name():
    assert find_class(class_name(Settings)) is Settings
    assert find_class("glassbox.techniques.calls:Limits") is Limits
    assert find_class("collections:OrderedDict.nothing") is None
    assert find_class("no_such_module:X") is None
    assert find_class("glassbox.no_such_module:X") is None


def test_only_our_own_modules_are_imported(monkeypatch):
    for name in ("antigravity", "glassbox.__main__"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        assert find_class(f"{name}:X") is None
        assert name not in sys.modules


def test_a_name_that_means_something_else_is_not_taken():
    assert find_class("json:dumps") is None
    assert find_class(f"{__name__}:named_classes.Path") is None


def test_a_script_and_its_file_are_one_home(monkeypatch):
    script = types.ModuleType("__main__")
    script.__file__ = "/somewhere/ideas.py"
    script.Out = type("Out", (), {"__module__": "__main__", "__qualname__": "Out"})
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert class_name(script.Out) == "ideas:Out"
    assert find_class("ideas:Out") is script.Out
    assert find_class("__main__:Out") is script.Out
    assert find_class("other:Out") is None


TYPED = """
import dataclasses, enum

@dataclasses.dataclass
class Lens:
    layer: int

class Mode(enum.Enum):
    FAST = 1

def idea(model, tokenizer, given):
    return isinstance(given, Lens), Lens(given.layer + 1), Mode.FAST
"""


def test_what_is_typed_into_a_notebook_comes_back_as_its_own_classes(monkeypatch):
    notebook, worker = types.ModuleType("__main__"), types.ModuleType("__main__")
    worker.__file__ = "/somewhere/process.py"
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    exec(TYPED, vars(notebook))
    shipment = transport.ship(notebook.idea)
    assert shipment.modules == ()
    asked = values.pack_arguments([notebook.Lens(3)], {})

    monkeypatch.setitem(sys.modules, "__main__", worker)
    idea = transport.receive(shipment)
    ((given,), _) = values.unpack(asked, classes=classes_of(idea))
    answer = values.pack(idea(None, None, given))

    monkeypatch.setitem(sys.modules, "__main__", notebook)
    assert values.unpack(answer) == (True, notebook.Lens(4), notebook.Mode.FAST)


def test_arguments_become_the_classes_that_came_with_the_function(monkeypatch):
    function = transport.receive(transport.ship(use))
    packed = values.pack_arguments([Settings(3)], {})
    assert function(None, None, values.unpack(packed)[0][0]) is False, "another process's class"
    ((settings,), _) = values.unpack(packed, classes=classes_of(function))
    assert function(None, None, settings) is True
    assert settings.depth == 3


@pytest.mark.parametrize("function", [len, print, lambda: 1])
def test_functions_without_classes_know_none(function):
    assert all(isinstance(each, type) for each in named_classes.classes_of(function).values())
