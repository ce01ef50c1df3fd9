"""Methods of a deployed class become functions: by syntax, comments kept, what is left said."""

import ast
import sys
import textwrap
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidData
from glassbox.techniques.conversion.standalone import convert, convert_technique_to_standalone

OLD = '''\
"""Old deployment."""
import modal
import torch

app = modal.App("interp")


# The service.
@app.cls(gpu="A10G", container_idle_timeout=300)
class InterpBackend:
    """Keeps self.model in memory."""

    TOP = 5  # most candidates

    # Loads once.
    @modal.enter()
    def load_model(self):
        self.model = load()
        self.tokenizer = load_tokenizer()
        self.cache = {}

    # Does the attack.
    # It has two lines.
    @modal.method()
    @torch.no_grad()
    def prefill_attack(
        self,
        user_prompt: str,  # what is asked
        prefill="é",
        *,
        n=3,
    ):
        """Uses self.model.

        More about self.tokenizer.
        """
        model = self.model
        text = """self.model stays
        as it is
    """
        inputs = self.tokenizer(f"{self.join([user_prompt])!r:>{self.TOP}} {{self.x}} é", n)
        ids = self.model.generate(inputs)  # self.model here
        return self.tokenizer.decode(ids), self.clean(text), self.n_layers, self.device

    @staticmethod
    def clean(text):
        return text.strip()

    @property
    def n_layers(self):
        return self.model.n_layers

    def join(self, parts):
        return "+".join(parts) + prefix()


def prefix():
    return "#"


@app.local_entrypoint()
def main():
    print(InterpBackend().prefill_attack.remote("x"))
'''

NEW = '''\
"""Old deployment."""
import torch


# The service.
# Keeps self.model in memory.

TOP = 5  # most candidates


# Does the attack.
# It has two lines.
@torch.no_grad()
def prefill_attack(
    model, tokenizer,
    user_prompt: str,  # what is asked
    prefill="é",
    *,
    n=3,
):
    """Uses self.model.

    More about self.tokenizer.
    """
    text = """self.model stays
        as it is
    """
    inputs = tokenizer(f"{join(model, tokenizer, [user_prompt])!r:>{TOP}} {{self.x}} é", n)
    ids = model.generate(inputs)  # self.model here
    return tokenizer.decode(ids), clean(text), n_layers(model, tokenizer), model.device


def clean(text):
    return text.strip()


def n_layers(model, tokenizer):
    return model.n_layers


def join(model, tokenizer, parts):
    return "+".join(parts) + prefix()


def prefix():
    return "#"
'''


def test_a_whole_deployment_becomes_functions_with_its_comments():
    found = convert(OLD)
    assert found.source == NEW
    assert found.names == ("prefill_attack", "n_layers", "join")
    assert found.notes == (
        "line 2: import of modal taken out",
        "line 5: app belongs to the deployment: taken out",
        'line 9: decorator @app.cls(gpu="A10G", container_idle_timeout=300) taken out',
        "line 17: load_model loads the model: taken out; model and tokenizer are parameters now",
        "line 20: self.cache was set here and is not any more",
        "line 24: decorator @modal.method() taken out",
        "line 43: self.device became model.device",
        "line 62: starts the deployment: taken out",
        "line 63: InterpBackend is used here and is no class any more",
    )


def test_what_was_converted_runs_and_answers_the_same(monkeypatch):
    class Model:
        n_layers = 4
        device = "cpu"

        def generate(self, inputs):
            return [len(inputs), 7]

    class Tokenizer:
        def __call__(self, text, n):
            return text * n

        def decode(self, ids):
            return "-".join(map(str, ids))

    space: dict = {}
    fake = types.ModuleType("torch")
    fake.no_grad = lambda: lambda function: function
    monkeypatch.setitem(sys.modules, "torch", fake)
    exec(convert_technique_to_standalone(OLD), space)
    decoded, text, layers, device = space["prefill_attack"](Model(), Tokenizer(), "hi")
    assert decoded == f"{len(repr('hi#').rjust(5) + ' {self.x} é') * 3}-7"
    assert (text, layers, device) == ("self.model stays\n        as it is", 4, "cpu")


def test_converting_twice_changes_nothing():
    assert convert(NEW).source == NEW
    assert convert(NEW).notes == ()


def body(code, **wrap):
    """Return what the body of a method becomes, and the notes."""
    lines = textwrap.indent(textwrap.dedent(code).strip("\n"), " " * 8)
    source = f"class A:\n    def f(self, x):\n{lines}\n    def g(self, a=1): return self.model(a)\n"
    found = convert(source)
    ast.parse(found.source)
    start = found.source.index("\n", found.source.index("def f(")) + 1
    end = found.source.index("\n\n\ndef g(")
    return textwrap.dedent(found.source[start:end]), found.notes


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return self.g()", "return g(model, tokenizer)"),
        ("return self.g(self.g(x))", "return g(model, tokenizer, g(model, tokenizer, x))"),
        ("return self.g(a=self.model)", "return g(model, tokenizer, a=model)"),
        ("return self.g(*x, **x)", "return g(model, tokenizer, *x, **x)"),
        ("return self.g.remote(x)", "return g(model, tokenizer, x)"),
        ("return 'é', self.model.config", "return 'é', model.config"),
        ("return f'{self.model}{x}'", "return f'{model}{x}'"),
        (
            'return ("é" f"{self.g(x)!r}" f"{{}}" "self.g" f"{x=}")',
            'return ("é" f"{g(model, tokenizer, x)!r}" f"{{}}" "self.g" f"{x=}")',
        ),
        ('return f"""a\n{self.model}"""', 'return f"""a\n    {model}"""'),
        ("return [self.model(y) for y in x]", "return [model(y) for y in x]"),
        (
            "def h(y):\n    return self.model(y)\nreturn h",
            "def h(y):\n    return model(y)\nreturn h",
        ),
        ("return lambda self: self.model", "return lambda self: self.model"),
        ("g = self.g(x)\nreturn g", "g_value = g(model, tokenizer, x)\nreturn g_value"),
        ("model = x\nreturn model, self.model", "own_model = x\nreturn own_model, model"),
        ("tokenizer = self.tokenizer\nreturn tokenizer", "return tokenizer"),
        ("if x:\n    model = self.model\nreturn x", "if x:\n    pass\nreturn x"),
        (
            "return list(map(self.g, x))",
            "return list(map((lambda *args, **kwargs: g(model, tokenizer, *args, **kwargs)), x))",
        ),
        ("'self.model'  # self.model\nreturn 1", "'self.model'  # self.model\nreturn 1"),
    ],
)
def test_bodies_are_rewritten_by_syntax(old, new):
    assert body(old)[0] == new


@pytest.mark.parametrize(
    ("old", "note"),
    [
        ("return self.cache", "line 3: self.cache has no counterpart in a technique"),
        ("x = 1\nreturn f'{self.cache}'", "line 4: self.cache has no counterpart"),
        ("self.count = 1", "line 3: self.count is assigned: nothing stays between calls"),
        ("self.model.train()\nreturn print(self)", "line 4: self itself is handed on"),
        ("return super().f(x)", "line 3: super() has no counterpart"),
        ("return self.g.remote(x)", "line 3: .remote() is a plain call now"),
        ("model = x", "line 2: model of f is called own_model now"),
    ],
)
def test_what_cannot_be_turned_is_reported_with_its_line(old, note):
    assert any(each.startswith(note) for each in body(old)[1])


def test_parameters_named_like_the_models_are_renamed_with_their_callers():
    found = convert(
        "class A:\n"
        "    def f(self, model, x=1):\n"
        "        return self.model if model else x\n"
        "    def g(self):\n"
        "        return self.f(model=True)\n"
    )
    assert found.source == (
        "def f(model, tokenizer, own_model, x=1):\n"
        "    return model if own_model else x\n\n\n"
        "def g(model, tokenizer):\n"
        "    return f(model, tokenizer, own_model=True)\n"
    )


def test_names_that_are_taken_get_the_class_before_them():
    found = convert(
        "def run(model, tokenizer):\n    return 1\n"
        "class BigModel:\n"
        "    def run(self):\n"
        "        return self.model\n"
        "    def go(self):\n"
        "        return self.run()\n"
    )
    assert "def big_model_run(model, tokenizer):" in found.source
    assert "return big_model_run(model, tokenizer)" in found.source
    assert "line 4: run is called big_model_run now: the name was taken" in found.notes


def test_functions_with_self_and_async_ones_are_converted_and_async_is_said():
    found = convert("async def f(self, x):\n    return await x(self.model)\n")
    assert found.source == "async def f(model, tokenizer, x):\n    return await x(model)\n"
    assert found.notes == ("line 1: f is async; a technique is a plain function",)
    indented = convert("    def f(self):\n        return self.tokenizer\n")
    assert indented.source == "def f(model, tokenizer):\n    return tokenizer\n"


def test_classes_without_a_model_stay():
    source = "import dataclasses\n\n\n@dataclasses.dataclass\nclass A:\n    x: int\n"
    assert convert(source).source == source
    assert convert("").source == "\n"


@pytest.mark.parametrize("mark", ["\x0c", "\x1c", "\x85", "\u2028"])
def test_marks_that_end_no_line_of_python_move_nothing(mark):
    source = f"""class T:
    ASKED = "one{mark}two"

    def run(self, text):  # stays
        return self.tokenizer(text)
"""
    expected = f"""ASKED = "one{mark}two"


def run(model, tokenizer, text):  # stays
    return tokenizer(text)
"""
    assert convert(source).source == expected
    assert convert(source.replace("\n", "\r\n")).source == expected
    assert "def run(model, tokenizer" in convert(source.replace("\n\n", "\n\x0c\n")).source


def test_what_is_not_python_is_said_with_its_line():
    with pytest.raises(InvalidData, match=r"technique, line 2: This is not Python"):
        convert("x = 1\ndef f(:\n")


names = st.sampled_from(["self.model", "self.tokenizer", "self.g", "self.other", "x", "self", "é"])
pieces = st.recursive(
    names | st.just("1") | st.just("'self.model'"),
    lambda inner: st.one_of(
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("{}({})".format, names, inner),
        st.builds("(lambda y: {})".format, inner),
    ),
    max_leaves=8,
)


@given(st.lists(pieces, min_size=1, max_size=3))
def test_every_expression_becomes_the_one_with_names_exchanged(expressions):
    old = "\n".join(f"v{i} = {each}  # self.model" for i, each in enumerate(expressions))
    new = body(old)[0]

    class Exchange(ast.NodeTransformer):
        def visit_Call(self, node):
            if ast.unparse(node.func) == "self.g":
                given = [ast.Name("model"), ast.Name("tokenizer")]
                return ast.Call(ast.Name("g"), [*given, *map(self.visit, node.args)], [])
            return self.generic_visit(node)

        def visit_Attribute(self, node):
            text = ast.unparse(node)
            if text in ("self.model", "self.tokenizer"):
                return ast.Name(text[5:])
            if text == "self.g":
                return ast.parse(
                    "lambda *args, **kwargs: g(model, tokenizer, *args, **kwargs)", mode="eval"
                ).body
            return self.generic_visit(node)

    assert ast.unparse(ast.parse(new)) == ast.unparse(Exchange().visit(ast.parse(old)))
    assert new.count("# self.model") == len(expressions)


def test_a_file_is_converted_by_its_path(tmp_path):
    file = tmp_path / "old.py"
    text = "def technique(self, a):\n    return self.model(a)\n"
    file.write_text(text, encoding="utf-8-sig")
    assert convert_technique_to_standalone(file) == convert_technique_to_standalone(text)
    with pytest.raises(InvalidData, match=r"none\.py"):
        convert_technique_to_standalone(tmp_path / "none.py")


def test_functions_that_take_the_model_from_outside_are_named():
    source = """\
model, tokenizer = load()

def states(text, layer):
    return model(**tokenizer(text)).hidden_states[layer]

def other(model, text):
    return model(text)

def own():
    model = load()
    return model

def technique(model, tokenizer, text):
    return [model(text) for model in (model,)]
"""
    found = convert(source)
    assert found.notes == (
        "line 3: states takes model and tokenizer from outside: give it model and tokenizer as its "
        "first parameters",
    )
    assert ast.dump(ast.parse(found.source)) == ast.dump(ast.parse(source))


@pytest.mark.parametrize(
    ("call", "library"),
    [
        ("with self.model.trace(prompt): pass", "nnsight"),
        ("return self.model.run_with_cache(prompt)", "TransformerLens"),
    ],
)
def test_other_libraries_ways_are_named(call, library):
    found = convert(f"class Service:\n    def lens(self, prompt):\n        {call}\n")
    assert "def lens(model, tokenizer, prompt):" in found.source
    (note,) = found.notes
    assert note.startswith("line 3: model.")
    assert f"is {library}'s" in note
