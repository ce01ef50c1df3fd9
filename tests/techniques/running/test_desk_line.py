"""Runs wait in line, are watched, end at their deadline, are cancelled; a desk closes."""

# ruff: noqa: T201, BLE001, SIM105
# Techniques print, and some are badly behaved on purpose.

import time
from dataclasses import replace

import pytest

from glassbox.engine.model import lent_weights
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import ConflictError, DeadlineExceeded, QueueFull
from glassbox.techniques import values
from glassbox.techniques.calls import NEVER_STARTED, Limits
from glassbox.techniques.running.desk import Desk
from glassbox.testing import tiny_loaded
from tests.techniques.running.desk_world import WAIT_S, answer, call, failure, ids_of, patient
from tests.waiting import clock_of_this_process, until


def test_a_run_ends_at_its_deadline_whatever_it_does(desk):
    def loop(model, tokenizer):
        while True:
            pass

    def stubborn(model, tokenizer, text):
        ids = tokenizer(text, return_tensors="pt")
        while True:
            try:
                model(**ids)
            except Exception:
                pass

    for each in (call(loop), call(stubborn, "the")):
        with clock_of_this_process() as clock:
            run = desk.submit(replace(each, limits=Limits(wall_s=0.2)), wait_s=WAIT_S)
            assert clock() < 5
        assert run.status == "failed"
        assert run.error.code == "deadline-exceeded"
        assert run.timing.run_s >= 0.2
    assert answer(desk, ids_of, "a").shape[0] == 1
    assert desk.overdue_s == 0


def test_the_desks_own_limits_hold_for_calls_that_ask_for_more(engine):
    desk = Desk(engine, limits=Limits(wall_s=0.2, result_bytes=1000))
    run = desk.submit(call(patient, limits=Limits(wall_s=60)), wait_s=WAIT_S)
    assert run.error.code == "deadline-exceeded"

    def large(model, tokenizer):
        import torch

        return torch.zeros(1000)

    assert (
        "at most 1000 bytes"
        in failure(desk, large, limits=Limits(result_bytes=10**9)).error.message
    )
    desk.close()


def test_code_that_swallows_everything_is_asked_again_and_known_to_be_overdue(desk):
    def swallow(model, tokenizer):

        for _ in range(5):
            try:
                time.sleep(0.05)
                while True:
                    pass
            except BaseException:
                print("no")

    run = desk.submit(call(swallow, limits=Limits(wall_s=0.1)))
    until(lambda: desk.overdue_s >= 0.1)
    run = desk.run(run.id, wait_s=WAIT_S, after=10)
    assert (run.status, run.error.code, run.lines) == ("failed", "deadline-exceeded", ())
    assert run.n_lines == 5


def test_a_run_is_cancelled_in_line_and_on_the_model(desk):
    first, second = desk.submit(call(patient)), desk.submit(call(patient))
    assert second.status == "queued"
    until(lambda: desk.running is not None)
    assert desk.run(second.id).position == 1
    desk.cancel(second.id)
    assert desk.run(second.id).status == "cancelled"
    desk.cancel(first.id)
    ended = desk.run(first.id, wait_s=WAIT_S, after=99)
    assert (ended.status, ended.error.message) == ("cancelled", "The run was cancelled.")
    desk.cancel(first.id)
    desk.cancel("run-nobody-knows")


def test_whoever_watches_can_end_a_run_with_an_error_of_its_own(desk):
    run = desk.submit(call(patient))
    desk.end(run.id, DeadlineExceeded("It took 3 s of processor time."))
    ended = desk.run(run.id, wait_s=WAIT_S, after=99)
    assert (ended.status, ended.error.message) == ("failed", "It took 3 s of processor time.")


def test_lines_arrive_while_it_runs(desk):
    def speak(model, tokenizer):

        for number in range(3):
            print(number)
            time.sleep(0.05)
        return "done"

    run = desk.submit(call(speak))
    seen = []
    while run.status not in ("succeeded", "failed"):
        run = desk.run(run.id, after=len(seen), wait_s=WAIT_S)
        seen += run.lines
    assert seen == ["0", "1", "2"]


def test_the_line_is_bounded(engine):
    desk = Desk(engine, max_waiting=2)
    running = desk.submit(call(patient))
    until(lambda: desk.running is not None)
    waiting = [desk.submit(call(patient)) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 requests wait already"):
        desk.submit(call(patient))
    assert [desk.run(each.id).position for each in waiting] == [1, 2]
    desk.close()
    assert {desk.run(each.id).status for each in [running, *waiting]} == {"cancelled"}
    with pytest.raises(ConflictError, match="closed"):
        desk.submit(call(patient))


def test_callers_take_turns(desk):
    blocker = desk.submit(call(patient, caller="x"))
    order = []
    runs = [
        desk.submit(call(patient, name, 0.0, caller=caller))
        for caller, name in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1")]
    ]
    desk.cancel(blocker.id)
    ended = {run.id: desk.run(run.id, wait_s=WAIT_S, after=99) for run in runs}
    begun = sorted(ended.values(), key=lambda run: run.timing.queue_s)
    order = [values.unpack(run.result) for run in begun]
    assert order.index("b1") < order.index("a2")
    assert order.index("c1") < order.index("a2")


def test_weights_that_cannot_be_put_back_close_the_desk(monkeypatch, tmp_path):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    engine = ResidentEngine(tiny_loaded())
    desk = Desk(engine)

    def spoil(model, tokenizer, gate):

        import torch

        while not gate.exists():
            time.sleep(0.01)
        with torch.no_grad():
            model.lm_head.weight.zero_()

    gate = tmp_path / "gate"
    spoiling = desk.submit(call(spoil, gate))
    waiting = desk.submit(call(ids_of, "a"))
    gate.touch()
    run = desk.run(spoiling.id, wait_s=WAIT_S)
    assert "changed weight" in run.error.message
    other = desk.run(waiting.id, wait_s=WAIT_S)
    assert (other.status, other.error.code) == ("lost", NEVER_STARTED), "it may run elsewhere"
    assert "changed weight" in other.error.message
    assert "Load the model again" in desk.failure
    with pytest.raises(ConflictError, match="changed weight"):
        desk.submit(call(ids_of, "a"))
    desk.close()
    engine.close()


def test_closing_is_idempotent_and_leaves_the_engine(engine):
    desk = Desk(engine)
    desk.submit(call(ids_of, "a"), wait_s=WAIT_S)
    desk.close()
    desk.close()
    assert engine.is_alive
    with pytest.raises(ConflictError, match="closed"):
        desk.open_session()
