"""What a model's modules were like before they were lent, and how they become so again.

Attributes, parameters, children, hooks, classes, configurations, and the functions of the files in
which they are written: after every call it is asked which of their dictionaries were written to,
and only these are looked at. Knows modules; knows neither the weights' values nor who borrows them.
"""

import copy
import gc
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import attrgetter, is_
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from glassbox.engine.model.identity import addresses
from glassbox.engine.model.watched import Watch

HOOKS = {
    "_forward_hooks": "forward hook",
    "_forward_pre_hooks": "forward pre-hook",
    "_backward_hooks": "backward hook",
    "_backward_pre_hooks": "backward pre-hook",
    "_state_dict_hooks": "state-dict hook",
    "_state_dict_pre_hooks": "state-dict pre-hook",
    "_load_state_dict_pre_hooks": "load hook",
    "_load_state_dict_post_hooks": "load hook",
}
"""Tables of a module that hold what others want to be called, in words."""

_BESIDE_HOOKS = frozenset(
    {"_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs"}
)
"""Tables that say how entries of the others are called."""

_LIBRARY_MARKS = frozenset(
    {
        "_output_capturing_hooks_installed",
        "_compiled_call",
        "_previous_max_cache_length",
        "_is_full_backward_hook",
    }
)
"""Attributes that the libraries set by themselves while a model runs or gets a hook."""

_LIBRARY = ("transformers.", "accelerate.")
"""Starts of the modules whose hooks belong to the library."""

_OWN = attrgetter("__dict__")

_FUNCTION = (FunctionType, BuiltinFunctionType)

_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


class ModuleRecord:
    """What all modules of a model were like.

    Args:
        model: In the state that is to be kept.
        others: Classes of what is lent with it, whose functions are kept, too.
    """

    def __init__(self, model: PreTrainedModel, others: Iterable[type] = ()) -> None:
        self._named = list(model.named_modules())
        self._modules = [module for _, module in self._named]
        self._dicts = [module.__dict__ for module in self._modules]
        self._kinds = [type(module) for module in self._modules]
        self._objects = addresses((*self._dicts, *self._kinds))
        self._saved = [dict(own) for own in self._dicts]
        values = list(chain.from_iterable(own.values() for own in self._dicts))
        tables = [value for value in values if isinstance(value, dict | list)]
        tables += [getattr(torch_module, name) for name in _GLOBAL_HOOKS]
        tables += [ALL_ATTENTION_FUNCTIONS._global_mapping]
        self._tables = [
            (table, copy.copy(table)) for table in {id(table): table for table in tables}.values()
        ]
        self._lists = [pair for pair in self._tables if isinstance(pair[0], list)]
        self._configs = [
            (config, copy.deepcopy(vars(config)))
            for config in {id(each): each for each in values if _is_config(each)}.values()
        ]
        kinds = {base for kind in (*self._kinds, *others) for base in kind.__mro__}
        owners: list[type | ModuleType] = [*kinds, *_homes(kinds)]
        self._functions = [_Functions(owner) for owner in owners]
        self._held: list[_Held | _Functions] = [
            *map(_Held, self._dicts, self._saved),
            *(_Held(own, dict(saved)) for own, saved in self._tables if isinstance(own, dict)),
            *self._functions,
        ]
        self._watch = Watch([held.own for held in self._held])

    @property
    def is_intact(self) -> bool:
        """Whether nothing differs; no words are made of it."""
        return (
            addresses((*map(_OWN, self._modules), *map(type, self._modules))) == self._objects
            and all(table == saved for table, saved in self._lists)
            and all(_equal(vars(config), saved) for config, saved in self._configs)
            and self._is_held
        )

    @property
    def _is_held(self) -> bool:
        """Whether every dictionary that was written to holds what it held."""
        if not all(self._held[index].is_intact for index in self._watch.written()):
            return False
        self._watch.settle()
        return True

    def restore(self) -> tuple[str, ...]:
        """Put everything back and return what was, in words."""
        return () if self.is_intact else tuple(self._restored())

    def _restored(self) -> Iterator[str]:
        n_kinds = sum(map(_give_back_kind, self._modules, self._kinds))
        found: dict[str, list[str]] = {}
        for (name, module), own, saved in zip(self._named, self._dicts, self._saved, strict=True):
            if module.__dict__ is not own:
                own.clear()
                own.update(module.__dict__)
                module.__dict__ = own
            for attribute in _differing(own, saved):
                kind = attribute if attribute in ("training", "forward") else "other"
                full = name if kind != "other" else f"{name}.{attribute}".lstrip(".")
                if attribute not in _LIBRARY_MARKS:
                    found.setdefault(kind, []).append(full or "the model")
            if list(own) != list(saved) or not all(map(is_, own.values(), saved.values())):
                own.clear()
                own.update(saved)
        yield from self._hooks_removed()
        if "training" in found:
            yield f"training mode of {_n(len(found['training']), 'module')} put back"
        if "forward" in found:
            yield f"patched forward of {_such(found['forward'], 'module')} put back"
        if n_kinds:
            yield f"class of {_n(n_kinds, 'module')} put back"
        yield from self._tables_restored()
        if "other" in found:
            yield f"{_such(found['other'], 'attribute')} put back"
        yield from self._configs_restored()
        yield from chain.from_iterable(map(_Functions.restore, self._functions))

    def _hooks_removed(self) -> Iterator[str]:
        removed: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        kinds = self._hook_kinds()
        for table, saved in self._tables:
            kind = kinds.get(id(table))
            if kind is None or not isinstance(table, dict) or not isinstance(saved, dict):
                continue
            gone = [hook for key, hook in table.items() if saved.get(key) is not hook]
            removed[kind] += sum(not _is_librarys(hook) for hook in gone)
            lost[kind] += sum(table.get(key) is not hook for key, hook in saved.items())
            _refill(table, saved)
        # What says how hooks are called goes with them and is nobody's concern.
        del removed[""], lost[""]
        for kind, count in removed.items():
            if count:
                yield f"{_n(count, kind)} removed"
        for kind, count in lost.items():
            if count:
                yield f"{_n(count, kind)} of the model's own put back"

    def _hook_kinds(self) -> dict[int, str]:
        """What each table of hooks holds, by its id; empty words for those beside them."""
        kinds = {
            id(table): HOOKS.get(name, "")
            for saved in self._saved
            for name, table in saved.items()
            if name in HOOKS or name in _BESIDE_HOOKS
        }
        for name in _GLOBAL_HOOKS:
            words = f"global {HOOKS[name.removeprefix('_global')]}"
            kinds[id(getattr(torch_module, name))] = words
        return kinds

    def _tables_restored(self) -> Iterator[str]:
        places = {
            id(value): (module, attribute)
            for (module, _), saved in zip(self._named, self._saved, strict=True)
            for attribute, value in saved.items()
            if isinstance(value, dict | list)
        }
        found: dict[str, list[str]] = {}
        n_adapted = 0
        for table, saved in self._tables:
            if _equal_tables(table, saved):
                continue
            module, attribute = places.get(id(table), ("", "attention functions"))
            names = [attribute]
            if isinstance(table, dict) and isinstance(saved, dict):
                names = _differing(table, saved)
            if attribute == "_modules" and isinstance(table, dict):
                n_adapted += sum(
                    type(table.get(name)).__module__.startswith("peft.") for name in names
                )
            found.setdefault(attribute, []).extend(f"{module}.{name}".lstrip(".") for name in names)
            _refill(table, saved)
        if n_adapted:
            yield f"{_n(n_adapted, 'adapter layer')} taken out"
        words = {"_parameters": "parameter", "_buffers": "buffer", "_modules": "submodule"}
        for attribute, names in found.items():
            yield f"{_such(names, words.get(attribute, 'entry of ' + attribute))} put back"

    def _configs_restored(self) -> Iterator[str]:
        for config, saved in self._configs:
            own = vars(config)
            if _equal(own, saved):
                continue
            names = [
                name for name in {**own, **saved} if not _equal(own.get(name), saved.get(name))
            ]
            own.clear()
            own.update(copy.deepcopy(saved))
            what = "generation_config" if "Generation" in type(config).__name__ else "config"
            words = ", ".join(name.removeprefix("_").removesuffix("_internal") for name in names)
            yield f"{what} put back ({words})"


class _Held:
    """A dictionary that is to hold the same objects under the same keys, in the same order."""

    def __init__(self, own: dict[Any, Any], saved: dict[Any, Any]) -> None:
        self.own = own
        self._saved = saved

    @property
    def is_intact(self) -> bool:
        """Whether nothing differs."""
        return _equal_tables(self.own, self._saved)


class _Functions:
    """The functions of a class or of a Python module, which guests replace for everybody."""

    def __init__(self, owner: type | ModuleType) -> None:
        self._owner = owner
        self.own = vars(owner)
        if isinstance(owner, type):
            # What the class shows of itself is a window on this one.
            (self.own,) = gc.get_referents(self.own)
        self._names = frozenset(self.own)
        self._saved = {
            name: value for name, value in self.own.items() if isinstance(value, _FUNCTION)
        }

    @property
    def is_intact(self) -> bool:
        """Whether nothing differs."""
        is_own = all(map(is_, map(self.own.get, self._saved), self._saved.values()))
        return is_own and not self._hiding()

    def restore(self) -> Iterator[str]:
        """Put back what differs and say so."""
        for name, value in self._saved.items():
            if self.own.get(name) is not value:
                setattr(self._owner, name, value)
                yield f"patched {self._owner.__name__}.{name} put back"
        for name in self._hiding():
            delattr(self._owner, name)
            yield f"patched {self._owner.__name__}.{name} put back"

    def _hiding(self) -> list[str]:
        """Return a class's new functions that hide those of the classes it is derived from."""
        if not isinstance(self._owner, type) or len(self.own) == len(self._names):
            return []
        above = self._owner.__mro__[1:]
        return [
            name
            for name, value in self.own.items()
            if name not in self._names
            and isinstance(value, _FUNCTION)
            and any(name in vars(each) for each in above)
        ]


def _homes(kinds: Iterable[type]) -> Iterator[ModuleType]:
    """Yield the Python modules in which modules are written, and that of torch's functions."""
    names = {kind.__module__ for kind in kinds if issubclass(kind, nn.Module)}
    names.add("torch.nn.functional")
    yield from (sys.modules[name] for name in names if name in sys.modules)


def _is_config(value: Any) -> bool:
    """Return whether a value is a configuration: plain values under names, with a way to JSON."""
    return hasattr(value, "to_diff_dict") and not isinstance(value, nn.Module | type)


def _is_librarys(hook: Any) -> bool:
    owner = getattr(hook, "__module__", None)
    return isinstance(owner, str) and owner.startswith(_LIBRARY)


def _give_back_kind(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether a module had been made one of another class."""
    if type(module) is kind:
        return False
    module.__class__ = kind
    return True


def _differing(now: dict[Any, Any], saved: dict[Any, Any]) -> list[str]:
    """Return the keys of one or both that do not name the same object."""
    missing = object()
    return [
        str(key) for key in {**saved, **now} if now.get(key, missing) is not saved.get(key, missing)
    ]


def _equal_tables(table: Any, saved: Any) -> bool:
    """Return whether a table holds the same objects under the same keys, in order."""
    if len(table) != len(saved):
        return False
    if isinstance(table, dict):
        return all(map(is_, table.values(), saved.values())) and list(table) == list(saved)
    return all(map(is_, table, saved))


def _equal(now: Any, saved: Any) -> bool:
    """Return whether plain values are equal; what cannot be compared has changed."""
    try:
        return bool(now == saved)
    except (RuntimeError, ValueError, TypeError):
        return False


def _refill(table: Any, saved: Any) -> None:
    table.clear()
    if isinstance(table, list):
        table.extend(saved)
    else:
        table.update(saved)


def _n(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 and not what.startswith('entry of') else ''}"


def _such(names: list[str], what: str) -> str:
    """Return how many there are with one of their names."""
    if what.startswith("entry of"):
        what = what if len(names) == 1 else what.replace("entry", "entries", 1)
        return f"{len(names)} {what} ({names[0]})"
    more = "" if len(names) == 1 else "such as "
    return f"{_n(len(names), what)} ({more}{names[0]})"
