"""Edits of source text at the places of syntax nodes, so that comments and layout stay as they are.

Before Python 3.12 the nodes inside an f-string have no reliable place; there the fields of the
string are found by reading it.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Callable, Iterator
from itertools import accumulate

from glassbox.techniques.shipping.code_reading import lines_of

F_STRINGS_HAVE_PLACES = sys.version_info >= (3, 12)


class Text:
    """Source text with the places of its lines.

    Args:
        source: The text.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines = lines_of(source)
        self._starts = list(accumulate(map(len, self.lines), initial=0))
        self._edits: list[tuple[int, int, str]] = []

    def offset(self, line: int, column: int) -> int:
        """Return the place of a 1-based line and a column counted in UTF-8 bytes."""
        if line > len(self.lines):
            return len(self.source)
        before = self.lines[line - 1].encode()[:column].decode()
        return self._starts[line - 1] + len(before)

    def line_start(self, line: int) -> int:
        """Return the place at which a 1-based line begins."""
        return self._starts[min(line - 1, len(self.lines))]

    def start(self, node: ast.AST) -> int:
        """Return the place at which a node begins."""
        return self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Return the place just after a node."""
        return self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def of(self, node: ast.AST) -> str:
        """Return the text of a node."""
        return self.source[self.start(node) : self.end(node)]

    def replace(self, start: int, end: int, text: str) -> None:
        """Put text in the place of what stands there; equal places insert."""
        self._edits.append((start, end, text))

    def replace_node(self, node: ast.AST, text: str) -> None:
        """Put text in the place of a node."""
        self.replace(self.start(node), self.end(node), text)

    def delete_lines(self, first: int, last: int) -> None:
        """Delete lines, 1-based and both included."""
        self.replace(self.line_start(first), self.line_start(last + 1), "")

    def edited(self) -> str:
        """Return the text with all edits; one inside what another deletes has no effect."""
        parts, at = [], 0
        # What is inserted at a place comes before what replaces something there.
        order = sorted(self._edits, key=lambda each: (each[0], each[1] > each[0], -each[1]))
        for start, end, text in order:
            if start < at:
                continue
            parts += [self.source[at:start], text]
            at = end
        return "".join([*parts, self.source[at:]])


def inside_strings(source: str) -> tuple[set[int], dict[int, int]]:
    """Return the lines that begin inside a string, and first and last line of each such string."""
    lines: set[int] = set()
    spans: dict[int, int] = {}
    opened: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name == "FSTRING_START":
            opened.append(token.start[0])
        first = opened.pop() if name == "FSTRING_END" else token.start[0]
        if name in ("STRING", "FSTRING_END") and token.end[0] > first:
            lines.update(range(first + 1, token.end[0] + 1))
            spans[first] = token.end[0]
    return lines, spans


def rewrite_f_strings(text: str, rewrite: Callable[[str], str]) -> str:
    """Return string literals, one or several side by side, with the fields of f-strings rewritten.

    Args:
        text: The literals as they stand in the source.
        rewrite: Returns what an expression becomes.
    """
    edited = Text(text)
    for token in tokenize.generate_tokens(io.StringIO(f"({text})").readline):
        if token.type != tokenize.STRING:
            continue
        prefix = token.string[: len(token.string) - len(token.string.lstrip("rRbBfFuU"))]
        if "f" not in prefix.lower():
            continue
        quote = 3 if token.string[len(prefix) :][:3] in ('"""', "'''") else 1
        body = token.string[len(prefix) + quote : -quote]
        # The bracket that keeps several lines together comes before the first line only.
        line, column = token.start[0], token.start[1] - (token.start[0] == 1)
        start = edited.line_start(line) + column + len(prefix) + quote
        edited.replace(start, start + len(body), _rewrite_fields(body, rewrite))
    return edited.edited()


def _rewrite_fields(body: str, rewrite: Callable[[str], str]) -> str:
    parts, at = [], 0
    for start, end in _fields(body):
        expression, rest = _split_field(body[start:end])
        spec = _rewrite_fields(rest, rewrite) if "{" in rest else rest
        parts += [body[at:start], rewrite(expression), spec]
        at = end
    return "".join([*parts, body[at:]])


def _fields(body: str) -> Iterator[tuple[int, int]]:
    """Yield the places of what is between the outermost braces, doubled braces left out."""
    i = 0
    while i < len(body):
        if body[i : i + 2] in ("{{", "}}"):
            i += 2
            continue
        if body[i] == "{":
            start, depth = i + 1, 1
            while depth and i + 1 < len(body):
                i += 1
                depth += {"{": 1, "}": -1}.get(body[i], 0)
            yield start, i
        i += 1


def _split_field(field: str) -> tuple[str, str]:
    """Return the expression of a field and what follows it: ``=``, ``!r`` and ``:spec``."""
    for i in range(len(field), 0, -1):
        expression, rest = field[:i], field[i:]
        if rest and rest[0] not in "=!:":
            continue
        if rest.startswith("=") and not rest.startswith(("=!", "=:")) and rest.strip() != "=":
            continue
        try:
            ast.parse(f"({expression})", mode="eval")
        except SyntaxError:
            continue
        return expression, rest
    return field, ""
