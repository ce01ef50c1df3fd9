"""Calls and runs as one packed value each, so that a frame carries them; and back.

The tree is the head, as JSON; the buffers are the tree of the value inside, the function where it
travels, and the value's own tensors, none of them copied. Knows no connection.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

import orjson
from pydantic import ValidationError

from glassbox.errors import InvalidData
from glassbox.techniques.calls import (
    Buffer,
    Call,
    Limits,
    Packed,
    RemoteError,
    Run,
    Shipment,
    Timing,
)
from glassbox.wire.techniques import (
    CallAsked,
    ErrorAnswered,
    LimitsAsked,
    RunAnswered,
    ShipmentAsked,
    TimingAnswered,
)

PIECE_BYTES: Final = 2**20
"""Most that is handed to a connection at a time."""


def call_packed(call: Call, run_id: str | None = None) -> Packed:
    """Return a call as one value.

    Args:
        call: The call.
        run_id: What its run is to be called.
    """
    shipment = call.shipment
    head = CallAsked(
        id=run_id,
        technique=call.technique,
        name=call.name,
        shipment=None
        if shipment is None
        else ShipmentAsked(
            name=shipment.name,
            source=shipment.source,
            modules=list(shipment.modules),
            imports=list(shipment.imports),
        ),
        is_map=call.is_map,
        session=call.session,
        keep=call.keep,
        allow_pickle=call.allow_pickle,
        limits=LimitsAsked(**asdict(call.limits)),
        caller=call.caller,
    )
    arguments = call.arguments
    payload = () if shipment is None else (shipment.payload,)
    return Packed(head.model_dump_json().encode(), (arguments.tree, *payload, *arguments.buffers))


def packed_call(packed: Packed) -> tuple[Call, str | None]:
    """Return the call that a value holds, and what its run is to be called.

    Raises:
        InvalidData: It holds none.
    """
    try:
        head = CallAsked.model_validate(orjson.loads(packed.tree))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the head"
        raise InvalidData(f"{place}: {first['msg']}", source="call") from error
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"the head is no JSON ({error})", source="call") from error
    n_before = 1 if head.shipment is None else 2
    if len(packed.buffers) < n_before:
        raise InvalidData(f"{len(packed.buffers)} parts; {n_before} are needed", source="call")
    shipment = None
    if head.shipment is not None:
        shipment = Shipment(
            name=head.shipment.name,
            digest=head.technique,
            payload=bytes(packed.buffers[1]),
            source=head.shipment.source,
            modules=tuple(head.shipment.modules),
            imports=tuple(head.shipment.imports),
        )
    call = Call(
        technique=head.technique,
        name=head.name,
        arguments=Packed(bytes(packed.buffers[0]), packed.buffers[n_before:]),
        shipment=shipment,
        is_map=head.is_map,
        session=head.session,
        keep=head.keep,
        allow_pickle=head.allow_pickle,
        limits=Limits(**head.limits.model_dump()),
        caller=head.caller,
    )
    return call, head.id


def run_answered(run: Run) -> RunAnswered:
    """Return what is said of a run, its result left out."""
    return RunAnswered(
        id=run.id,
        status=run.status,
        lines=list(run.lines),
        n_lines=run.n_lines,
        result_bytes=run.result_bytes,
        error=None if run.error is None else ErrorAnswered(**asdict(run.error)),
        undone=list(run.undone),
        timing=TimingAnswered(**asdict(run.timing)),
        position=run.position,
    )


def run_packed(run: Run) -> Packed:
    """Return a run, with its result where that rides along, as one value."""
    head = run_answered(run).to_json()
    if run.result is None:
        return Packed(head)
    return Packed(head, (run.result.tree, *run.result.buffers))


def answered_run(head: RunAnswered, result: Packed | None = None) -> Run:
    """Return the run that an answer tells of."""
    error = head.error
    return Run(
        id=head.id,
        status=head.status,
        lines=tuple(head.lines),
        n_lines=head.n_lines,
        result=result,
        result_bytes=head.result_bytes,
        error=None if error is None else RemoteError(**error.model_dump()),
        undone=tuple(head.undone),
        timing=Timing(**head.timing.model_dump()),
        position=head.position,
    )


def packed_run(packed: Packed) -> Run:
    """Return the run that a value holds.

    Raises:
        ValueError: It holds none, or is no JSON.
    """
    result = None
    if packed.buffers:
        result = Packed(bytes(packed.buffers[0]), packed.buffers[1:])
    return answered_run(RunAnswered.from_json(packed.tree), result)


def pieces_of(parts: Sequence[Buffer], most: int = PIECE_BYTES) -> Iterator[Buffer]:
    """Yield bytes in pieces of at most a size: small parts together, large ones cut, not copied.

    Args:
        parts: What to send, one after another.
        most: Size of a piece.
    """
    small = bytearray()
    for part in parts:
        if len(small) + len(part) <= most // 4:
            small += part
            continue
        if small:
            yield small
            small = bytearray()
        view = memoryview(part)
        for at in range(0, len(view), most):
            yield view[at : at + most]
    if small:
        yield small
