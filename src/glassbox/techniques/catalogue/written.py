"""A function made from source text that somebody else wrote, without running any of it here.

The text becomes the body of one outer function that ends by calling the function asked for. So its
imports, its constants and everything else at its top level run where the technique runs, and only
there. Knows nothing of models and of shipping.
"""

import __future__

import ast
import hashlib
import linecache
import re
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, Final

from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques.shipping.code_reading import lines_of

MOST_CHARACTERS: Final = 100_000
"""Source text that is taken."""

OUTER: Final = "written_technique"
"""Name of the outer function."""

_HEADER: Final = f"def {OUTER}(model, tokenizer, *args, **kwargs):\n"

_CALLED = re.compile(rf'^ *File "([^"]+)", line \d+, in {OUTER}$', re.MULTILINE)

_ANNOTATIONS: Final = __future__.annotations.compiler_flag


def function_from(source: str, name: str | None = None) -> Callable[..., Any]:
    """Return a function that runs a source text and calls the function of that name in it.

    Lines of a traceback are those of the text plus one, for the header of the outer function;
    ``as_written`` takes it off, whatever the file is called where it ran.

    Args:
        source: Python source that defines ``name(model, tokenizer, …)`` at its top level.
        name: The function to call; None takes the only one, or the last whose first parameters are
            called model and tokenizer.

    Raises:
        InvalidValue: The text is no Python, is too long, or defines no such function.
        UnknownName: It defines functions, but none of that name.
    """
    tree = _parsed(source)
    wanted = _chosen(tree, name)
    file = f"<code {hashlib.sha256(source.encode()).hexdigest()[:12]}>"
    shown = _HEADER + "".join(f"    {line}" for line in lines_of(source))
    linecache.cache[file] = (len(shown), None, lines_of(shown), file)
    # A module that exists on every side, because dataclasses look theirs up.
    found = FunctionType(_compiled(tree, wanted, file), {"__name__": "__main__"})
    found.__qualname__ = found.__name__ = wanted
    return found


def as_written(trace: str, remark: str = "") -> tuple[str, str]:
    """Return a traceback, and a remark on its line, with the line numbers of the text given.

    Those of any other function, which was not made here, are right already and stay.
    """
    called = _CALLED.search(trace)
    if called is None:
        return trace, remark
    line = re.compile(rf'(File "{re.escape(called[1])}", line |\Aline )(\d+)')
    shifted = [
        line.sub(lambda found: f"{found[1]}{int(found[2]) - 1}", each) for each in (trace, remark)
    ]
    return shifted[0], shifted[1]


def _parsed(source: str) -> ast.Module:
    if len(source) > MOST_CHARACTERS:
        raise InvalidValue("code", f"{len(source):,} characters", f"at most {MOST_CHARACTERS:,}")
    try:
        tree = ast.parse(source)
        # Finds what the grammar allows and a module does not, such as a return at its top level.
        compile(tree, "<code>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = (
            f"line {line}: {(getattr(error, 'text', '') or '').strip()}" if line else source[:80]
        )
        raise InvalidValue("code", where, f"Python ({getattr(error, 'msg', error)})") from error
    return tree


def _chosen(tree: ast.Module, name: str | None) -> str:
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
    names = [each.name for each in functions]
    if name is not None:
        if name not in names:
            raise UnknownName("function in the code", name, names)
        return name
    fitting = [each.name for each in functions if _takes_model(each)] or names
    if not fitting:
        raise InvalidValue(
            "code",
            "no plain function at its top level",
            "source that defines a function, as def technique(model, tokenizer, text): …",
        )
    return fitting[-1]


def _takes_model(function: ast.FunctionDef) -> bool:
    given = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    return given[:2] == ["model", "tokenizer"]


def _compiled(tree: ast.Module, wanted: str, file: str) -> CodeType:
    body, flags = list(tree.body), 0
    for each in tree.body:
        if isinstance(each, ast.ImportFrom) and each.module == "__future__":
            body.remove(each)
            flags |= _ANNOTATIONS
    # What a module's top level defines is global to its functions; so it is here.
    defined = sorted(_names_of(body))
    clash = {"model", "tokenizer", "args", "kwargs"} & set(defined)
    if clash:
        raise InvalidValue(
            "code", f"a top-level name {sorted(clash)[0]!r}", "other names at the top level"
        )
    outer = ast.parse(_HEADER + f"    return {wanted}(model, tokenizer, *args, **kwargs)\n")
    function = outer.body[0]
    assert isinstance(function, ast.FunctionDef)
    for statement in body:
        ast.increment_lineno(statement, 1)
    function.body = [ast.Global(names=defined), *body, *function.body]
    ast.fix_missing_locations(outer)
    try:
        module = compile(outer, file, "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise InvalidValue("code", str(error), "Python that can stand in a function") from error
    return next(each for each in module.co_consts if isinstance(each, CodeType))


def _names_of(body: list[ast.stmt]) -> set[str]:
    """Return the names that statements bind at their own level."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(
            node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
        ):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update((each.asname or each.name).partition(".")[0] for each in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        waiting.extend(ast.iter_child_nodes(node))
    return found - {"*"}
