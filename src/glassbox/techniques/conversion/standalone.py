"""Turns methods of a deployed class into functions ``technique(model, tokenizer, …)``.

Works on the syntax tree and edits the text where the tree says, so comments and layout stay. What
it cannot turn is left as it is and reported with its line.
"""

import ast
import re
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glassbox.errors import InvalidData, InvalidValue
from glassbox.techniques.conversion.deployed_classes import (
    Function,
    docstring_lines,
    is_deployed,
    is_static,
    last_name,
    loads,
    mentions,
    root_name,
)
from glassbox.techniques.conversion.method_rewriting import (
    PARAMETERS,
    Home,
    Rewriting,
    hidden_names,
    lone_statements,
    without_gone,
)
from glassbox.techniques.conversion.other_ways import other_ways
from glassbox.techniques.conversion.syntax_edits import Text, inside_strings
from glassbox.techniques.shipping.code_reading import lines_of

_DEPLOYMENT_ROOTS = frozenset(("modal", "ray"))
_DEPLOYMENT_NAMES = frozenset(
    ("method", "enter", "exit", "build", "web_endpoint", "fastapi_endpoint", "asgi_app", "wsgi_app")
)


@dataclass(frozen=True)
class Converted:
    """Source of standalone techniques."""

    source: str
    """The functions."""
    notes: tuple[str, ...]
    """What was taken out or could not be turned, each with its line in the old source."""
    names: tuple[str, ...] = ()
    """The functions that were made."""


def convert_technique_to_standalone(source: str | Path) -> str:
    """Return source whose methods are functions ``technique(model, tokenizer, …)``.

    Args:
        source: Of a file with a class whose methods use ``self.model`` and ``self.tokenizer``, or
            with functions that take ``self``: its text, or a ``Path`` to it.

    Raises:
        InvalidData: It is not Python, or the file cannot be read.
        InvalidValue: Neither text nor a path.
    """
    if isinstance(source, Path):
        source = read_source(source)
    if not isinstance(source, str):
        raise InvalidValue("source", source, "Python source as one text, or a pathlib.Path to it")
    return convert(source).source


def read_source(file: Path) -> str:
    """Return the text of a Python file.

    Raises:
        InvalidData: It cannot be read, or is not UTF-8.
    """
    try:
        # Editors of Windows put a mark before the text, which Python's parser takes for a name.
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidData(str(error), source=str(file)) from error


def convert(source: str) -> Converted:
    """Return standalone source, and what is to be looked at; see the function above."""
    source = textwrap.dedent(source)
    try:
        tree = ast.parse(source)
        conversion = _Conversion(source, tree)
        result = conversion.done()
    except (SyntaxError, tokenize.TokenError) as error:
        line = getattr(error, "lineno", None)
        raise InvalidData(
            f"This is not Python: {getattr(error, 'msg', error)}.", source="technique", line=line
        ) from error
    try:
        ast.parse(result)
    except SyntaxError as error:
        raise InvalidData(
            f"What came of it is not Python ({error.msg}); the layout of this source is not "
            "understood. Rewrite the technique by hand.",
            source="technique",
        ) from error
    notes = sorted(set(conversion.notes))
    return Converted(
        result,
        tuple(f"line {line}: {text}" for line, text in notes),
        tuple(conversion.names),
    )


class _Conversion:
    def __init__(self, source: str, tree: ast.Module) -> None:
        self._text = Text(source)
        self._tree = tree
        self._in_string = inside_strings(source)[0] - docstring_lines(tree)
        self._dead = set(_DEPLOYMENT_ROOTS)
        self.notes: list[tuple[int, str]] = []
        self.names: list[str] = []
        self._taken = {each.name for each in tree.body if isinstance(each, Function | ast.ClassDef)}

    def done(self) -> str:
        """Return the converted source."""
        converted: set[str] = set()
        for node in self._tree.body:
            if isinstance(node, ast.ClassDef) and is_deployed(node):
                self._class(node)
                converted.add(node.name)
            elif isinstance(node, Function):
                self._function(node)
            elif mentions(node, self._dead):
                self._drop_statement(node)
        for node in self._tree.body:
            if not isinstance(node, ast.ClassDef):
                self._report_uses(node, converted)
        self.notes += other_ways(self._tree)
        return _with_blank_lines(without_gone(self._text.edited()))

    def _note(self, line: int, text: str) -> None:
        self.notes.append((line, text))

    # What is not a method.

    def _drop_statement(self, node: ast.stmt) -> None:
        """Take out a statement of the deployment, and what it defines with it."""
        if isinstance(node, ast.If):
            self._note(node.lineno, "belongs to the deployment: taken out")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.asname or each.name for each in node.names]
            self._dead.update(names)
            self._note(node.lineno, f"import of {', '.join(names)} taken out")
        elif isinstance(node, ast.Assign):
            names = [each.id for each in node.targets if isinstance(each, ast.Name)]
            self._dead.update(names)
            self._note(node.lineno, f"{', '.join(names)} belongs to the deployment: taken out")
        else:
            self._note(node.lineno, "belongs to the deployment: taken out")
        self._text.delete_lines(node.lineno, node.end_lineno or node.lineno)

    def _function(self, node: Function) -> None:
        """Convert a top-level function that takes ``self``; one of the deployment goes."""
        if any(last_name(each) == "local_entrypoint" for each in node.decorator_list):
            self._remove(node, "starts the deployment: taken out")
            return
        first = _first_parameter(node)
        if first == "self":
            self._method(node, Home({node.name: node.name}, {}, frozenset(), frozenset()))
        else:
            self._decorators(node)

    def _report_uses(self, node: ast.stmt, converted: set[str]) -> None:
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each.id in converted:
                self._note(each.lineno, f"{each.id} is used here and is no class any more")

    # Classes.

    def _class(self, node: ast.ClassDef) -> None:
        bases = [self._text.of(each) for each in node.bases if self._text.of(each) != "object"]
        if bases:
            self._note(node.lineno, f"{node.name} inherited from {', '.join(bases)}")
        for decorator in node.decorator_list:
            self._note(decorator.lineno, f"decorator @{self._text.of(decorator)} taken out")
        home = self._home(node)
        first = node.body[0]
        begin = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        decorators: list[ast.expr] = getattr(first, "decorator_list", [])
        body = min([first.lineno, *(each.lineno for each in decorators)])
        header = self._header_end(node, body)
        self._text.delete_lines(begin, header)
        self._dedent(header + 1, node.end_lineno or header, first.col_offset)
        for each in node.body:
            if isinstance(each, Function):
                self._member(each, home)
            elif isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
                self._docstring(each, node)

    def _header_end(self, node: ast.ClassDef, body: int) -> int:
        """Return the last line of ``class Name(…):``; comments after it stay."""
        line = node.lineno
        while line < body and not self._text.lines[line - 1].split("#")[0].rstrip().endswith(":"):
            line += 1
        return line

    def _home(self, node: ast.ClassDef) -> Home:
        methods: dict[str, str] = {}
        plain: dict[str, str] = {}
        properties: set[str] = set()
        constants: set[str] = set()
        for each in node.body:
            if isinstance(each, Function) and not loads(each):
                kept = plain if is_static(each) else methods
                kept[each.name] = self._free_name(each, node)
                if any(last_name(deco) == "property" for deco in each.decorator_list):
                    properties.add(each.name)
            elif isinstance(each, ast.ClassDef):
                constants.add(each.name)
            elif isinstance(each, ast.Assign | ast.AnnAssign):
                targets = each.targets if isinstance(each, ast.Assign) else [each.target]
                constants.update(t.id for t in targets if isinstance(t, ast.Name))
        home = Home(methods, plain, frozenset(properties), frozenset(constants), node.name)
        renamed = {
            each.name: _renamed(each, home) for each in node.body if isinstance(each, Function)
        }
        return Home(methods, plain, frozenset(properties), frozenset(constants), node.name, renamed)

    def _free_name(self, method: Function, node: ast.ClassDef) -> str:
        name = method.name
        if name in self._taken or name in PARAMETERS:
            prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.name).lower()
            name = f"{prefix}_{name}"
            self._note(method.lineno, f"{method.name} is called {name} now: the name was taken")
        self._taken.add(name)
        return name

    def _docstring(self, node: ast.Expr, owner: ast.ClassDef) -> None:
        text = str(node.value.value) if isinstance(node.value, ast.Constant) else ""
        if owner.body[0] is node and text.strip():
            lines = textwrap.dedent(" " * node.col_offset + text).strip().splitlines()
            comment = "\n".join(f"# {line}".rstrip() for line in map(str.strip, lines))
            self._text.replace_node(node, comment)

    def _dedent(self, first: int, last: int, width: int) -> None:
        for line in range(first, last + 1):
            text = self._text.lines[line - 1]
            if line not in self._in_string and text[:width].isspace():
                start = self._text.line_start(line)
                self._text.replace(
                    start, start + min(width, len(text) - len(text.lstrip(" \t"))), ""
                )

    # Methods.

    def _member(self, node: Function, home: Home) -> None:
        if loads(node):
            kept = "; model and tokenizer are parameters now"
            self._remove(node, f"{node.name} loads the model: taken out{kept}")
            for each in ast.walk(node):
                if (
                    isinstance(each, ast.Attribute)
                    and isinstance(each.ctx, ast.Store)
                    and each.attr not in PARAMETERS
                ):
                    self._note(each.lineno, f"self.{each.attr} was set here and is not any more")
            return
        self._method(node, home)

    def _remove(self, node: Function, why: str) -> None:
        begin = min(each.lineno for each in (node, *node.decorator_list))
        while begin > 1 and self._text.lines[begin - 2].lstrip().startswith("#"):
            begin -= 1
        self._note(node.lineno, why)
        self._text.delete_lines(begin, node.end_lineno or node.lineno)

    def _method(self, node: Function, home: Home) -> None:
        this = _first_parameter(node)
        is_plain = node.name in home.plain
        name = home.plain.get(node.name) or home.methods.get(node.name) or node.name
        self._decorators(node)
        if isinstance(node, ast.AsyncFunctionDef):
            self._note(node.lineno, f"{node.name} is async; a technique is a plain function")
        renamed = _renamed(node, home)
        for old, new in renamed.items():
            self._note(node.lineno, f"{old} of {node.name} is called {new} now")
        self._signature(node, name, is_plain)
        rewriting = Rewriting(
            self._text, home, this or "", self._note, renamed, lone_statements(node)
        )
        skipped = node.args.args[:1] if this else []
        for part in (*_parts(node.args, skipped), *filter(None, [node.returns]), *node.body):
            rewriting.rewrite(part)
        if not is_plain:
            self.names.append(name)

    def _signature(self, node: Function, name: str, is_plain: bool) -> None:
        text = self._text
        keyword = text.source.index("def", text.start(node))
        at = text.source.index(node.name, keyword + 3)
        if name != node.name:
            text.replace(at, at + len(node.name), name)
        first = next(iter([*node.args.posonlyargs, *node.args.args]), None)
        if is_plain and first is not None and first.arg == "cls":
            end = self._past_comma(first)
            text.replace(text.start(first), end, "")
        elif not is_plain and first is not None:
            text.replace_node(first, ", ".join(PARAMETERS))

    def _past_comma(self, node: ast.AST) -> int:
        found = re.compile(r"\s*,\s*").match(self._text.source, self._text.end(node))
        return found.end() if found else self._text.end(node)

    def _decorators(self, node: Function) -> None:
        for each in node.decorator_list:
            last = last_name(each)
            is_deployment = root_name(each) in self._dead or last in _DEPLOYMENT_NAMES
            if is_deployment or last in ("staticmethod", "classmethod", "property"):
                self._text.delete_lines(each.lineno, each.end_lineno or each.lineno)
            if is_deployment:
                self._note(each.lineno, f"decorator @{self._text.of(each)} taken out")


def _renamed(node: Function, home: Home) -> dict[str, str]:
    this = _first_parameter(node)
    if this is None or node.name in home.plain:
        return {}
    hidden = hidden_names(node, this, home)
    return {
        name: f"own_{name}" if name in PARAMETERS else f"{name}_value" for name in sorted(hidden)
    }


def _parts(given: ast.arguments, skipped: Sequence[ast.arg]) -> Iterator[ast.AST]:
    """Yield parameters, their annotations and defaults, without the object itself."""
    for each in ast.iter_child_nodes(given):
        if each not in skipped:
            yield each


def _first_parameter(node: Function) -> str | None:
    first = next(iter([*node.args.posonlyargs, *node.args.args]), None)
    return first.arg if first is not None and first.arg in ("self", "cls") else None


def _with_blank_lines(source: str) -> str:
    """Return source with two blank lines before each top-level function, comments included."""
    lines = [line.rstrip("\r\n") for line in lines_of(source.strip("\n"))]
    in_string, _ = inside_strings(source.strip("\n") + "\n")
    starts = {
        min(each.lineno for each in (node, *node.decorator_list))
        for node in ast.parse("\n".join(lines)).body
        if isinstance(node, Function | ast.ClassDef)
    }
    made: list[str] = []
    for number, line in enumerate(lines, 1):
        if number in starts:
            lead = len(made)
            while lead and made[lead - 1].startswith("#"):
                lead -= 1
            comments = made[lead:]
            del made[lead:]
            while made and not made[-1].strip():
                made.pop()
            made += ["", ""] * bool(made) + comments
        is_spare = not line.strip() and number not in in_string and made[-2:] == ["", ""]
        if not is_spare:
            made.append(line)
    return "\n".join(made) + "\n"
