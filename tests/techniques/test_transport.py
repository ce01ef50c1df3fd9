"""Functions travel by value, under a digest that names them."""

import dataclasses
import enum
import functools
import hashlib
import json
import linecache
import re
import threading
import traceback

import numpy as np
import orjson
import pytest
import torch

from glassbox.errors import CorruptArtifact, NotShippable, VersionMismatch
from glassbox.techniques import transport
from glassbox.techniques.calls import Shipment

FACTOR = 3
WORDS = {"alpha", "beta", "gamma", "delta"}
TABLE = np.arange(4)
WEIGHTS = torch.tensor([1.0, 2.0])


@dataclasses.dataclass(frozen=True)
class Out:
    words: list[str]
    n: int = 3
    extra: dict[str, int] = dataclasses.field(default_factory=dict)


class Mode(enum.Enum):
    FAST = 1


class Base:
    def who(self):
        return "base"


class Child(Base):
    def who(self):
        return "child of " + super().who()


@functools.lru_cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def even(n):
    return True if n == 0 else odd(n - 1)


def odd(n):
    return False if n == 0 else even(n - 1)


def there_and_back(function):
    return transport.receive(transport.ship(function))


def technique(model, tokenizer, text="a", *, scale: "math.nonsense" = 2.0):
    """Says what it got."""
    if text == "fail":
        raise KeyError(text)
    return [text * 2, scale * FACTOR, sorted(WORDS), int(TABLE.sum()), float(WEIGHTS.sum())]


def test_a_function_brings_its_globals_defaults_and_docstring():
    back = there_and_back(technique)
    assert back is not technique
    assert back(None, None) == technique(None, None)
    assert back(None, None, "b", scale=1) == technique(None, None, "b", scale=1)
    assert back.__doc__ == technique.__doc__
    assert back.__name__ == "technique"
    shipment = transport.ship(technique)
    assert shipment.name == "technique"
    assert shipment.source.startswith("def technique(model")
    assert shipment.imports == ("numpy", "torch")
    assert shipment.digest == hashlib.sha256(shipment.payload).hexdigest()


def test_lambdas_closures_partials_and_recursion_travel():
    def make(k):
        count = [0]

        def inner(model, tokenizer, n):
            count[0] += 1
            return k if n == 0 else inner(model, tokenizer, n - 1)

        return inner

    assert there_and_back(lambda model, tokenizer: 7)(None, None) == 7
    assert there_and_back(make(5))(None, None, 3) == 5
    assert there_and_back(functools.partial(technique, scale=1.0))(1, 2)[1] == 3
    assert there_and_back(lambda m, t: (even(10), odd(10), fibonacci(20)))(0, 0) == (
        True,
        False,
        6765,
    )


def test_classes_travel_with_all_that_makes_them_work():
    def use(model, tokenizer):
        out = Out(["a"])
        changed = dataclasses.replace(out, n=5)
        return out.n, changed, out.extra, Mode.FAST.name, Child().who(), Out(["a"]) == out

    first, changed, *rest = there_and_back(use)(None, None)
    assert (first, rest) == (3, [{}, "FAST", "child of base", True])
    assert changed.n == 5
    assert type(changed).__module__ == Out.__module__
    assert type(changed) is not Out


def test_two_functions_share_one_captured_variable():
    def make():
        total = 0

        def add(n):
            nonlocal total
            total += n

        def run(model, tokenizer):
            add(2)
            add(3)
            return total

        return run

    assert there_and_back(make())(None, None) == 5


def test_decorated_functions_travel():
    def loud(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args).upper()

        return wrapper

    @loud
    def say(model, tokenizer):
        return "yes"

    @torch.no_grad()
    def mode(model, tokenizer):
        return torch.is_grad_enabled()

    assert there_and_back(say)(None, None) == "YES"
    assert there_and_back(mode)(None, None) is False
    assert transport.ship(say).source.lstrip().startswith("@loud")


def test_a_traceback_shows_the_lines_of_the_technique():
    back = there_and_back(technique)
    with pytest.raises(KeyError, match="fail") as caught:
        back(None, None, "fail")
    shown = "".join(traceback.format_tb(caught.value.__traceback__))
    assert re.search(r'File "<technique technique [0-9a-f]{8}>", line 4, in technique', shown)
    assert "raise KeyError(text)" in shown
    linecache.checkcache()
    assert "raise KeyError(text)" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_annotations_travel_as_text_and_need_nothing():
    assert there_and_back(technique).__annotations__ == {"scale": "math.nonsense"}


def capture(value):
    def captured_it(model, tokenizer):
        return value

    return captured_it


def test_the_digest_is_the_same_for_a_function_defined_again():
    source = "def f(model, tokenizer, words=('a', 'b')):\n    return {*words, 'c', 'd'}, 'a', 1.5\n"
    digests = set()
    for padding in ("", "\n\n", "x = 'a'\n"):
        space = {"__name__": "__main__"}
        exec(compile(padding + source, f"<cell {len(padding)}>", "exec"), space)
        digests.add(transport.ship(space["f"]).digest)
    assert len(digests) == 1
    changed = {"__name__": "__main__"}
    exec(source.replace("1.5", "2.5"), changed)
    assert transport.ship(changed["f"]).digest not in digests


def test_the_digest_follows_what_is_captured():
    assert transport.ship(capture([1])).digest == transport.ship(capture([1])).digest
    assert transport.ship(capture([1])).digest != transport.ship(capture([2])).digest
    assert transport.ship(capture({"b", "a"})).digest == transport.ship(capture({"a", "b"})).digest


def test_threads_may_ship_at_the_same_time():
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(transport.ship(technique).digest))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert set(found) == {transport.ship(technique).digest}


def test_nothing_is_opened_before_the_digest_fits(monkeypatch):
    shipment = transport.ship(technique)
    monkeypatch.setattr(transport.pickle, "loads", lambda _: pytest.fail("it was opened"))
    for payload in (shipment.payload[:-1], shipment.payload + b"x", b""):
        with pytest.raises(CorruptArtifact, match="does not have digest"):
            transport.receive(dataclasses.replace(shipment, payload=payload))


def resealed(payload):
    return Shipment("f", hashlib.sha256(payload).hexdigest(), payload, "")


def test_payloads_that_are_no_shipments_are_damaged():
    payload = transport.ship(technique).payload
    for bad in (b"", b"garbage" * 10, b"GBXSHIP9" + payload[8:], payload[:30], payload[:-40],
                b"GBXSHIP1" + (2**40).to_bytes(8, "little") + b"{}"):  # fmt: skip
        with pytest.raises(CorruptArtifact, match="technique f"):
            transport.receive(resealed(bad))


def test_another_python_is_said_and_not_tried(monkeypatch):
    payload = transport.ship(technique).payload
    size = int.from_bytes(payload[8:16], "little")
    head = orjson.loads(payload[16 : 16 + size])
    head["python"] = [3, 8]
    written = orjson.dumps(head)
    other = b"GBXSHIP1" + len(written).to_bytes(8, "little") + written + payload[16 + size :]
    with pytest.raises(VersionMismatch, match=r"shipped from Python 3\.8; here is"):
        transport.receive(resealed(other))


def test_a_name_that_a_library_lost_is_said(monkeypatch):
    shipment = transport.ship(functools.partial(technique, scale=json.dumps))
    monkeypatch.delattr(json, "dumps")
    with pytest.raises(NotShippable, match="another version"):
        transport.receive(shipment)


def test_installed_functions_travel_by_name():
    shipment = transport.ship(np.linalg.norm)
    assert len(shipment.payload) < 1000
    assert shipment.imports == ("numpy",)
    assert transport.receive(shipment) is np.linalg.norm


def test_pickles_say_what_is_wrong_with_them():
    assert transport.unpickled(transport.pickled({"a": Out([])})) == {"a": Out([])}
    with pytest.raises(NotShippable, match="lock cannot be pickled"):
        transport.pickled(threading.Lock())
    with pytest.raises(CorruptArtifact, match="does not open"):
        transport.unpickled(b"nothing")
