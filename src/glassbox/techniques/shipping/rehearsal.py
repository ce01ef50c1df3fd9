"""Rehearses the journey of a function on this machine: shipped, and opened by a fresh interpreter.

The fresh interpreter starts in an empty folder, so that it has what is installed and nothing that
only lies around here. The function is opened there, not called: it needs no model for that.
"""

import inspect
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from glassbox.errors import GlassboxError, NotShippable
from glassbox.techniques import transport, values
from glassbox.techniques.calls import Environment, Shipment
from glassbox.techniques.packed.live_things import described
from glassbox.techniques.shipping import environment
from glassbox.techniques.shipping.environment import Difference
from glassbox.techniques.shipping.locality import can_import
from glassbox.techniques.shipping.survey import survey

_CHILD = "from glassbox.techniques.shipping.rehearsal import open_here; open_here()"
_MOST_S = 120.0
"""Seconds a fresh interpreter may take to open a function: importing torch is most of it."""


@dataclass(frozen=True)
class Rehearsal:
    """How the journey of a function went."""

    name: str
    """Its qualified name."""
    digest: str
    """SHA-256 that names it on the other side, the same in every process."""
    n_bytes: int
    """Size of what travels."""
    modules: tuple[str, ...]
    """Local modules that travel along."""
    imports: tuple[str, ...]
    """Modules that must be installed on the other side."""
    captured: tuple[tuple[str, str], ...]
    """The values it captures: each variable and what it is."""
    differences: tuple[Difference, ...]
    """What differs between the two sides."""
    remarks: tuple[str, ...]
    """What will surprise, such as a captured list that it appends to."""
    problem: str
    """Why it did not open; empty when it did."""
    opened_s: float
    """Seconds the fresh interpreter took to open it, imports included; 0 when it did not."""

    @property
    def is_ready(self) -> bool:
        """Whether it opened and nothing fatal differs."""
        return not self.problem and all(each.severity != "fatal" for each in self.differences)


def rehearse(function: Callable[..., Any], there: Environment | None = None) -> Rehearsal:
    """Return how the journey of a function goes.

    Args:
        function: The technique.
        there: What it would meet on the other side; None takes this side's.

    Raises:
        NotShippable: It cannot even leave; the message names the part.
    """
    shipment = transport.ship(function)
    ours = environment.here()
    problem, opened_s = _open_afresh(shipment)
    return Rehearsal(
        name=shipment.name,
        digest=shipment.digest,
        n_bytes=len(shipment.payload),
        modules=shipment.modules,
        imports=shipment.imports,
        captured=_captured(function),
        differences=environment.compare(ours, there or ours, shipment.imports),
        remarks=_remarks(function, there),
        problem=problem,
        opened_s=opened_s,
    )


def open_here() -> None:
    """Open the shipment on standard input and answer on standard output: the fresh interpreter."""
    shipped = values.unpack(values.unframe(bytearray(sys.stdin.buffer.read())))
    answer: dict[str, Any] = {"problem": ""}
    start = time.perf_counter()
    try:
        transport.receive(Shipment(shipped["name"], shipped["digest"], shipped["payload"], ""))
    except GlassboxError as error:
        answer["problem"] = str(error)
    answer["opened_s"] = time.perf_counter() - start
    sys.stdout.buffer.write(b"\n" + orjson.dumps(answer))


def _open_afresh(shipment: Shipment) -> tuple[str, float]:
    packed = values.pack(
        {"name": shipment.name, "digest": shipment.digest, "payload": shipment.payload}
    )
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CHILD],
                input=b"".join(values.frame(packed)),
                capture_output=True,
                cwd=empty,
                timeout=_MOST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"a fresh interpreter did not open it within {_MOST_S:.0f} s", 0.0
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return f"a fresh interpreter could not open it: {said[-1] if said else 'no reason'}", 0.0
    # What imports print comes before the last line.
    answer = orjson.loads(done.stdout.rpartition(b"\n")[2])
    return str(answer["problem"]), 0.0 if answer["problem"] else float(answer["opened_s"])


def _captured(function: Callable[..., Any]) -> tuple[tuple[str, str], ...]:
    code = (types.FunctionType, types.ModuleType, type)
    return tuple(
        (what, _kind(value))
        for what, value in survey(function).captured
        if not (isinstance(value, code) or hasattr(value, "cache_parameters"))
    )


def _kind(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {type(value).__name__} of shape {tuple(value.shape)}"
    words = described(value)
    return type(value).__name__ if words.startswith("of type") else words


def _remarks(function: Callable[..., Any], there: Environment | None) -> tuple[str, ...]:
    found = survey(function)
    remarks = [
        f"It changes {what}; that change stays on the other side. Return it instead."
        for what in found.changed
    ]
    remarks += [f"{name!r} is not defined anywhere." for name in sorted(found.undefined)]
    known = set(there.modules) if there is not None and there.modules else None
    for name in sorted(found.inner_imports):
        top = name.partition(".")[0]
        absent = top not in known if known is not None else not can_import(name)
        if absent:
            remarks.append(f"It imports {name!r} when it runs, which is not there.")
    if len(_parameters(function)) < 2:
        remarks.append("It is called as technique(model, tokenizer, …) and has not two parameters.")
    return tuple(remarks)


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:
        raise NotShippable(f"{function!r} has no signature") from error
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        return ("model", "tokenizer")
    return tuple(each.name for each in parameters if each.kind is not each.KEYWORD_ONLY)
