"""A rehearsal finds what a journey would: in a fresh interpreter, before anything is sent."""

import sys

import pytest

from glassbox.errors import NotShippable
from glassbox.techniques import transport
from glassbox.techniques.calls import Environment
from glassbox.techniques.shipping.rehearsal import rehearse

SEEN: list[int] = []
FACTOR = 2.0


def simple(model, tokenizer, text="a", factor=3):
    return text, factor * FACTOR


def test_a_good_function_is_ready():
    found = rehearse(simple)
    assert found.is_ready
    assert found.problem == ""
    assert found.remarks == ()
    assert found.differences == ()
    assert found.digest == transport.ship(simple).digest
    assert found.n_bytes == len(transport.ship(simple).payload)
    assert found.captured == (
        ("global variable 'FACTOR' of simple", "float"),
        ("default of parameter 'text' of simple", "str"),
        ("default of parameter 'factor' of simple", "int"),
    )
    assert 0 < found.opened_s < 60


def test_surprises_are_told_before_they_happen():
    def surprising(model):
        import gb_not_there

        SEEN.append(1)
        return gb_not_there, undefined_name

    remarks = rehearse(surprising, Environment(sys.version.split()[0], {})).remarks
    assert remarks == (
        "It changes 'SEEN' of surprising; that change stays on the other side. Return it instead.",
        "'undefined_name' is not defined anywhere.",
        "It imports 'gb_not_there' when it runs, which is not there.",
        "It is called as technique(model, tokenizer, …) and has not two parameters.",
    )


def test_what_only_lies_around_here_is_missed_by_the_fresh_interpreter(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "gb_elsewhere.py").write_text("def f():\n    return 1\n")
    monkeypatch.syspath_prepend(folder)
    import gb_elsewhere

    found = rehearse(lambda model, tokenizer: gb_elsewhere.f())
    assert not found.is_ready
    assert "does not have: gb_elsewhere" in found.problem
    assert found.opened_s == 0


def test_the_other_side_decides_whether_it_is_ready():
    other = Environment("3.9.1", {"glassbox": "9.0"}, ("json",))
    found = rehearse(simple, other)
    assert not found.is_ready
    assert {"Python", "glassbox"} <= {each.what for each in found.differences}


def test_what_cannot_leave_is_an_error():
    def stream(model, tokenizer):
        yield 1

    with pytest.raises(NotShippable, match="generator function"):
        rehearse(stream)
