"""The built-in techniques by name, described from their own signatures and docstrings.

Command line and agents read this one index: what a technique is called, where it comes from, what
it takes and what it gives. Imports the techniques, which import no torch until they run.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import pkgutil
import re
import textwrap
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from glassbox.errors import UnknownName
from glassbox.techniques import library as _library
from glassbox.techniques.catalogue.arguments import hints_of
from glassbox.techniques.catalogue.arguments import parse_arguments as parse_arguments
from glassbox.techniques.technique import TechniqueInfo, info_of

REQUIRED = inspect.Parameter.empty
"""Default of a parameter that must be given."""


@dataclass(frozen=True)
class Parameter:
    """What a technique takes beside model and tokenizer."""

    name: str
    """Keyword."""
    annotation: Any
    """Its Python type; ``Any`` where there is none."""
    default: Any
    """``REQUIRED`` where it must be given."""
    doc: str
    """One line about it; empty where the name says it all."""

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED

    @property
    def type(self) -> str:
        """Its type as people write it, such as ``Sequence[str]``."""
        return spelled(self.annotation)


@dataclass(frozen=True)
class Field:
    """A part of what a technique returns."""

    name: str
    """Attribute of the result."""
    type: str
    """Its type; of an array the shape by the names of its axes."""
    doc: str
    """What it is, unit and range included."""


@dataclass(frozen=True)
class Technique:
    """A technique as its own signature and docstring describe it."""

    name: str
    """What it is called by."""
    function: Callable[..., Any]
    """Called with model, tokenizer and keywords."""
    info: TechniqueInfo
    """Title, paper and how it is batched."""
    doc: str
    """What it gives: the docstring's beginning."""
    parameters: tuple[Parameter, ...]
    """What it takes."""
    returns: str
    """Class of the result."""
    fields: tuple[Field, ...]
    """Parts of the result, shapes included."""

    @property
    def title(self) -> str:
        """A few words."""
        return self.info.title

    @property
    def paper(self) -> str:
        """Where it comes from."""
        return self.info.paper

    @property
    def batch(self) -> str | None:
        """Parameter of which many are taken at once; None where there is none."""
        return self.info.batch

    @property
    def shapes(self) -> str:
        """The parts of the result with types and shapes, one a line."""
        return "\n".join(f"{each.name}: {each.type} – {each.doc}" for each in self.fields)


@cache
def library() -> Mapping[str, Technique]:
    """Return the built-in techniques by name, in the order of the alphabet."""
    names = sorted(each.name for each in pkgutil.iter_modules(_library.__path__))
    modules = {name: importlib.import_module(f"{_library.__name__}.{name}") for name in names}
    return types.MappingProxyType(
        {name: described(name, getattr(module, name)) for name, module in modules.items()}
    )


def built_in(name: str) -> Technique:
    """Return a built-in technique, its name with or without ``library:`` before it.

    Raises:
        UnknownName: No such technique.
    """
    short = name.removeprefix("library:").replace("-", "_")
    if short not in library():
        raise UnknownName("built-in technique", name, library())
    return library()[short]


def described(name: str, function: Callable[..., Any]) -> Technique:
    """Return a technique, which may be a function of one's own, as its signature describes it."""
    lines = _argument_docs(function)
    signature = inspect.signature(function)
    hints = hints_of(function)
    parameters = tuple(
        Parameter(each.name, hints.get(each.name, Any), each.default, lines.get(each.name, ""))
        for each in list(signature.parameters.values())[2:]
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    )
    result = hints.get("return", Any)
    about = re.split(r"\n\n?(?:Args|Returns|Raises|Source):", inspect.getdoc(function) or "")[0]
    about = _plain(about)
    kinds = [each for each in (result, *getattr(result, "__args__", ())) if _is_record(each)]
    return Technique(
        name, function, info_of(function), about.strip(), parameters, spelled(result),
        _fields(kinds[0]) if kinds else (),
    )  # fmt: skip


def spelled(annotation: Any) -> str:
    """Return a type as people write it; of an array its kind and shape."""
    dims = getattr(annotation, "dim_str", None)
    if dims is not None:
        kind = getattr(annotation.dtype, "__name__", "Array")
        return f"{kind}[{', '.join(str(dims).split())}]"
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        return annotation.__name__
    text = str(annotation).replace("NoneType", "None")
    return re.sub(r"\b(?:[a-z_]\w*\.)+(\w+)", r"\1", text)


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _argument_docs(function: Callable[..., Any]) -> dict[str, str]:
    """Return what the docstring's ``Args`` say of each parameter, in one line each."""
    found: dict[str, str] = {}
    _, _, section = (inspect.getdoc(function) or "").partition("Args:\n")
    body = re.split(r"\n\S", section)[0]
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(body)):
        names, colon, text = entry.partition(":")
        if colon:
            line = _plain(" ".join(text.split()))
            found |= {re.sub(r"^\*+| *\(.*", "", each.strip()): line for each in names.split(",")}
    return found


def _fields(result: type) -> tuple[Field, ...]:
    docs = _field_docs(result)
    return tuple(
        Field(each.name, spelled(each.type), docs.get(each.name, ""))
        for each in dataclasses.fields(result)
    )


def _field_docs(result: type) -> dict[str, str]:
    """Return the line under each field of a dataclass, those it inherits included."""
    found: dict[str, str] = {}
    for kind in reversed([each for each in result.__mro__ if _is_record(each)]):
        found |= _own_field_docs(kind)
    return found


def _own_field_docs(result: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(result)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, after in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = after.value if isinstance(after, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = _plain(" ".join(text.value.split()))
    return found


def _plain(text: str) -> str:
    """Return a docstring's text as people read it outside of code."""
    return text.replace("``", "'")
