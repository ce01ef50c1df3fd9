"""Calls to a desk, as a client would send them."""

# ruff: noqa: T201
# Techniques print.

import threading

from glassbox.techniques import transport, values
from glassbox.techniques.calls import Call, Limits
from tests.waiting import PATIENCE_S

WAIT_S = PATIENCE_S
GATE = threading.Event()


def call(function, *args, inputs=None, session=None, keep=False, caller="", **kwargs):
    limits = kwargs.pop("limits", Limits())
    shipment = transport.ship(function)
    return Call(
        shipment.digest,
        shipment.name,
        values.pack_arguments(args, kwargs, inputs),
        shipment,
        is_map=inputs is not None,
        session=session,
        keep=keep,
        caller=caller,
        limits=limits,
    )


def answer(desk, *args, **kwargs):
    run = desk.submit(call(*args, **kwargs), wait_s=WAIT_S)
    assert run.status == "succeeded", run.error
    return values.unpack(run.result)


def failure(desk, *args, **kwargs):
    run = desk.submit(call(*args, **kwargs), wait_s=WAIT_S)
    assert run.status == "failed"
    return run


def ids_of(model, tokenizer, text):
    return tokenizer(text, return_tensors="pt")["input_ids"]


def patient(model, tokenizer, name="", seconds=600.0):
    import time

    print("begun", name)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.001)
    return name
