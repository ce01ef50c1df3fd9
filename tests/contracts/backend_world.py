"""Calls for the contract of backends: techniques to ship, and what to do with their runs."""

import itertools
import time

from glassbox.techniques import transport, values
from glassbox.techniques.calls import FINAL, Call, Limits
from tests.waiting import PATIENCE_S

_numbers = itertools.count()


def untold(_doing, _share):
    """Progress that nobody watches."""


def fresh(source_line="return 1"):
    """A function that no backend has seen: its source differs from every other's."""
    namespace = {}
    text = f"def technique(model, tokenizer):\n    number = {next(_numbers)}\n    {source_line}\n"
    exec(text, namespace)
    return namespace["technique"]


def call_of(fn, *args, shipped=True, inputs=None, caller="", session=None, keep=False,
            limits=None, allow_pickle=False, **kwargs):  # fmt: skip
    if isinstance(fn, str):
        technique, name, shipment = fn, fn, None
    else:
        shipment = transport.ship(fn)
        technique, name = shipment.digest, shipment.name
    return Call(
        technique=technique,
        name=name,
        arguments=values.pack_arguments(args, kwargs, inputs),
        shipment=shipment if shipped else None,
        is_map=inputs is not None,
        session=session,
        keep=keep,
        allow_pickle=allow_pickle,
        limits=limits or Limits(),
        caller=caller,
    )


def ended(backend, run):
    """The run when it has ended, with every line that it printed."""
    lines, until = list(run.lines), time.monotonic() + PATIENCE_S
    while run.status not in FINAL:
        assert time.monotonic() < until, f"{run.id} is {run.status} after {PATIENCE_S} s"
        run = backend.run(run.id, after=run.n_lines, wait_s=1.0)
        lines += run.lines
    return run, tuple(lines)


def packed_of(backend, run):
    assert run.status == "succeeded", run.error
    return run.result if run.result is not None else backend.result(run.id)


def answer(backend, fn, *args, **kwargs):
    """What a technique returned."""
    run, _ = ended(backend, backend.submit(call_of(fn, *args, **kwargs), wait_s=5.0))
    return values.unpack(packed_of(backend, run))


def until(condition, patience_s=PATIENCE_S):
    """Wait for something that takes a moment."""
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {patience_s} s"
        time.sleep(0.02)
