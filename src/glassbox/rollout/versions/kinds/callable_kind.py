"""A Python function as a version: features in; a number, or a mapping with more, out.

Named by import path, ``module:function``, or kept as a file in the store of versions. The digest
covers the one file that the function stands in; what that file imports is not covered. Running
such a version is running its author's code: only administrators may register one.
"""

import importlib
import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from glassbox.artifacts import digest_json
from glassbox.engine.model.attempt import attempt
from glassbox.errors import (
    CorruptArtifact,
    GlassboxError,
    IntegrityError,
    InvalidValue,
    NonFiniteOutput,
    UnknownName,
)
from glassbox.rollout.prediction import Features, Prediction
from glassbox.rollout.versions.input_schema import InputSchema, check_features

ALLOWED: Final = (
    "a number; or {'prediction': number, 'confidence': number}; or {'label_probs': {label: number}}"
)
"""What a function may return."""

_SUM_TOLERANCE: Final = 1e-3
_KEYS: Final = {"prediction", "confidence", "label", "label_probs", "summaries"}


def import_function(source: str) -> tuple[Callable[..., Any], str]:
    """Return the function of an import path and the digest of the file that it stands in.

    Raises:
        UnknownName: There is no such module, or no such function in it.
        InvalidValue: What is there cannot be called, or the module raised while it was imported.
    """
    module_name, _, name = source.partition(":")
    if not module_name or not name.isidentifier():
        raise InvalidValue("function", source, "MODULE:FUNCTION, as in 'mypackage.models:predict'")
    module = attempt(lambda: importlib.import_module(module_name))
    if isinstance(module, ModuleNotFoundError) and (module.name or "").startswith(
        module_name.partition(".")[0]
    ):
        raise UnknownName("module", module_name, remedy="Is it installed here?") from module
    if isinstance(module, Exception):
        raise InvalidValue("module", module_name, "one that can be imported here") from module
    function = _function_of(module, name, module_name)
    home = inspect.getsourcefile(module)
    content = Path(home).read_bytes().decode("utf-8", "replace") if home else ""
    return function, digest_json({"function": source, "source": content})


def file_function(path: Path, name: str) -> Callable[..., Any]:
    """Return a function of a Python file.

    Raises:
        UnknownName: There is no such function in it.
        InvalidValue: What is there cannot be called, or the file raised while it was run.
    """
    spec = importlib.util.spec_from_file_location(f"glassbox_version_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise InvalidValue("file", str(path), "a Python file")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    raised = attempt(lambda: loader.exec_module(module))
    if isinstance(raised, Exception):
        words = f"one that runs; it raised {type(raised).__name__}: {raised}"
        raise InvalidValue("file", str(path), words) from raised
    return _function_of(module, name, str(path))


def loaded_function(source: str, digest: str) -> Callable[..., Any]:
    """Return the function of an import path if its file is what was registered.

    Raises:
        CorruptArtifact: The file has changed since.
        UnknownName: There is no such module or function any more.
    """
    function, now = import_function(source)
    if now != digest:
        raise CorruptArtifact(
            source,
            "the file that it stands in has changed since it was registered",
            remedy="A version never changes: register it again, or restore the file.",
        )
    return function


class CallablePredictor:
    """A function as a version.

    Args:
        function: Called with the features of one row.
        schema: What it takes; None lets any JSON pass.
    """

    def __init__(self, function: Callable[..., Any], schema: InputSchema | None = None) -> None:
        self._function = function
        self._schema = schema

    def predict(self, rows: Sequence[Features]) -> list[Prediction]:
        """Return one answer to each row.

        Raises:
            UnknownName: A feature that it does not take.
            InvalidValue: A feature of another type or out of range.
            IntegrityError: The function raised, or returned what is no answer.
            NonFiniteOutput: It returned NaN or infinity.
        """
        return [self._answer(row) for row in rows]

    def close(self) -> None:
        """Call the function's own ``close``, where it has one."""
        close = getattr(self._function, "close", None)
        if callable(close):
            close()

    def _answer(self, row: Features) -> Prediction:
        check_features(self._schema, row)
        told = attempt(lambda: self._function(row))
        if isinstance(told, GlassboxError):
            raise told
        if isinstance(told, Exception):
            name = getattr(self._function, "__name__", "the version")
            words = f"{type(told).__name__}: {told}"[:500]
            raise IntegrityError(f"{name} raised {words}") from told
        return answer_of(told)


def answer_of(told: object) -> Prediction:
    """Return the answer that a returned value stands for.

    Raises:
        IntegrityError: It stands for none.
        NonFiniteOutput: It holds NaN or infinity.
    """
    if isinstance(told, Prediction):
        return told
    if isinstance(told, Mapping) and told and set(told) <= _KEYS:
        return _from_mapping(told)
    return Prediction(_number("the answer", told))


def _from_mapping(told: Mapping[str, Any]) -> Prediction:
    probs = told.get("label_probs")
    confidence = told.get("confidence")
    found = None if confidence is None else _number("confidence", confidence)
    if found is not None and not 0.0 <= found <= 1.0:
        raise _wrong("confidence", found, "a fraction in [0, 1]")
    summaries = {str(k): _number(str(k), v) for k, v in (told.get("summaries") or {}).items()}
    if probs is None:
        number = _number("prediction", told.get("prediction"))
        return Prediction(number, found, told.get("label"), summaries=summaries)
    if not isinstance(probs, Mapping) or not probs:
        raise _wrong("label_probs", probs, "{label: probability, …}")
    clean = {str(label): _number(str(label), each) for label, each in probs.items()}
    if min(clean.values()) < 0.0 or abs(sum(clean.values()) - 1.0) > _SUM_TOLERANCE:
        raise _wrong("label_probs", clean, "probabilities that sum to 1")
    best = max(clean, key=lambda each: clean[each])
    return Prediction(
        prediction=next(iter(clean.values())),
        confidence=clean[best] if found is None else found,
        label=told.get("label") or best,
        label_probs=clean,
        summaries=summaries,
    )


def _number(what: str, value: object) -> float:
    # numpy's numbers are no floats of ours, but know how to become one.
    number = attempt(lambda: float(value)) if _is_numeric(value) else None  # type: ignore[arg-type]
    if not isinstance(number, float):
        raise _wrong(what, value, ALLOWED)
    if not math.isfinite(number):
        raise NonFiniteOutput(f"The function returned {number} as {what}.")
    return number


def _is_numeric(value: object) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, bool | str | bytes)


def _wrong(what: str, value: object, allowed: str) -> IntegrityError:
    return IntegrityError(f"The function returned {what} {str(value)[:80]!r}; allowed: {allowed}.")


def _function_of(module: ModuleType, name: str, where: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if function is None:
        known = [each for each, value in vars(module).items()
                 if callable(value) and not each.startswith("_")]  # fmt: skip
        raise UnknownName(f"function in {where}", name, sorted(known))
    if not callable(function):
        raise InvalidValue("function", name, "something that can be called")
    made: Callable[..., Any] = function
    return made
