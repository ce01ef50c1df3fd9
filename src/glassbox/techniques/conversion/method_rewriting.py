"""Rewrites what a method does with ``self`` into what a technique does with its parameters.

Reads syntax nodes and writes edits; what it cannot say without ``self`` it reports with its line.
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from glassbox.techniques.conversion.syntax_edits import (
    F_STRINGS_HAVE_PLACES,
    Text,
    rewrite_f_strings,
)
from glassbox.techniques.shipping.code_reading import lines_of

PARAMETERS = ("model", "tokenizer")
"""First two parameters of every technique."""

_REMOTE = ("remote", "local", "spawn", "remote_gen")
"""Ways of calling a deployed method that are a plain call beside the model."""

_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class Home:
    """What the methods of one class may find there."""

    methods: Mapping[str, str]
    """Methods that take the model, by name, and what they are called as functions."""
    plain: Mapping[str, str]
    """Those that take no ``self``."""
    properties: frozenset[str]
    """Methods that are read like attributes."""
    constants: frozenset[str]
    """Names that the class assigns or defines."""
    class_name: str = ""
    """The class itself."""
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of each method the names of its own that changed."""


@dataclass(eq=False)
class Rewriting:
    """Edits and remarks of one method; filled by ``rewrite``."""

    text: Text
    home: Home
    this: str
    """Name of the parameter that stands for the object: ``self`` or ``cls``."""
    note: Callable[[int, str], None]
    renamed: dict[str, str] = field(default_factory=dict)
    """Own names that would hide a parameter or a function, and what they are called now."""
    alone: frozenset[ast.stmt] = frozenset()
    """Statements without which their block would be empty."""
    line: int = 0
    """Line of the string that is being rewritten; 0 outside of strings."""

    def rewrite(self, node: ast.AST) -> None:
        """Write the edits of a node and of everything in it."""
        if isinstance(node, ast.JoinedStr) and not F_STRINGS_HAVE_PLACES:
            self._f_string(node)
        elif isinstance(node, ast.Call) and self._call(node):
            self._each((*node.args, *node.keywords))
        elif isinstance(node, ast.Attribute) and self._is_this(node.value):
            self._attribute(node)
        elif isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.arg) and node.arg in self.renamed:
            start = self.text.start(node)
            self.text.replace(start, start + len(node.arg), self.renamed[node.arg])
            self._each(ast.iter_child_nodes(node))
        elif isinstance(node, _Scope) and self.this in _parameters(node):
            return  # The name is another object's from here on.
        elif isinstance(node, ast.Assign) and self._is_idle(node):
            self._drop(node)
        else:
            self._each(ast.iter_child_nodes(node))

    def _each(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.rewrite(node)

    def _is_this(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id in (self.this, self.home.class_name)

    def _line(self, node: ast.AST) -> int:
        return self.line or getattr(node, "lineno", 0)

    def _f_string(self, node: ast.JoinedStr) -> None:
        line = self._line(node)

        def rewrite(expression: str) -> str:
            inner = Text(f"({expression})")
            part = Rewriting(inner, self.home, self.this, self.note, self.renamed, line=line)
            part.rewrite(ast.parse(inner.source, mode="eval"))
            return inner.edited()[1:-1]

        self.text.replace_node(node, rewrite_f_strings(self.text.of(node), rewrite))

    def _call(self, node: ast.Call) -> bool:
        """Rewrite a call of another method; False when it is none."""
        function = node.func
        if (
            isinstance(function, ast.Attribute)
            and function.attr in _REMOTE
            and isinstance(function.value, ast.Attribute)
            and self._is_this(function.value.value)
            and function.value.attr in self.home.methods
        ):
            self.note(self._line(node), f".{function.attr}() is a plain call now")
            function_name = function.value.attr
        elif isinstance(function, ast.Attribute) and self._is_this(function.value):
            function_name = function.attr
        else:
            return False
        if function_name in self.home.plain:
            self.text.replace_node(function, self.home.plain[function_name])
            return True
        if function_name not in self.home.methods or function_name in self.home.properties:
            return False
        self.text.replace_node(function, self.home.methods[function_name])
        bracket = self.text.source.index("(", self.text.end(function)) + 1
        for keyword in node.keywords:
            new = self.home.renamed.get(function_name, {}).get(keyword.arg or "")
            if new:
                start = self.text.start(keyword)
                self.text.replace(start, start + len(keyword.arg or ""), new)
        has_more = bool(node.args or node.keywords)
        self.text.replace(bracket, bracket, ", ".join(PARAMETERS) + ", " * has_more)
        return True

    def _attribute(self, node: ast.Attribute) -> None:
        name, home = node.attr, self.home
        given = ", ".join(PARAMETERS)
        if not isinstance(node.ctx, ast.Load):
            self.note(
                self._line(node),
                f"{self.this}.{name} is assigned: nothing stays between calls of a technique",
            )
        elif name in PARAMETERS:
            self.text.replace_node(node, name)
        elif name in home.properties:
            self.text.replace_node(node, f"{home.methods[name]}({given})")
        elif name in home.methods:
            self.text.replace_node(
                node, f"(lambda *args, **kwargs: {home.methods[name]}({given}, *args, **kwargs))"
            )
        elif name in home.plain:
            self.text.replace_node(node, home.plain[name])
        elif name in home.constants:
            self.text.replace_node(node, name)
        elif name == "device":
            self.text.replace_node(node, "model.device")
            self.note(self._line(node), f"{self.this}.device became model.device")
        else:
            self.note(
                self._line(node),
                f"{self.this}.{name} has no counterpart in a technique: make it a parameter",
            )

    def _name(self, node: ast.Name) -> None:
        if node.id in self.renamed:
            self.text.replace_node(node, self.renamed[node.id])
        elif node.id == self.this:
            self.note(
                self._line(node), f"{self.this} itself is handed on, which a technique is not"
            )
        elif node.id == "super":
            self.note(self._line(node), "super() has no counterpart in a technique")

    def _is_idle(self, node: ast.Assign) -> bool:
        """Return whether it is ``model = self.model``, of which nothing would be left."""
        target, value = node.targets[0], node.value
        return (
            len(node.targets) == 1
            and isinstance(target, ast.Name)
            and isinstance(value, ast.Attribute)
            and self._is_this(value.value)
            and target.id == value.attr
            and target.id in PARAMETERS
            and target.id not in self.renamed
        )

    def _drop(self, node: ast.Assign) -> None:
        before = self.text.source[self.text.line_start(node.lineno) : self.text.start(node)]
        after = self.text.lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :]
        if before.strip() or (after.strip() and not after.strip().startswith("#")):
            self._each(ast.iter_child_nodes(node))
        else:
            self.text.replace_node(node, "pass" if node in self.alone else _GONE)


_GONE = "\0gone"
"""Stands for a statement whose line is taken out at the end."""


def without_gone(source: str) -> str:
    """Return source without the lines of statements that were dropped."""
    return "".join(line for line in lines_of(source) if not line.lstrip().startswith(_GONE))


def hidden_names(
    function: ast.FunctionDef | ast.AsyncFunctionDef, this: str, home: Home
) -> set[str]:
    """Return the names a method binds that would hide a technique's parameters or a function.

    Args:
        function: The method.
        this: Name of its first parameter.
        home: Of its class.
    """
    idle = {
        id(target)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute)
        for target in node.targets
        if isinstance(target, ast.Name)
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == this
        and node.value.attr == target.id
    }
    bound = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in idle
    }
    bound |= {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)} - {this}
    used = {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == this
    }
    functions = {*home.methods, *home.plain} & used
    return bound & {*functions, *PARAMETERS}


def _parameters(function: _Scope) -> list[str]:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    every += [each for each in (given.vararg, given.kwarg) if each is not None]
    return [each.arg for each in every]


def lone_statements(function: ast.AST) -> frozenset[ast.stmt]:
    """Return the statements that are alone in their block."""
    blocks = (
        getattr(node, name, None)
        for node in ast.walk(function)
        for name in ("body", "orelse", "finalbody")
    )
    return frozenset(block[0] for block in blocks if isinstance(block, list) and len(block) == 1)
