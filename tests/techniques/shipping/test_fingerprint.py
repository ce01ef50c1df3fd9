"""A function is known again as long as nothing it means has changed."""

import json
import math

from glassbox.techniques.shipping.fingerprint import fingerprint

STEP = 1
SETTINGS = {"step": 1}


def helper(x):
    return x + STEP


def technique(model, tokenizer, x):
    return helper(x) + math.floor(x)


def careless(model, tokenizer, x):
    return x + SETTINGS["step"]


def made(source, **home):
    exec(source, home)
    return home["f"]


def test_an_unchanged_function_keeps_its_fingerprint():
    assert fingerprint(technique) is not None
    assert fingerprint(technique) == fingerprint(technique)


def test_a_changed_global_changes_it_even_behind_another_function(monkeypatch):
    before = fingerprint(technique)
    monkeypatch.setattr("tests.techniques.shipping.test_fingerprint.STEP", 2, raising=True)
    globals()["STEP"] = 2
    try:
        assert fingerprint(technique) != before
    finally:
        globals()["STEP"] = 1
    assert fingerprint(technique) == before


def test_a_redefined_function_changes_it():
    home = {}
    exec("def g(x):\n    return x\ndef f(model, tokenizer):\n    return g(1)\n", home)
    before = fingerprint(home["f"])
    exec("def g(x):\n    return -x\n", home)
    assert fingerprint(home["f"]) != before


def test_a_name_that_appears_later_changes_it():
    home = {}
    exec("def f(model, tokenizer):\n    return later\n", home)
    before = fingerprint(home["f"])
    home["later"] = 3
    assert fingerprint(home["f"]) != before


def test_defaults_and_captured_values_count():
    def outer(step):
        def inner(model, tokenizer, x=(1, 2)):
            return x, step

        return inner

    one, other = outer(1), outer(2)
    assert fingerprint(one) != fingerprint(other)
    before = fingerprint(one)
    one.__defaults__ = ((1, 3),)
    assert fingerprint(one) != before


def test_what_may_change_in_place_cannot_be_told():
    assert fingerprint(careless) is None
    assert fingerprint(made("class A: pass\ndef f(model, tokenizer):\n    return A\n")) is None
    assert fingerprint(json.JSONDecoder().decode) is None


def test_functions_that_call_one_another_come_to_an_end():
    home = {}
    exec(
        "def even(n):\n    return n == 0 or odd(n - 1)\n"
        "def odd(n):\n    return n != 0 and even(n - 1)\n"
        "def f(model, tokenizer):\n    return even(4)\n",
        home,
    )
    assert fingerprint(home["f"]) == fingerprint(home["f"])
