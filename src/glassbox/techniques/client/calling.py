"""What every client does with a call, whether it waits for it or not.

Finds the function that was meant, packs what it is given, and knows how its result is wanted.
"""

import inspect
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques import values
from glassbox.techniques.calls import LIBRARY, Call, Limits, Run, Shipment
from glassbox.techniques.client.folders import Technique, function_of
from glassbox.techniques.client.handle import Finished, OnLine, Reading, TechniqueRun
from glassbox.techniques.client.link import Link, Notes, has_torch
from glassbox.techniques.packed.live_things import is_frame
from glassbox.techniques.protocol import Backend

QUICK_S = 0.25
"""How long the first question waits: a technique that is done by then costs a single one."""


@dataclass(frozen=True)
class Choices:
    """What a caller may choose anew for each call."""

    limits: Limits = field(default_factory=Limits)
    """What a run may use."""
    allow_pickle: bool = False
    """Trust the other side with pickled values, both ways."""
    quiet: bool = False
    """Show neither loading nor printed lines."""
    on_line: OnLine | None = None
    """Called with each printed line as it comes."""
    caller: str = ""
    """Turns are shared fairly between callers."""

    def __post_init__(self) -> None:
        """Check what would otherwise fail where nobody can tell why, or in another thread."""
        if not isinstance(self.limits, Limits):
            raise InvalidValue(
                "limits", self.limits, "glassbox.techniques.Limits, such as Limits(wall_s=60)"
            )
        if self.on_line is not None and not callable(self.on_line):
            raise InvalidValue("on_line", self.on_line, "a function of one line")


@dataclass(frozen=True)
class Where:
    """In which session a call runs, and whether its result stays there."""

    session: str | None = None
    """Id of the session."""
    keep: bool = False
    """Answer with a reference."""


class Calls:
    """Everything that calls have in common, shared by a client and what it was split into.

    Args:
        backend: What runs techniques.
        notes: Takes remarks to the caller.
        expected: Model that a server must hold; None takes what it has.
    """

    def __init__(self, backend: Backend, notes: Notes, expected: str | None = None) -> None:
        self.link = Link(backend, notes, expected)
        self.notes = notes
        self.loaded: dict[str, Technique] = {}
        self._finished = threading.local()
        self._as_numpy = not has_torch()

    @property
    def last(self) -> Finished | None:
        """The run whose result this thread took last."""
        return getattr(self._finished, "last", None)

    def submit(
        self,
        technique: str | Technique,
        given: Sequence[Any],
        choices: Choices,
        *,
        where: Where | None = None,
        is_map: bool = False,
    ) -> TechniqueRun:
        """Return the handle of a call; quick ones have ended by then.

        Args:
            technique: A function, or a name of one.
            given: ``[args, kwargs]``, of a map ``[args, kwargs, inputs]``.
            choices: What its caller chose.
            where: A session; None is a turn of its own.
            is_map: Call it for each of the inputs.

        Raises:
            GlassboxError: As ``Backend.start`` and ``Backend.submit``.
            NotShippable: The function or an argument cannot travel.
        """
        since = monotonic()
        self.link.ready(quiet=choices.quiet)
        function = self.meant(technique)
        shipment = None if isinstance(function, str) else self.link.shipment(function)
        call = _call(function, shipment, given, choices, where or Where())
        call = replace(call, is_map=is_map) if is_map else call

        def submitted() -> Run:
            return self.link.submit(call, shipment, wait_s=QUICK_S, quiet=choices.quiet)

        run = submitted()
        load_s = self.link.take_load_s()
        reading = Reading(
            name=call.name,
            as_numpy=self._as_numpy,
            allow_pickle=choices.allow_pickle,
            # What the backend says of a load, it says once.
            load_s=run.timing.load_s or load_s,
            on_line=choices.on_line,
            on_finished=self._remember,
            # What a session kept is gone with its worker.
            again=submitted if call.session is None else None,
        )
        return TechniqueRun(self.link.backend, run, reading, since)

    def meant(self, technique: str | Technique) -> str | Technique:
        """Return the function that was meant, or the id of a built-in one.

        Raises:
            InvalidValue: Neither a function nor a name.
            UnknownName: No such file or function.
            InvalidData: The file raises when it is loaded.
        """
        if callable(technique):
            return technique
        if not isinstance(technique, str):
            raise InvalidValue(
                "technique", technique, "a function, or the name of one",
                remedy="Give fn and its arguments, not what fn(…) returns.",
            )  # fmt: skip
        file, colon, name = technique.rpartition(":")
        if colon and file.endswith(".py"):
            return function_of(Path(file), name)
        if technique in self.loaded:
            return self.loaded[technique]
        if colon and not technique.startswith(LIBRARY):
            raise UnknownName(
                "technique", technique, remedy="Give a name, library:NAME or FILE.py:FUNCTION."
            )
        return technique if colon else LIBRARY + technique

    def inputs_of(
        self, technique: str | Technique, inputs: Iterable[Any], given: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return one mapping of arguments for each input; a bare value is the first parameter's.

        Raises:
            InvalidValue: A single text or mapping, a data frame, or nothing that can be gone
                through; or a bare value, and nothing tells which parameter it is for.
        """
        if is_frame(inputs):
            raise InvalidValue(
                "inputs", type(inputs).__name__, "one input for each row",
                remedy="Give .to_dict('records') of pandas, or .to_dicts() of polars.",
            )  # fmt: skip
        if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Iterable):
            raise InvalidValue(
                "inputs", inputs,
                "a list with a mapping of parameter names to values for each call, or with values "
                "for the first parameter",
                remedy="Put a single one into square brackets.",
            )  # fmt: skip
        # Gone through more than once, which a generator cannot be.
        inputs = list(inputs)
        for at, each in enumerate(inputs):
            for name in each if isinstance(each, Mapping) else ():
                if not isinstance(name, str):
                    raise InvalidValue(f"a key of inputs[{at}]", name, "the name of a parameter")
        if all(isinstance(each, Mapping) for each in inputs):
            return [dict(each) for each in inputs]
        first = _first_parameter(self.meant(technique), given)
        if first is None:
            raise InvalidValue(
                "inputs", next(each for each in inputs if not isinstance(each, Mapping)),
                "mappings of parameter names to values for this technique",
            )  # fmt: skip
        return [dict(each) if isinstance(each, Mapping) else {first: each} for each in inputs]

    def _remember(self, finished: Finished) -> None:
        self._finished.last = finished
        for part in finished.left_out:
            self.notes(
                f"{finished.name}: {part} was left out of the result, because it does not travel."
            )


def new_caller() -> str:
    """Return a name for one client, so that turns are shared fairly between clients."""
    return f"client-{uuid.uuid4().hex[:12]}"


def _call(
    function: str | Technique,
    shipment: Shipment | None,
    given: Sequence[Any],
    choices: Choices,
    where: Where,
) -> Call:
    technique = shipment.digest if shipment is not None else str(function)
    return Call(
        technique=technique,
        name=shipment.name if shipment is not None else technique.removeprefix(LIBRARY),
        arguments=values.pack_arguments(*given, allow_pickle=choices.allow_pickle),
        session=where.session,
        keep=where.keep,
        allow_pickle=choices.allow_pickle,
        limits=choices.limits,
        caller=choices.caller,
    )


def _first_parameter(function: str | Technique, given: Mapping[str, Any]) -> str | None:
    """Return the first parameter after model and tokenizer that is not given otherwise."""
    if isinstance(function, str):
        from glassbox.techniques.catalogue.built_in import library

        known = library().get(function.removeprefix(LIBRARY))
        if known is None:
            return None
        function = known.function
    target: Callable[..., Any] = function
    names = [name for name in list(inspect.signature(target).parameters)[2:] if name not in given]
    return names[0] if names else None
