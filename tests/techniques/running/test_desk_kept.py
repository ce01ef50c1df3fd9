"""What a desk keeps: results until they are fetched, values of sessions, and no longer."""

import gc
import time

import pytest
import torch

from glassbox.errors import AccessDenied, CapacityError, ConflictError, InvalidValue, UnknownName
from glassbox.techniques import values
from glassbox.techniques.running import run_book, sessions
from glassbox.techniques.running.desk import Desk
from tests.techniques.running.desk_world import WAIT_S, answer, call, failure, ids_of, patient
from tests.waiting import until


def test_a_run_that_nobody_knows_is_lost(desk):
    run = desk.run("run-of-a-former-life")
    assert run.status == "lost"
    assert "restarted" in run.error.message


def test_a_result_is_given_once(desk):
    run = desk.submit(call(ids_of, "a"), wait_s=WAIT_S)
    assert values.unpack(desk.result(run.id)).shape == (1, 2)
    with pytest.raises(UnknownName, match="given away already"):
        desk.result(run.id)
    with pytest.raises(UnknownName, match="No run"):
        desk.result("run-x")
    waiting = desk.submit(call(patient))
    with pytest.raises(ConflictError, match="has no result"):
        desk.result(waiting.id)


def test_a_large_result_is_fetched_and_belongs_to_nobody_else(desk):
    def large(model, tokenizer):
        import torch

        return torch.zeros(2**21)

    run = desk.submit(call(large), wait_s=WAIT_S)
    assert run.result is None
    assert run.result_bytes > 2**23
    assert values.unpack(desk.result(run.id)).shape == (2**21,)


def test_results_nobody_fetches_are_dropped_first(desk, monkeypatch):
    monkeypatch.setattr(run_book, "RESULTS_BYTES", 300)

    def some(model, tokenizer):
        import torch

        return torch.zeros(50)

    first, second = (desk.submit(call(some), wait_s=WAIT_S) for _ in range(2))
    with pytest.raises(UnknownName, match="too much memory"):
        desk.result(first.id)
    assert desk.run(first.id).status == "succeeded"
    assert values.unpack(desk.result(second.id)).shape == (50,)


def test_runs_are_forgotten_after_a_while(engine):
    desk = Desk(engine, result_ttl_s=0.05)
    run = desk.submit(call(ids_of, "a"), wait_s=WAIT_S)
    time.sleep(0.1)
    assert desk.run(run.id).status == "lost"
    desk.close()


def test_a_returned_weight_is_a_copy_of_what_it_was_then(desk):
    def change_and_return(model, tokenizer):
        import torch

        with torch.no_grad():
            model.lm_head.weight.zero_()
        return model.lm_head.weight

    run = desk.submit(call(change_and_return), wait_s=WAIT_S)
    assert run.undone == ("values of 1 changed weight put back (lm_head.weight)",)
    assert values.unpack(run.result).abs().sum() == 0


def test_a_session_keeps_values_and_nobody_comes_between(desk):
    def double(model, tokenizer, x):
        return x * 2

    session = desk.open_session(caller="a")
    kept = answer(desk, ids_of, "the", session=session, keep=True, caller="a")
    assert kept.describes == "int64 tensor of shape (1, 3)"
    other = desk.submit(call(ids_of, "x", caller="b"))
    found = answer(desk, double, kept, session=session, caller="a")
    assert found.shape == (1, 3)
    assert desk.run(other.id).status == "queued"
    desk.close_session(session)
    desk.close_session(session)
    assert desk.run(other.id, wait_s=WAIT_S).status == "succeeded"
    with pytest.raises(UnknownName, match="No session"):
        desk.submit(call(ids_of, "a", session=session, caller="a"))


def test_values_of_a_session_are_nobody_elses(desk):
    session, other = desk.open_session(caller="a"), desk.open_session(caller="a")
    kept = answer(desk, ids_of, "the", session=session, keep=True, caller="a")
    desk.close_session(session)
    run = failure(desk, lambda m, t, x: x, kept, session=other, caller="a")
    assert "another session" in run.error.message
    with pytest.raises(AccessDenied, match="another caller"):
        desk.submit(call(ids_of, "a", session=other, caller="b"))
    with pytest.raises(ConflictError, match="in a session only"):
        desk.submit(call(ids_of, "a", keep=True))


def test_a_session_ends_when_it_is_idle(desk):
    began = time.monotonic()
    session = desk.open_session(idle_s=0.5)
    answer(desk, ids_of, "a", session=session)
    answer(desk, ids_of, "a", caller="other")
    assert time.monotonic() - began >= 0.5, "another caller waited for its end"
    with pytest.raises(UnknownName, match="without a call"):
        desk.submit(call(ids_of, "a", session=session))


def test_sessions_are_few_and_patient_within_bounds(desk, monkeypatch):
    monkeypatch.setattr(sessions, "N_SESSIONS", 1)
    with pytest.raises(InvalidValue, match="idle_s"):
        desk.open_session(idle_s=0)
    desk.open_session()
    assert desk.idle_s == 0
    with pytest.raises(CapacityError, match="sessions are open"):
        desk.open_session()


def test_a_caller_has_its_share_of_the_sessions(desk):
    for _ in range(sessions.N_EACH):
        desk.open_session(caller="a")
    with pytest.raises(CapacityError, match="of this caller"):
        desk.open_session(caller="a")
    desk.open_session(caller="b")


def test_an_idle_session_lets_others_pass_and_keeps_its_values(desk, monkeypatch):
    monkeypatch.setattr(sessions, "TURN_IDLE_S", 0.2)
    session = desk.open_session(caller="a", idle_s=600.0)
    began = time.monotonic()
    kept = answer(desk, ids_of, "the", session=session, keep=True, caller="a")
    other = desk.submit(call(ids_of, "x", caller="b"), wait_s=WAIT_S)
    assert other.status == "succeeded"
    assert time.monotonic() - began >= 0.2
    found = answer(desk, lambda m, t, x: x, kept, session=session, caller="a")
    assert found.shape == (1, 3)


def test_a_session_that_goes_on_calling_lets_others_pass_too(desk, monkeypatch):
    monkeypatch.setattr(sessions, "LONGEST_TURN_S", 0.3)
    session = desk.open_session(caller="a")
    mine = [
        desk.submit(call(patient, str(n), session=session, caller="a", seconds=0.2))
        for n in range(6)
    ]
    other = desk.submit(call(ids_of, "x", caller="b"))
    passed = desk.run(other.id, wait_s=WAIT_S)
    last = desk.run(mine[-1].id, after=99, wait_s=WAIT_S)
    assert (passed.status, last.status) == ("succeeded", "succeeded")
    assert passed.timing.queue_s < last.timing.queue_s, "it came later, and its turn before"


def test_what_came_with_a_call_is_let_go_when_it_has_ended(desk):
    large = torch.zeros(1_000_000)
    for run in (
        desk.submit(call(lambda m, t, x: len(x), large), wait_s=WAIT_S),
        desk.submit(call(lambda m, t, x: x.nothing, large), wait_s=WAIT_S),
    ):
        job = desk._rounds.book.get(run.id)
        assert job.is_over
        assert not hasattr(job, "call")


def test_memory_that_a_run_left_in_a_circle_is_given_back_once_nobody_calls(desk, tmp_path):
    def circular(model, tokenizer, folder):
        import os
        import weakref

        import torch

        held = [torch.zeros(1000)]
        held.append(held)
        weakref.finalize(held[0], os.rmdir, folder)

    folder = tmp_path / "kept"
    folder.mkdir()
    gc.disable()  # Else Python's own collection might come first.
    try:
        assert answer(desk, circular, str(folder)) is None
        until(lambda: not folder.exists())
    finally:
        gc.enable()


def test_effects_do_not_leak_within_a_session(desk):
    def hook(model, tokenizer):
        model.register_forward_hook(lambda *_: None)

    def n_hooks(model, tokenizer):
        return len(model._forward_hooks)

    session = desk.open_session()
    desk.submit(call(hook, session=session), wait_s=WAIT_S)
    assert answer(desk, n_hooks, session=session) == 0
