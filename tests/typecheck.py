"""The run-time type checker that the import hook of ``conftest`` puts on every function."""

import random
from collections.abc import Callable
from typing import Any, get_args

from beartype import BeartypeConf, beartype
from beartype._check.code import codemain
from beartype.roar import BeartypeDecorHintPep673Exception

# Which items of a list it looks at is drawn: on the engine's threads that would move the random
# state of the whole process, which hypothesis and the tests of lending watch.
assert codemain.getrandbits is random.getrandbits
codemain.getrandbits = random.Random(0).getrandbits  # type: ignore[attr-defined]

CHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""As in mypy, an int may stand where a float is asked for."""


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose arguments and results are checked against its annotations.

    A Protocol is left to mypy: its members cannot be tested by looking at a value. The hook
    decorates methods one by one, and beartype understands ``Self`` only when it decorates the
    class, so a method that returns it stays unchecked.
    """
    hints = getattr(function, "__annotations__", {})
    hints.update({name: object for name, hint in hints.items() if _holds_protocol(hint)})
    try:
        return CHECKER(function)
    except BeartypeDecorHintPep673Exception:
        return function


def _holds_protocol(hint: object) -> bool:
    if isinstance(hint, type) and getattr(hint, "_is_protocol", False):
        return not getattr(hint, "_is_runtime_protocol", False)
    parts = hint if isinstance(hint, list) else get_args(hint)
    return any(_holds_protocol(part) for part in parts)
