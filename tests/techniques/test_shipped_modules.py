"""Files beside a technique travel along as far as they are used, under one digest everywhere."""

import importlib.util
import os
import subprocess
import sys
import textwrap
import traceback

import pytest

from glassbox.errors import NotShippable
from glassbox.techniques import transport


def there_and_back(function):
    return transport.receive(transport.ship(function))


@pytest.mark.usefixtures("_forget_modules")
def test_only_what_ends_a_line_of_python_counts_as_a_line(tmp_path):
    body = "def odd(model, tokenizer):\n    # one\x0ctwo\u2028three\n    raise KeyError('here')\n"
    with pytest.raises(KeyError, match="here") as caught:
        there_and_back(ideas(tmp_path, body).odd)(None, None)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "raise KeyError('here')"


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
