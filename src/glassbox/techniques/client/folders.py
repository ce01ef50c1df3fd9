"""Techniques in files: every function of a folder that takes a model and a tokenizer first.

A file that cannot be read is named and the others are loaded. Loading a file runs it, as importing
it would. Knows nothing of where techniques run.
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from glassbox.engine.model.attempt import attempt
from glassbox.errors import InvalidData, InvalidValue, UnknownName

Technique = Callable[..., Any]
"""Takes the model, the tokenizer and its own arguments."""

FIRST = ("model", "tokenizer")
"""Names of a technique's first two parameters."""


class TechniqueFolder(dict[str, Technique]):
    """The techniques of a folder by name, and the files that could not be read.

    Args:
        found: Techniques by name.
        broken: Why a file could not be read, by its name.
    """

    def __init__(self, found: Mapping[str, Technique], broken: Mapping[str, str]) -> None:
        super().__init__(found)
        self.broken: dict[str, str] = dict(broken)

    def __missing__(self, name: str) -> Technique:
        remedy = "; ".join(f"{file} could not be read: {why}" for file, why in self.broken.items())
        raise UnknownName("technique", name, sorted(self), remedy=remedy)


def load_techniques_from_dir(path: str | Path) -> TechniqueFolder:
    """Return the techniques of every Python file in a folder, by function name.

    A name that two files share belongs to the first; the second is ``FILE.NAME``. Files whose name
    starts with an underscore are theirs to import and hold no techniques of their own.

    Raises:
        UnknownName: There is no such folder.
        InvalidValue: No path at all.
    """
    if not isinstance(path, str | Path):
        raise InvalidValue("path", path, "a folder with Python files")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UnknownName("folder of techniques", str(path))
    found: dict[str, Technique] = {}
    broken: dict[str, str] = {}
    for file in sorted(folder.glob("*.py")):
        if file.name.startswith("_"):
            continue
        try:
            for name, technique in techniques_of(file).items():
                found[f"{file.stem}.{name}" if name in found else name] = technique
        except InvalidData as error:
            broken[file.name] = error.reason
    return TechniqueFolder(found, broken)


def techniques_of(file: Path) -> dict[str, Technique]:
    """Return a file's techniques by name, in the order they are written.

    Raises:
        UnknownName: There is no such file.
        InvalidData: It raises when it is loaded.
    """
    module = _load(file)
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and tuple(inspect.signature(value).parameters)[:2] == FIRST
    }


def function_of(file: Path, name: str) -> Technique:
    """Return one function of a file.

    Raises:
        UnknownName: There is no such file, or no such function in it.
        InvalidData: The file raises when it is loaded.
    """
    value = vars(_load(file)).get(name)
    if not callable(value):
        raise UnknownName("function", name, techniques_of(file), remedy=f"Looked in {file}.")
    technique: Technique = value
    return technique


def _load(file: Path) -> ModuleType:
    """Return a file's module, loaded anew."""
    file = file.expanduser().resolve()
    if not file.is_file():
        raise UnknownName("file of techniques", str(file))
    name = _module_name(file)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    loader = spec.loader
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up while the file is still being read.
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with _neighbours_of(file):
            outcome = attempt(lambda: loader.exec_module(module))
    except SystemExit as error:
        outcome = RuntimeError(f"it ends the program (SystemExit: {error.code})")
    if isinstance(outcome, Exception):
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
        reason = f"{type(outcome).__name__}: {outcome}"
        raise InvalidData(reason, source=str(file), line=_line(outcome, file)) from outcome
    return module


def _module_name(file: Path) -> str:
    """Return the name under which a file is loaded: its own, unless that means something else."""
    if file.stem.isidentifier():
        known = sys.modules.get(file.stem)
        if known is not None:
            means = getattr(known, "__file__", None)
        else:
            spec = importlib.util.find_spec(file.stem)
            means = spec.origin if spec is not None else str(file)
        if means is not None and Path(means).resolve() == file:
            return file.stem
    return f"technique_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"


@contextmanager
def _neighbours_of(file: Path) -> Iterator[None]:
    """Let a file import the files beside it."""
    sys.path.insert(0, str(file.parent))
    try:
        yield
    finally:
        sys.path.remove(str(file.parent))


def _line(error: Exception, file: Path) -> int | None:
    """Return the line of the file at which it went wrong, 1-based."""
    if isinstance(error, SyntaxError):
        return error.lineno
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
