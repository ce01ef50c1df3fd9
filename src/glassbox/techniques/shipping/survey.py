"""What a function brings along: everything it captures, the local modules, the imports it needs.

Followed through helper functions, classes, local modules and containers, by name, so that what
cannot travel is named as the author knows it.
"""

import builtins
import dataclasses
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from glassbox.errors import NotShippable
from glassbox.techniques.packed.live_things import live
from glassbox.techniques.packed.named_classes import INTERACTIVE, home_name
from glassbox.techniques.shipping.code_reading import (
    attribute_chains,
    captures,
    changed_names,
    global_names,
    inner_imports,
    mentioned,
    submodules,
)
from glassbox.techniques.shipping.locality import find_local, is_installed, is_local, travels

MOST_CAPTURED_BYTES = 8 * 2**20
"""Captured values altogether; what is larger is an argument, or is made where it is used."""

NAMED_BYTES = 2**20
"""Captured values from this size on are named in the error."""

_MOST_DEEP = 100


@dataclass(eq=False)
class Survey:
    """What was found; filled by ``survey``."""

    modules: dict[str, types.ModuleType] = field(default_factory=dict)
    """Local modules by name: the parts of them that are used travel along."""
    homes: set[str] = field(default_factory=set)
    """Names of the local modules that functions come from, as they are on both sides."""
    uses: dict[int, set[str]] = field(default_factory=dict)
    """Names used of a local module that itself is a value, by its identity."""
    imports: set[str] = field(default_factory=set)
    """Modules that must be installed on the other side."""
    reached: dict[int, set[str]] = field(default_factory=dict)
    """Installed modules that a function reaches through their package, by its identity."""
    inner_imports: set[str] = field(default_factory=set)
    """Installed modules that are imported when the code runs."""
    inner_modules: dict[int, dict[str, types.ModuleType]] = field(default_factory=dict)
    """Local modules imported when the code runs, by the identity of the importing globals."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of the captured values by description."""
    captured: list[tuple[str, Any]] = field(default_factory=list)
    """Description and value of each captured variable."""
    undefined: set[str] = field(default_factory=set)
    """Names that are used and defined nowhere yet."""
    changed: list[str] = field(default_factory=list)
    """Captured variables that the code changes: the change stays on the other side."""


def survey(function: Any) -> Survey:
    """Return what a function brings along.

    Raises:
        NotShippable: It captures what is bound to this process, or too much.
    """
    surveyor = _Surveyor()
    surveyor.visit(function, "", 0)
    found = surveyor.found
    total = sum(found.sizes.values())
    if total > MOST_CAPTURED_BYTES:
        largest = sorted(found.sizes.items(), key=lambda each: -each[1])
        named = [(what, size) for what, size in largest if size >= NAMED_BYTES] or largest[:3]
        listed = "; ".join(f"{what}: {size / 2**20:.1f} MiB" for what, size in named)
        raise NotShippable(
            f"The function captures {total / 2**20:.1f} MiB, at most "
            f"{MOST_CAPTURED_BYTES / 2**20:.0f} MiB may travel with it: {listed}. Pass large "
            "values as arguments, or make them where they are used."
        )
    return found


def require_function(function: object) -> Any:
    """Return the function inside of partials and methods.

    Raises:
        NotShippable: It is none, or one whose result could not travel.
    """
    inner: Any = function
    while isinstance(inner, partial | types.MethodType):
        inner = inner.func if isinstance(inner, partial) else inner.__func__
    name = getattr(inner, "__qualname__", repr(inner))
    if not callable(inner) or isinstance(inner, type):
        raise NotShippable(f"{name} is no function. Give a technique(model, tokenizer, …).")
    if inspect.isgeneratorfunction(inner):
        raise NotShippable(
            f"{name} is a generator function; what it would yield one by one cannot travel. "
            "Return a list; print() lines arrive while it runs."
        )
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise NotShippable(
            f"{name} is an async function; beside the model one technique runs at a time, in "
            "order. Write it with def; the async client waits for it without blocking."
        )
    return inner


class _Surveyor:
    def __init__(self) -> None:
        self.found = Survey()
        self._seen: dict[int, Any] = {}
        self._owner = ""

    def visit(self, value: Any, what: str, depth: int) -> None:
        """Follow one value; ``what`` describes the captured variable, empty for the function."""
        kind = type(value)
        if kind in _NUMBERS:
            self._weigh(what, 8)
            return
        if id(value) in self._seen or depth > _MOST_DEEP:
            return
        self._seen[id(value)] = value
        words = live(value)
        if words is not None:
            cure = _CURES.get(words, "Open what you need inside the technique.")
            raise NotShippable(f"{what or 'It'} is {words}, which stays in this process. {cure}")
        if self.found.sizes.get(what, 0) > 2 * MOST_CAPTURED_BYTES:
            return
        for test, follow in _WAYS:
            if test(value):
                follow(self, value, what, depth)
                return

    def _weigh(self, what: str, n_bytes: int) -> None:
        if what:
            self.found.sizes[what] = self.found.sizes.get(what, 0) + n_bytes

    def _bytes(self, value: Any, what: str, depth: int) -> None:  # noqa: ARG002
        self._weigh(what, len(value))

    def _array(self, value: Any, what: str, depth: int) -> None:  # noqa: ARG002
        self._weigh(what, int(value.nbytes))
        self._needs(type(value).__module__)

    def _mapping(self, value: Mapping[Any, Any], what: str, depth: int) -> None:
        self._items(value.keys(), what, depth)
        self._items(value.values(), what, depth)

    def _items(self, value: Iterable[Any], what: str, depth: int) -> None:
        n_bytes = 0
        for each in tuple(value):
            kind = type(each)
            if kind in _NUMBERS:
                n_bytes += 8
            elif kind is str or kind is bytes:
                n_bytes += len(each) + 8
            else:
                self.visit(each, what, depth + 1)
        self._weigh(what, n_bytes)

    def _needs(self, module: str | None) -> None:
        top = (module or "").partition(".")[0]
        if top and not _is_always_there(top):
            self.found.imports.add(top)

    def _module(self, module: types.ModuleType, what: str, depth: int) -> None:
        if not is_local(module):
            if not _is_always_there(module.__name__):
                self.found.imports.add(module.__name__)
            return
        self.found.modules[module.__name__] = module
        uses = self.found.uses.setdefault(id(module), set())
        for name in sorted(uses):
            if name in vars(module):
                self.visit(vars(module)[name], f"{name!r} of module {module.__name__}", depth + 1)
        del what

    def _function(self, function: types.FunctionType, what: str, depth: int) -> None:
        if not travels(function):
            self._needs(function.__module__)
            return
        home = sys.modules.get(str(function.__globals__.get("__name__", "")))
        if home is not None and is_local(home) and home_name(home.__name__) != INTERACTIVE:
            self.found.homes.add(home_name(home.__name__))
        del what
        name = function.__qualname__.rpartition("<locals>.")[2]
        is_written = _is_written(function)
        for variable, kind, value in captures(function):
            if isinstance(value, types.ModuleType) and is_local(value):
                self._use(function, variable, value, depth)
            else:
                described = f"{kind} {variable!r} of {name}"
                if isinstance(value, types.ModuleType):
                    self._reached(function, variable, value)
                if is_written:
                    self.found.captured.append((described, value))
                self.visit(value, described, depth + 1)
        for each in function.__dict__.values():
            self.visit(each, f"an attribute of {name}", depth + 1)
        if is_written:
            self._inside(function, name, depth)

    def _reached(
        self, function: types.FunctionType, variable: str, package: types.ModuleType
    ) -> None:
        names = submodules(function, variable, package.__name__)
        if names:
            self.found.reached.setdefault(id(function), set()).update(names)
            self.found.imports.update(name for name in names if not _is_always_there(name))

    def _use(
        self, function: types.FunctionType, variable: str, module: types.ModuleType, depth: int
    ) -> None:
        """Follow the attributes of a local module that a function reads under a name."""
        names = self.found.uses.setdefault(id(module), set())
        chains = attribute_chains(function.__code__, variable)
        wanted = {chain[0] for chain in chains if chain}
        if not all(chains):
            # It is handed on, so every attribute whose name appears may be read.
            wanted |= mentioned(function.__code__) & set(vars(module))
        self._take(module, wanted, names, depth)
        for chain in chains:
            self._descend(module, chain, depth)

    def _descend(self, module: types.ModuleType, chain: tuple[str, ...], depth: int) -> None:
        """Follow ``package.module.name``, where each but the last is a local module."""
        for i, name in enumerate(chain[:-1]):
            inner = vars(module).get(name)
            if not (isinstance(inner, types.ModuleType) and is_local(inner)):
                return
            names = self.found.uses.setdefault(id(inner), set())
            self._take(inner, {chain[i + 1]}, names, depth)
            module = inner

    def _take(
        self, module: types.ModuleType, wanted: set[str], names: set[str], depth: int
    ) -> None:
        new = (wanted & set(vars(module))) - names
        names |= new
        self.found.modules[module.__name__] = module
        for name in sorted(new):
            described = f"{name!r} of module {module.__name__}"
            self.found.captured.append((described, vars(module)[name]))
            self.visit(vars(module)[name], described, depth + 1)

    def _inside(self, function: types.FunctionType, name: str, depth: int) -> None:
        """Note what only happens when the code runs: imports, changes, names not yet defined."""
        for module in inner_imports(function):
            local = find_local(module)
            if local is None:
                self.found.inner_imports.add(module)
                continue
            home = self.found.inner_modules.setdefault(id(function.__globals__), {})
            home[module] = local
            names = self.found.uses.setdefault(id(local), set())
            wanted = {each for each in mentioned(function.__code__) & set(vars(local))
                      if live(vars(local)[each]) is None}  # fmt: skip
            self._take(local, wanted, names, depth)
        known = {**vars(builtins), **function.__globals__}
        self.found.undefined |= {each for each in global_names(function.__code__)
                                 if each not in known}  # fmt: skip
        for variable in changed_names(function):
            self.found.changed.append(f"{variable!r} of {name}")

    def _class(self, kind: type, what: str, depth: int) -> None:
        if not travels(kind):
            self._needs(kind.__module__)
            return
        del what
        for base in kind.__bases__:
            self.visit(base, "", depth + 1)
        for name, value in vars(kind).items():
            if name not in _CLASS_INTERNALS:
                self.visit(value, f"attribute {name!r} of {kind.__qualname__}", depth + 1)

    def _wrapped(self, value: Any, what: str, depth: int) -> None:
        for name in ("__func__", "__wrapped__", "fget", "fset", "fdel", "func"):
            inner = getattr(value, name, None)
            if callable(inner):
                self.visit(inner, what, depth + 1)
        if isinstance(value, types.MethodType):
            self.visit(value.__self__, what or "the object whose method it is", depth + 1)
        if isinstance(value, partial):
            self.visit(value.args, "a fixed argument", depth + 1)
            for name, each in value.keywords.items():
                self.visit(each, f"the fixed argument {name!r}", depth + 1)

    def _field(self, value: dataclasses.Field[Any], what: str, depth: int) -> None:
        self.visit(value.default, what, depth + 1)
        self.visit(value.default_factory, what, depth + 1)

    def _object(self, value: Any, what: str, depth: int) -> None:
        kind = type(value)
        self._weigh(what, 16)
        self._class(kind, what, depth)
        # Objects that say themselves how they travel are asked, not looked into.
        ways: tuple[Any, Any] = (kind.__reduce_ex__, kind.__reduce__)
        is_plain = ways == (object.__reduce_ex__, object.__reduce__)
        if is_plain and hasattr(value, "__dict__"):
            for name, each in vars(value).items():
                self.found.captured.append((f"{name!r} in {what}", each))
                self.visit(each, f"{name!r} in {what}", depth + 1)


_OWN = "Use the technique's own parameters model and tokenizer."
_CURES = {
    "a model or one of its modules": f"{_OWN} Of a module of yours give the .state_dict().",
    "a tokenizer": _OWN,
}
_CLASS_INTERNALS = frozenset(("__dict__", "__weakref__", "__doc__", "__annotations__", "_abc_impl"))
_NUMBERS = frozenset((type(None), bool, int, float))
_WRAPPERS = (types.MethodType, staticmethod, classmethod, property, partial)


def _is_always_there(module: str) -> bool:
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top == "glassbox"


def _is_written(function: types.FunctionType) -> bool:
    """Return whether somebody wrote a function here: not a library, and not a dataclass."""
    file = function.__code__.co_filename
    return not (is_installed(file) or (file == "<string>" and function.__name__.startswith("__")))


def _is_array(value: Any) -> bool:
    return hasattr(value, "nbytes") and hasattr(value, "dtype") and not isinstance(value, type)


_WAYS: tuple[tuple[Callable[[Any], bool], Callable[[_Surveyor, Any, str, int], None]], ...] = (
    (lambda value: isinstance(value, str | bytes | bytearray), _Surveyor._bytes),
    (lambda value: isinstance(value, types.FunctionType), _Surveyor._function),
    (lambda value: isinstance(value, types.ModuleType), _Surveyor._module),
    (lambda value: isinstance(value, type), _Surveyor._class),
    (lambda value: isinstance(value, dict), _Surveyor._mapping),
    (lambda value: isinstance(value, list | tuple | set | frozenset), _Surveyor._items),
    (_is_array, _Surveyor._array),
    (
        lambda value: isinstance(value, _WRAPPERS) or hasattr(value, "cache_parameters"),
        _Surveyor._wrapped,
    ),
    (lambda value: isinstance(value, dataclasses.Field), _Surveyor._field),
    (lambda _: True, _Surveyor._object),
)
