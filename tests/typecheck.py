"""The run-time type checker that the import hook of ``conftest`` puts on every function."""

import dataclasses
import functools
import inspect
import random
from collections.abc import Callable
from typing import Any, ForwardRef, Literal, get_args, get_origin, get_type_hints

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
_ONE_CALL = with_shapes("context")


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose arguments and results are checked against its annotations.

    A Protocol is left to mypy: its members cannot be tested by looking at a value. So is the
    context of a command, which must ask for ``typer.Context`` and is given its base class. The
    hook decorates methods one by one, and beartype understands ``Self`` only when it decorates
    the class, so a method that returns it stays unchecked.
    """
    hints = getattr(function, "__annotations__", {})
    function.__annotations__ = {
        name: object if _any_part(hint, _is_left_to_mypy) else hint
        for name, hint in _resolved(function).items()
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

    Only where arrays are annotated there are any, so all other functions are checked without it.
    Where there are, it looks at every argument twice, and binds them once more to tell in its own
    words what was wrong: a quarter of the time of the engine's tests. The type checker says the
    same, and here looks once.
    """

    def decorated(made: Any) -> Any:
        if isinstance(made, type):
            begins = made.__dict__.get("__init__") if dataclasses.is_dataclass(made) else None
            if begins is not None and not hasattr(begins, "__wrapped__"):
                made.__init__ = decorated(begins)  # type: ignore[misc]
            return made
        if not any(_any_part(each, _is_array) for each in _resolved(made).values()):
            return typechecker(made)
        if inspect.isgeneratorfunction(made) or inspect.iscoroutinefunction(made):
            # Its body runs after the call.
            return with_shapes(made, typechecker=typechecker)
        return _comparing_sizes(typechecker(made))

    return decorated


def _comparing_sizes(checked: Callable[..., Any]) -> Callable[..., Any]:
    """Return a checked function in one call of which sizes of one name are equal."""

    @functools.wraps(checked)
    def comparing(*args: Any, **kwargs: Any) -> Any:
        with _ONE_CALL:
            return checked(*args, **kwargs)

    return comparing


def _is_left_to_mypy(hint: object) -> bool:
    if hint is typer.Context:
        return True
    if isinstance(hint, type) and getattr(hint, "_is_protocol", False):
        return not getattr(hint, "_is_runtime_protocol", False)
    return False


def _resolved(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's hints; what mypy alone imports, or is not made yet, may be anything."""

    def meant(hint: object) -> object:
        if not _any_part(hint, lambda part: isinstance(part, (str, ForwardRef))):
            return hint
        alone = type("Alone", (), {"__annotations__": {"hint": hint}})
        try:
            return get_type_hints(alone, function.__globals__, include_extras=True)["hint"]
        except NameError:
            return object

    return {name: meant(hint) for name, hint in getattr(function, "__annotations__", {}).items()}


def _is_array(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def _any_part(hint: object, holds: Callable[[object], bool]) -> bool:
    if holds(hint):
        return True
    if get_origin(hint) is Literal:
        return False
    parts = hint if isinstance(hint, list) else get_args(hint)
    return any(_any_part(part, holds) for part in parts)
