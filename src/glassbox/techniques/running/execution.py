"""Calling a technique: once, or for many inputs, some of them together.

Knows functions and their arguments; knows nothing of queues, threads and of how models are lent.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from glassbox.engine.model.attempt import attempt
from glassbox.errors import InvalidValue, NotShippable
from glassbox.techniques.technique import info_of

Technique = Callable[..., Any]
"""``technique(model, tokenizer, *args, **kwargs)``."""


def require_plain(function: Technique) -> None:
    """Refuse what does not answer with a value when it is called.

    Raises:
        NotShippable: A coroutine function or a generator function.
    """
    name = getattr(function, "__qualname__", repr(function))
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise NotShippable(
            f"{name} is an async function, and nothing awaits it beside the model. Write it with a "
            "plain def; use AsyncInterpClient where the caller is to wait asynchronously."
        )
    if inspect.isgeneratorfunction(function):
        raise NotShippable(
            f"{name} is a generator function: it yields instead of returning. Return a list; what "
            "it prints is shown while it runs."
        )


def execute(
    function: Technique,
    model: Any,
    tokenizer: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Return what a technique returns for some arguments.

    Raises:
        NotShippable: It returned something that has yet to be awaited or iterated over.
    """
    value = function(model, tokenizer, *args, **kwargs)
    kind = (
        "a coroutine" if inspect.iscoroutine(value)
        else "a generator" if inspect.isgenerator(value) or inspect.isasyncgen(value)
        else ""
    )  # fmt: skip
    if kind:
        if inspect.iscoroutine(value):
            value.close()
        name = getattr(function, "__qualname__", repr(function))
        raise NotShippable(f"{name} returned {kind}, which cannot travel. Return its values.")
    return value


def execute_map(
    function: Technique,
    model: Any,
    tokenizer: Any,
    shared: tuple[Sequence[Any], Mapping[str, Any]],
    inputs: Sequence[Mapping[str, Any]],
    *,
    between: Callable[[], None] = lambda: None,
) -> list[Any]:
    """Return what a technique returns for each of some inputs, in their order.

    The same as calling it for one after another; where the technique says which parameter takes a
    list of items, inputs that differ in that alone are answered together. An input may give one
    item there in place of a list, and gets one value then.

    Args:
        function: The technique.
        model: The model.
        tokenizer: Its tokenizer.
        shared: Positional and named arguments of all calls.
        inputs: Named arguments of each call, which go before the shared ones.
        between: Called between two calls, so that nothing leaks from one to the next.

    Raises:
        InvalidValue: A batched technique did not answer with one value for each item.
        TypeError: The technique does not take the arguments of one of the inputs; none has run.
        BaseException: What the technique raised; a note names the input.
    """
    args, kwargs = shared
    calls = [{**kwargs, **each} for each in inputs]
    _require_taken(function, args, calls)
    results: list[Any] = [None] * len(calls)
    name = info_of(function).batch

    def call(rows: Sequence[int]) -> None:
        alone = calls[rows[0]]
        if len(rows) == 1 and (name not in alone or _is_many(alone[name])):
            results[rows[0]] = execute(function, model, tokenizer, args, alone)
            return
        items = [calls[at][str(name)] for at in rows]
        flat = [item for each in items for item in (each if _is_many(each) else [each])]
        value = execute(function, model, tokenizer, args, {**alone, str(name): flat})
        for at, part in zip(rows, _shared_out(value, items, len(flat), str(name)), strict=True):
            results[at] = part

    def call_one(at: int) -> None:
        error = attempt(partial(call, [at]))
        if error is not None:
            error.add_note(f"in input {at} of {len(calls)} (counted from 0). {_ALL_OR_NONE}")
            raise error

    for number, rows in enumerate(_groups(function, calls)):
        if number:
            between()
        if len(rows) == 1:
            call_one(rows[0])
        else:
            _call_together(call, call_one, rows, between)
    return results


_ALL_OR_NONE: Final = (
    "A map answers all inputs or none: leave this one out, or catch the error in the technique and "
    "return what stands for it."
)


def _require_taken(
    function: Technique, args: Sequence[Any], calls: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse a call that the function does not take, before others have taken their time."""
    try:
        # What a wrapper takes itself, not what it wraps.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # One that is not written in Python.
        return
    for at, call in enumerate(calls):
        try:
            signature.bind(None, None, *args, **call)
        except TypeError as error:
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(
                f"{name} does not take input {at} of {len(calls)} (counted from 0): {error}. It "
                f"takes {', '.join([*signature.parameters][2:]) or 'nothing'}. No input has run."
            ) from None


def _call_together(
    call: Callable[[Sequence[int]], None],
    call_one: Callable[[int], None],
    rows: Sequence[int],
    between: Callable[[], None],
) -> None:
    error = attempt(partial(call, rows))
    if error is None:
        return
    # One by one, so that whoever asks learns which input it is.
    for at in rows:
        between()
        call_one(at)
    error.add_note(
        f"in inputs {rows[0]} to {rows[-1]} together (counted from 0); each of them alone is "
        "answered"
    )
    raise error


def _groups(function: Technique, calls: Sequence[Mapping[str, Any]]) -> Iterator[list[int]]:
    """Yield which calls are made together: neighbours that differ in their items alone."""
    info = info_of(function)
    group: list[int] = []
    n_items = 0
    for at, call in enumerate(calls):
        n_own = _n_items(call[info.batch]) if info.batch is not None and info.batch in call else 0
        fits = (
            group
            and n_own
            and n_items
            and n_items + n_own <= info.batch_size
            and _equal_but(calls[group[0]], call, str(info.batch))
        )
        if group and not fits:
            yield group
            group, n_items = [], 0
        group.append(at)
        n_items += n_own
    if group:
        yield group


def _shared_out(value: Any, items: Sequence[Any], n: int, name: str) -> Iterator[Any]:
    """Yield what belongs to each input of an answer to all their items."""
    if not isinstance(value, list | tuple) or len(value) != n:
        size = f" of {len(value)}" if isinstance(value, list | tuple) else ""
        raise InvalidValue(
            f"the answer of a technique that is batched over {name!r}",
            f"a {type(value).__name__}{size}",
            f"a list with one value for each of the {n} items",
        )
    first = 0
    for each in items:
        yield value[first : first + _n_items(each)] if _is_many(each) else value[first]
        first += _n_items(each)


def _is_many(item: Any) -> bool:
    return isinstance(item, list | tuple)


def _n_items(item: Any) -> int:
    return len(item) if _is_many(item) else 1


def _equal_but(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    """Return whether two calls differ in one argument at most; what cannot be compared differs."""
    if one.keys() != other.keys():
        return False
    return all(_equal(one[key], other[key]) for key in one if key != name)


def _equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except (RuntimeError, ValueError, TypeError):
        return False
