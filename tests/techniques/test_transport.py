"""Functions travel by value, under a digest that names them; what cannot travel is named."""

import dataclasses
import enum
import functools
import hashlib
import importlib.util
import json
import linecache
import math
import os
import re
import socket
import subprocess
import sys
import textwrap
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


@pytest.mark.usefixtures("_forget_modules")
def test_only_what_ends_a_line_of_python_counts_as_a_line(tmp_path):
    body = "def odd(model, tokenizer):\n    # one\x0ctwo\u2028three\n    raise KeyError('here')\n"
    with pytest.raises(KeyError, match="here") as caught:
        there_and_back(ideas(tmp_path, body).odd)(None, None)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "raise KeyError('here')"


def test_annotations_travel_as_text_and_need_nothing():
    assert there_and_back(technique).__annotations__ == {"scale": "math.nonsense"}


def ideas(folder, body, helper=""):
    """Return the module of a file, and of one beside it, as an agent would write them."""
    (folder / "gb_helper.py").write_text(textwrap.dedent(helper), encoding="utf-8")
    path = folder / "gb_ideas.py"
    path.write_text(textwrap.dedent(body), encoding="utf-8")
    sys.path.insert(0, str(folder))
    for name in ("gb_ideas", "gb_helper", "gb_package", "gb_package.inner"):
        sys.modules.pop(name, None)
    try:
        return importlib.import_module("gb_ideas")
    finally:
        sys.path.remove(str(folder))


@pytest.fixture
def _forget_modules():
    yield
    for name in list(sys.modules):
        if name.startswith("gb_"):
            del sys.modules[name]


HELPER = """
    import json
    live = __import__("threading").Lock()
    STOP = {"the", "of"}
    COUNT = 0
    def clean(text):
        return [word for word in text.split() if word not in STOP]
    def bump():
        global COUNT
        COUNT += 1
        return COUNT
    def broken():
        return live
"""


@pytest.mark.usefixtures("_forget_modules")
def test_local_modules_travel_along_as_far_as_they_are_used(tmp_path):
    module = ideas(
        tmp_path,
        """
        import gb_helper
        from gb_helper import clean as tidy
        def idea(model, tokenizer, text):
            from gb_helper import clean
            import gb_helper as same
            gb_helper.bump()
            same.bump()
            assert clean(text) == tidy(text) == gb_helper.clean(text)
            return clean(text), gb_helper.COUNT, same.COUNT
        """,
        HELPER,
    )
    shipment = transport.ship(module.idea)
    assert shipment.modules == ("gb_helper", "gb_ideas")
    code = """
        import sys
        from glassbox.techniques import transport, values
        shipped = values.unpack(values.unframe(bytearray(sys.stdin.buffer.read())))
        idea = transport.receive(transport.Shipment(**shipped))
        print(idea(None, None, "the cat of x"), "gb_helper" in sys.modules)
    """
    assert run_afresh(code, shipment) == "(['cat', 'x'], 2, 2) False\n"


def run_afresh(code, shipment):
    from glassbox.techniques import values

    sent = {
        "name": shipment.name,
        "digest": shipment.digest,
        "payload": shipment.payload,
        "source": "",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        input=b"".join(values.frame(values.pack(sent))),
        capture_output=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.usefixtures("_forget_modules")
def test_a_package_is_followed_to_the_part_that_is_used(tmp_path):
    (tmp_path / "gb_package").mkdir()
    (tmp_path / "gb_package" / "__init__.py").write_text("lock = __import__('threading').Lock()\n")
    (tmp_path / "gb_package" / "inner.py").write_text("def double(x):\n    return 2 * x\n")
    module = ideas(
        tmp_path,
        """
        import gb_package.inner
        def idea(model, tokenizer, x):
            return gb_package.inner.double(x)
        """,
    )
    shipment = transport.ship(module.idea)
    for name in ("gb_package", "gb_package.inner"):
        del sys.modules[name]
    assert transport.receive(shipment)(None, None, 4) == 8


@pytest.mark.usefixtures("_forget_modules")
def test_what_a_local_module_holds_and_cannot_travel_is_named_when_used(tmp_path):
    body = """
        import gb_helper
        def idea(model, tokenizer):
            return gb_helper.live
    """
    with pytest.raises(NotShippable, match="'live' of module gb_helper is a lock"):
        transport.ship(ideas(tmp_path, body, HELPER).idea)


@pytest.mark.usefixtures("_forget_modules")
def test_missing_modules_are_named_all_at_once(tmp_path, monkeypatch):
    module = ideas(
        tmp_path,
        """
        import pandas, scipy.special, math
        def idea(model, tokenizer):
            return pandas.DataFrame, scipy.special.expit, math.pi
        """,
    )
    shipment = transport.ship(module.idea)
    assert shipment.imports == ("pandas", "scipy", "scipy.special")
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(NotShippable, match=r"does not have: pandas, scipy\.special\."):
        transport.receive(shipment)


def capture(value):
    def captured_it(model, tokenizer):
        return value

    return captured_it


class Holder:
    def __init__(self, value):
        self.inside = value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            torch.nn.Linear(1, 1),
            "'value' of captured_it is a model.*parameters model and tokenizer",
        ),
        ([{"a": threading.Lock()}], "'value' of captured_it is a lock"),
        (Holder(threading.RLock()), "'inside' in captured variable 'value'.* is a lock"),
        ((x for x in "ab"), "'value' of captured_it is a generator"),
    ],
    ids=["model", "lock", "object", "generator"],
)
def test_live_things_are_refused_by_the_name_of_the_variable(value, words):
    with pytest.raises(NotShippable, match=words):
        transport.ship(capture(value))


def test_sockets_files_tokenizers_and_defaults_are_refused_by_name(tmp_path):
    with socket.socket() as live, (tmp_path / "x").open("w") as file:
        with pytest.raises(NotShippable, match="'value' of captured_it is a socket"):
            transport.ship(capture(live))

        def spoken(model, tokenizer, out=file):
            return out

        with pytest.raises(NotShippable, match="default of parameter 'out' of spoken is an open"):
            transport.ship(spoken)
    fake = type(
        "PreTrainedTokenizerBase", (), {"__module__": "transformers.tokenization_utils_base"}
    )
    with pytest.raises(NotShippable, match="'value' of captured_it is a tokenizer"):
        transport.ship(capture(fake()))
    with pytest.raises(NotShippable, match="the object whose method it is"):
        transport.ship(Holder(threading.Lock()).__init__)


def test_what_pickle_alone_refuses_is_named_too():
    class Stubborn:
        def __reduce__(self):
            raise TypeError("no way")

    with pytest.raises(NotShippable, match="'value' of captured_it cannot travel: no way"):
        transport.ship(capture(Stubborn()))


def test_large_captured_values_are_refused_with_name_and_size():
    def greedy(model, tokenizer):
        return table.sum(), text[:1], small

    table = torch.zeros(2 * 2**20)
    text = "x" * (3 * 2**20)
    small = [1, 2]
    with pytest.raises(
        NotShippable,
        match=r"captures 11\.0 MiB.*'table' of greedy: 8\.0 MiB; .*'text' of greedy: 3\.0 MiB",
    ) as caught:
        transport.ship(greedy)
    assert "small" not in str(caught.value)
    with pytest.raises(NotShippable, match="'value' of captured_it"):
        transport.ship(capture({i: str(i) for i in range(400_000)}))
    assert there_and_back(capture(torch.ones(2**20)))(None, None).sum() == 2**20


def test_what_yields_or_waits_is_refused_with_the_reason():
    def stream(model, tokenizer):
        yield 1

    async def wait(model, tokenizer):
        return 1

    with pytest.raises(NotShippable, match=r"stream is a generator function.*Return a list"):
        transport.ship(stream)
    with pytest.raises(NotShippable, match="wait is an async function"):
        transport.ship(wait)
    with pytest.raises(NotShippable, match="generator function"):
        transport.ship(functools.partial(stream, 1))
    with pytest.raises(NotShippable, match="Out is no function"):
        transport.ship(Out)


def test_values_nested_too_deeply_are_named():
    deep = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(NotShippable, match="'value' of captured_it is nested too deeply"):
        transport.ship(capture(deep))


DIGEST = """
    import os, sys
    sys.path.insert(0, sys.argv[1])
    if "early" in sys.argv:
        import torch.utils.data, json.tool, gb_helper
    import gb_ideas
    from glassbox.techniques import transport
    print(transport.ship(gb_ideas.idea).digest)
"""

STABLE = """
    import dataclasses, enum, json, torch
    import gb_helper
    WORDS = {"a", "b", "c", "d", "e", ("f", 1), 2}
    @dataclasses.dataclass
    class Out:
        words: set
        n: "int" = 3
    class Mode(enum.Enum):
        A = 1
    def idea(model, tokenizer, text="the cat", k=frozenset({"x", "y", "z"})):
        if text in {"p", "q", "r"}:
            return json.dumps(1)
        return Out(WORDS), Mode.A, torch.utils.data, gb_helper.clean(text), k, "the cat"
"""


def test_the_digest_is_the_same_in_every_process_and_folder(tmp_path):
    found = set()
    for seed, name, extra in (("0", "one", []), ("1", "two", ["early"]), ("2", "one", [])):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "gb_ideas.py").write_text(textwrap.dedent(STABLE))
        (folder / "gb_helper.py").write_text(textwrap.dedent(HELPER))
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(DIGEST), str(folder), *extra],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        found.add(done.stdout)
    assert len(found) == 1, "hash seed, folder, what was imported before, compiled file or not"


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
