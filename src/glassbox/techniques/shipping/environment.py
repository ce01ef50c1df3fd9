"""Compares what code meets on both sides before it travels, and says which differences matter.

Reads versions from the installed packages' own records; imports none of them.
"""

import importlib.metadata
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import iter_modules
from typing import Literal

from glassbox.errors import VersionMismatch
from glassbox.techniques.calls import Environment

Severity = Literal["fatal", "warning", "fine"]
"""It cannot work; it may answer differently; it does not matter."""

_DISTRIBUTIONS = {
    "glassbox": "glassbox-llm",
    "torch": "torch",
    "transformers": "transformers",
    "numpy": "numpy",
    "cloudpickle": "cloudpickle",
}


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same on both sides."""

    what: str
    """Python, a library, or a module that is imported."""
    here: str
    """Version of this side; empty where it is absent."""
    there: str
    """Version of the other side; empty where it is absent."""
    severity: Severity
    """Whether it matters."""
    why: str
    """What can come of it and what to do, as a sentence."""

    def __str__(self) -> str:
        ours, theirs = self.here or "absent", self.there or "absent"
        return f"{self.what}: {ours} here, {theirs} there. {self.why}"


def here(modules: bool = False) -> Environment:
    """Return what code meets on this side.

    Args:
        modules: Also list the top-level names that can be imported, which takes a moment.
    """
    return Environment(
        python=platform.python_version(),
        versions={name: version for name in _DISTRIBUTIONS if (version := _version(name))},
        modules=_importable() if modules else (),
    )


def compare(
    client: Environment, server: Environment, imports: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """Return what differs between two sides, the worst first.

    Args:
        client: The side that ships; ``here`` in the answer.
        server: The side that runs; ``there`` in the answer.
        imports: Modules that the function needs; looked for where the server listed its own.
    """
    found = [_python(client.python, server.python)]
    found += [
        _library(name, client.versions.get(name, ""), server.versions.get(name, ""))
        for name in dict.fromkeys((*client.versions, *server.versions))
    ]
    if server.modules:
        known = set(server.modules)
        found += [
            Difference(
                name,
                "importable",
                "",
                "fatal",
                "The function imports it: have it installed there, or do without.",
            )
            for name in sorted({each.partition(".")[0] for each in imports} - known)
        ]
    order = ("fatal", "warning", "fine")
    return tuple(sorted(filter(None, found), key=lambda each: order.index(each.severity)))


def require_compatible(
    name: str, client: Environment, server: Environment, imports: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """Return what differs between two sides and is not fatal to a function; see ``compare``.

    Raises:
        VersionMismatch: Something differs under which shipped functions cannot run.
    """
    found = compare(client, server, imports)
    fatal = [str(each) for each in found if each.severity == "fatal"]
    if fatal:
        raise VersionMismatch(f"{name} cannot run on the other side. {' '.join(fatal)}")
    return found


def _python(ours: str, theirs: str) -> Difference | None:
    if ours == theirs:
        return None
    if _parts(ours)[:2] != _parts(theirs)[:2]:
        return Difference(
            "Python",
            ours,
            theirs,
            "fatal",
            "Functions travel as bytecode, which each minor version has its own form of: use the "
            "same minor version on both sides.",
        )
    return Difference("Python", ours, theirs, "fine", "Patch versions share their bytecode.")


def _library(name: str, ours: str, theirs: str) -> Difference | None:
    if ours == theirs:
        return None
    if not ours or not theirs:
        return _absent(name, ours, theirs)
    old, new = _parts(ours), _parts(theirs)
    severity, why = _RULES[name](old, new) if name in _RULES else ("fine", "It is not compared.")
    return Difference(name, ours, theirs, severity, why)


def _absent(name: str, ours: str, theirs: str) -> Difference:
    if not theirs:
        needed = name in ("glassbox", "cloudpickle", "numpy")
        return Difference(
            name,
            ours,
            theirs,
            "fatal" if needed else "warning",
            "The other side cannot open what is shipped without it."
            if needed
            else "A function that imports it fails there.",
        )
    if name == "torch":
        why = "Tensors of the result come as numpy arrays; bfloat16 is widened to float32, exactly."
        return Difference(name, ours, theirs, "fine", why)
    if name == "transformers":
        why = "Whole model outputs come as records with the same fields."
        return Difference(name, ours, theirs, "fine", why)
    return Difference(name, ours, theirs, "fatal", "Nothing can be shipped without it.")


_Parts = tuple[int, ...]
_Verdict = tuple[Severity, str]


def _glassbox(ours: _Parts, theirs: _Parts) -> _Verdict:
    # Before 1.0 a minor version may change what travels, as semantic versioning has it.
    if ours[0] != theirs[0] or (ours[0] == 0 and ours[1:2] != theirs[1:2]):
        return "fatal", "What travels may have another form: install the same version."
    return "fine", "They speak the same form."


def _torch(ours: _Parts, theirs: _Parts) -> _Verdict:
    if ours[:2] != theirs[:2]:
        return (
            "warning",
            "Numbers may differ in their last digits, and functions may be missing or named "
            "otherwise. Tensors travel as plain bytes and are not affected.",
        )
    return "fine", "Patch versions behave alike."


def _transformers(ours: _Parts, theirs: _Parts) -> _Verdict:
    if ours[0] != theirs[0]:
        return (
            "warning",
            "Between major versions blocks return other things (a tuple or a tensor) and "
            "arguments change names: code that reads inside a model may break.",
        )
    if ours[:2] != theirs[:2]:
        return "warning", "Outputs of blocks and names of arguments may differ between versions."
    return "fine", "Patch versions behave alike."


def _numpy(ours: _Parts, theirs: _Parts) -> _Verdict:
    if ours[0] != theirs[0]:
        return "warning", "Types of results may differ; captured arrays travel as plain bytes."
    return "fine", "Arrays travel as plain bytes."


def _cloudpickle(ours: _Parts, theirs: _Parts) -> _Verdict:
    if ours[0] != theirs[0]:
        return "fatal", "Classes are rebuilt by its own code: install the same major version."
    if ours[:2] != theirs[:2]:
        return "warning", "Classes are rebuilt by its own code, which may have changed."
    return "fine", "Patch versions rebuild alike."


_RULES = {
    "glassbox": _glassbox,
    "torch": _torch,
    "transformers": _transformers,
    "numpy": _numpy,
    "cloudpickle": _cloudpickle,
}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS[name])
    except importlib.metadata.PackageNotFoundError:
        return ""


def _parts(version: str) -> _Parts:
    """Return the numbers of a version, without a build's name such as ``+cu126``."""
    numbers = re.match(r"[\d.]+", version)
    return tuple(int(each) for each in numbers[0].split(".") if each) if numbers else (0,)


def _importable() -> tuple[str, ...]:
    names = {each.name for each in iter_modules()} | set(sys.stdlib_module_names)
    return tuple(sorted(name for name in names if not name.startswith("_")))
