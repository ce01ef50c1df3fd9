"""Finds code that reaches a model in other ways than methods do: not rewritten, but named."""

import ast
from collections.abc import Iterator

from glassbox.techniques.conversion.deployed_classes import Function
from glassbox.techniques.conversion.method_rewriting import PARAMETERS

_OTHERS_CALLS = {
    "trace": "nnsight",
    "run_with_cache": "TransformerLens",
    "run_with_hooks": "TransformerLens",
    "to_tokens": "TransformerLens",
    "to_str_tokens": "TransformerLens",
}
"""Methods that other libraries' models have, and whose they are.

Source: nnsight 0.4, ``LanguageModel.trace``; TransformerLens 2, ``HookedTransformer``.
"""


def other_ways(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what is to be rewritten by hand, with its line."""
    for node in tree.body:
        if isinstance(node, Function) and (taken := _taken_from_outside(node)):
            yield (
                node.lineno,
                f"{node.name} takes {' and '.join(taken)} from outside: give it model and "
                "tokenizer as its first parameters",
            )
    for each in ast.walk(tree):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            owner, library = each.func.value, _OTHERS_CALLS.get(each.func.attr)
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if library is not None and name == "model":
                yield (
                    each.lineno,
                    f"model.{each.func.attr} is {library}'s; a technique's model is transformers' "
                    "own: call it, and read or change its modules with forward hooks",
                )


def _taken_from_outside(node: Function) -> list[str]:
    """Return which of model and tokenizer a function reads and neither takes nor makes."""
    given = {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
    names = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
    own = given | {each.id for each in names if isinstance(each.ctx, ast.Store)}
    read = {each.id for each in names}
    return [name for name in PARAMETERS if name in read - own]
