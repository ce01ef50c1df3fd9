"""Recognises the parts of a deployed class: what loads the model, what serves, what is neither."""

import ast

from glassbox.techniques.conversion.method_rewriting import PARAMETERS

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_static(node: Function) -> bool:
    """Return whether a method has no object: a static or a class method."""
    return any(last_name(each) in ("staticmethod", "classmethod") for each in node.decorator_list)


def is_deployed(node: ast.ClassDef) -> bool:
    """Return whether a class holds a model: its methods read or set one on ``self``."""
    return any(
        isinstance(each, ast.Attribute)
        and each.attr in PARAMETERS
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
        for each in ast.walk(node)
    ) and any(isinstance(each, Function) for each in node.body)


def docstring_lines(tree: ast.AST) -> set[int]:
    """Return the lines that begin inside the docstring of a function."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, Function) and ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno + 1, (node.body[0].end_lineno or 0) + 1)
    }


def loads(node: Function) -> bool:
    """Return whether a method sets up the object: assigns the model, or is its constructor."""
    sets = any(
        isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and each.attr in PARAMETERS
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
        for each in ast.walk(node)
    )
    return sets or node.name in ("__init__", "__enter__", "__exit__", "__del__")


def mentions(node: ast.stmt, names: set[str]) -> bool:
    """Return whether a statement that is no definition uses a deployment's name."""
    if isinstance(node, ast.Import):
        return any(each.name.partition(".")[0] in names for each in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] in names
    if isinstance(node, ast.ClassDef):
        return False
    return any(isinstance(each, ast.Name) and each.id in names for each in ast.walk(node))


def root_name(node: ast.AST) -> str:
    """Return the name that attributes and calls begin with: ``modal`` of ``@modal.method()``."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def last_name(node: ast.AST) -> str:
    """Return the name that a decorator ends with: ``method`` of ``@modal.method()``."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
