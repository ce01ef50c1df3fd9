"""The run-time type checker that the import hook of ``conftest`` puts on every function."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any, ForwardRef, Literal, get_args, get_origin

import jaxtyping
import typer
from beartype import BeartypeConf, beartype
from beartype._check.code import codemain
from beartype.roar import BeartypeDecorHintPep673Exception
from jaxtyping import AbstractArray

# Which items of a list it looks at is drawn: on the engine's threads that would move the random
# state of the whole process, which hypothesis and the tests of lending watch.
assert codemain.getrandbits is random.getrandbits
codemain.getrandbits = random.Random(0).getrandbits  # type: ignore[attr-defined]

CHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""As in mypy, an int may stand where a float is asked for."""

with_shapes = jaxtyping.jaxtyped


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose arguments and results are checked against its annotations.

    A Protocol is left to mypy: its members cannot be tested by looking at a value. So is the
    context of a command, which must ask for ``typer.Context`` and is given its base class. The
    hook decorates methods one by one, and beartype understands ``Self`` only when it decorates
    the class, so a method that returns it stays unchecked.
    """
    hints = getattr(function, "__annotations__", {})
    function.__annotations__ = {
        name: object if _any_part(hint, _is_left_to_mypy) else hint for name, hint in hints.items()
    }
    try:
        made = CHECKER(function)
    except BeartypeDecorHintPep673Exception:
        made = function
    # Typer and the techniques read annotations, too: there they are as they were written.
    function.__annotations__ = made.__annotations__ = hints
    return made


def lean(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """Stand in for ``jaxtyping.jaxtyped``, which takes its time to compare the sizes of arrays.

    Only where arrays are annotated there are any. It costs some fifty microseconds a call, and
    milliseconds of every import, so all other functions are checked without it.
    """

    def decorated(made: Any) -> Any:
        if isinstance(made, type):
            begins = made.__dict__.get("__init__") if dataclasses.is_dataclass(made) else None
            if begins is not None and not hasattr(begins, "__wrapped__"):
                made.__init__ = decorated(begins)  # type: ignore[misc]
            return made
        if any(_any_part(each, _needs_shapes) for each in made.__annotations__.values()):
            return with_shapes(made, typechecker=typechecker)
        return typechecker(made)

    return decorated


def _is_left_to_mypy(hint: object) -> bool:
    if hint is typer.Context:
        return True
    if isinstance(hint, type) and getattr(hint, "_is_protocol", False):
        return not getattr(hint, "_is_runtime_protocol", False)
    return False


def _needs_shapes(hint: object) -> bool:
    """Whether a hint names an array, or a class by its name, which jaxtyping looks up."""
    if isinstance(hint, (str, ForwardRef)):
        return True
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def _any_part(hint: object, holds: Callable[[object], bool]) -> bool:
    if holds(hint):
        return True
    if get_origin(hint) is Literal:
        return False
    parts = hint if isinstance(hint, list) else get_args(hint)
    return any(_any_part(part, holds) for part in parts)
