# ruff: noqa: T201, BLE001, SIM105
# Techniques print, and some are badly behaved on purpose.

import gc
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from glassbox.engine.model import lent_weights
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import (
    AccessDenied,
    CapacityError,
    ConflictError,
    CorruptArtifact,
    DeadlineExceeded,
    InvalidValue,
    NotShipped,
    QueueFull,
    TechniqueFailed,
    UnknownName,
)
from glassbox.techniques import transport, values
from glassbox.techniques.calls import NEVER_STARTED, Call, Limits
from glassbox.techniques.protocol import Backend
from glassbox.techniques.running import run_book, sessions
from glassbox.techniques.running.desk import Desk
from glassbox.techniques.technique import technique
from glassbox.testing import tiny_engine, tiny_loaded

WAIT_S = 30.0
GATE = threading.Event()


@pytest.fixture(scope="module")
def engine():
    made = tiny_engine()
    yield made
    made.close()


@pytest.fixture
def desk(engine):
    GATE.clear()
    made = Desk(engine)
    yield made
    GATE.set()
    made.close()


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


def patient(model, tokenizer, name="", seconds=30.0):
    import time

    print("begun", name)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.001)
    return name


def test_a_desk_is_a_backend(desk):
    assert isinstance(desk, Backend)


def test_a_function_runs_beside_the_model_and_its_value_comes_back(desk, engine):
    found = answer(desk, ids_of, "the positive")
    assert found.tolist() == [list(engine.codec.encode(["the positive"])[0])]


def test_positional_and_named_arguments_arrive(desk):
    def join(model, tokenizer, a, b=2, *, c):
        return [a, b, c]

    assert answer(desk, join, 1, c=torch.ones(2))[:2] == [1, 2]
    assert answer(desk, join, 1, 5, c=3) == [1, 5, 3]


def test_a_function_is_shipped_once(desk):
    first = call(ids_of, "a")
    with pytest.raises(NotShipped, match=first.technique[:12]):
        desk.submit(replace(first, shipment=None))
    desk.submit(first, wait_s=WAIT_S)
    assert desk.submit(replace(first, shipment=None), wait_s=WAIT_S).status == "succeeded"


def test_a_payload_that_is_not_its_digest_is_refused(desk):
    good = call(ids_of, "a")
    forged = replace(good, shipment=replace(good.shipment, payload=good.shipment.payload + b" "))
    with pytest.raises(CorruptArtifact, match="digest"):
        desk.submit(forged)


def test_only_reviewed_functions_run_where_a_list_says_so(engine):
    reviewed, other = call(ids_of, "a"), call(patient)
    desk = Desk(engine, allowed_digests=frozenset({reviewed.technique}))
    assert desk.submit(reviewed, wait_s=WAIT_S).status == "succeeded"
    with pytest.raises(AccessDenied, match="not among those"):
        desk.submit(other)
    desk.close()
    closed = Desk(engine, allow_shipped=False)
    with pytest.raises(AccessDenied, match="Only built-in"):
        closed.submit(reviewed)
    with pytest.raises(UnknownName, match="No technique 'nothing'"):
        closed.submit(replace(reviewed, technique="library:nothing"))
    closed.close()


def test_an_error_comes_with_its_own_line_and_what_was_printed(desk):
    def fail(model, tokenizer):
        print("before")
        return {}["missing"]

    run = failure(desk, fail)
    assert run.lines == ("before",)
    assert (run.error.type, run.error.message) == ("builtins.KeyError", "'missing'")
    assert run.error.source_line == 'return {}["missing"]'
    assert "visit.py" not in run.error.traceback
    assert "execution.py" not in run.error.traceback
    mapped = failure(desk, lambda model, tokenizer, x: 1 / x, inputs=[{"x": 0}])
    assert "attempt.py" not in mapped.error.traceback
    assert "execution.py" not in mapped.error.traceback


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(SystemExit(3), "SystemExit"), (KeyboardInterrupt(), "KeyboardInterrupt"),
     (MemoryError(), "MemoryError"), (GeneratorExit(), "GeneratorExit")],
)  # fmt: skip
def test_whatever_is_raised_is_an_outcome_and_the_desk_goes_on(desk, raised, kind):
    def fail(model, tokenizer, what):
        import builtins

        raise getattr(builtins, what)

    assert failure(desk, fail, kind).error.type == f"builtins.{kind}"
    assert answer(desk, ids_of, "a").shape[0] == 1


def test_a_recursion_without_end_is_an_error_like_others(desk):
    def recur(model, tokenizer):
        return recur(model, tokenizer)

    run = failure(desk, recur)
    assert run.error.type == "builtins.RecursionError"
    assert len(run.error.traceback) < 20_000


def test_a_generator_is_no_result(desk):
    def hides_it(model, tokenizer):
        return (n for n in range(3))

    assert "returned a generator" in failure(desk, hides_it).error.message


def test_a_result_that_cannot_travel_is_named(desk):
    def give_model(model, tokenizer):
        return {"deep": [model]}

    assert "deep" in failure(desk, give_model).error.message


def test_effects_are_undone_and_reported(desk):
    def spoil(model, tokenizer):
        model.train()
        model.register_forward_hook(lambda *_: None)

    run = desk.submit(call(spoil), wait_s=WAIT_S)
    assert set(run.undone.notes) == {
        "1 forward hook removed",
        "training mode of 33 modules put back",
    }
    assert desk.submit(call(ids_of, "a"), wait_s=WAIT_S).undone.notes == ()


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
        run = desk.submit(replace(each, limits=Limits(wall_s=0.2)), wait_s=WAIT_S)
        assert run.status == "failed"
        assert run.error.code == "deadline-exceeded"
        assert 0.2 <= run.timing.run_s < 5
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
        import time

        for _ in range(5):
            try:
                time.sleep(0.05)
                while True:
                    pass
            except BaseException:
                print("no")

    run = desk.submit(call(swallow, limits=Limits(wall_s=0.1)))
    while desk.overdue_s < 0.1:
        time.sleep(0.01)
    run = desk.run(run.id, wait_s=WAIT_S, after=10)
    assert (run.status, run.error.code, run.lines) == ("failed", "deadline-exceeded", ())
    assert run.n_lines == 5


def test_a_run_is_cancelled_in_line_and_on_the_model(desk):
    first, second = desk.submit(call(patient)), desk.submit(call(patient))
    assert second.status == "queued"
    while desk.running is None:
        time.sleep(0.001)
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
        import time

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
    assert run.undone.notes == ("values of 1 changed weight put back (lm_head.weight)",)
    assert values.unpack(run.result).abs().sum() == 0


def test_the_line_is_bounded(engine):
    desk = Desk(engine, max_waiting=2)
    running = desk.submit(call(patient))
    while desk.running is None:
        time.sleep(0.001)
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
    session = desk.open_session(idle_s=0.1)
    answer(desk, ids_of, "a", session=session)
    began = time.monotonic()
    assert desk.idle_s == 0
    answer(desk, ids_of, "a", caller="other")
    assert time.monotonic() - began >= 0.05
    with pytest.raises(UnknownName, match="without a call"):
        desk.submit(call(ids_of, "a", session=session))


def test_sessions_are_few_and_patient_within_bounds(desk, monkeypatch):
    monkeypatch.setattr(sessions, "N_SESSIONS", 1)
    with pytest.raises(InvalidValue, match="idle_s"):
        desk.open_session(idle_s=0)
    desk.open_session()
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
    session = desk.open_session(caller="a", idle_s=60.0)
    kept = answer(desk, ids_of, "the", session=session, keep=True, caller="a")
    began = time.monotonic()
    other = desk.submit(call(ids_of, "x", caller="b"), wait_s=5.0)
    assert other.status == "succeeded"
    assert time.monotonic() - began >= 0.1
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
    assert desk.run(other.id, wait_s=WAIT_S).status == "succeeded"
    assert desk.run(mine[-1].id).status == "queued"
    assert desk.run(mine[-1].id, after=99, wait_s=WAIT_S).status == "succeeded"


def test_what_came_with_a_call_is_let_go_when_it_has_ended(desk):
    large = torch.zeros(1_000_000)
    for run in (
        desk.submit(call(lambda m, t, x: len(x), large), wait_s=WAIT_S),
        desk.submit(call(lambda m, t, x: x.nothing, large), wait_s=WAIT_S),
    ):
        job = desk._rounds.book.get(run.id)
        assert job.is_over
        assert job.call.shipment is None
        assert job.call.arguments.n_bytes < 100


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
        until = time.monotonic() + WAIT_S
        while folder.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert not folder.exists()
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


@technique(batch="texts", batch_size=8)
def lengths(model, tokenizer, texts, more=0):
    print("called with", len(texts))
    return [len(ids) + more for ids in tokenizer(texts)["input_ids"]]


def test_a_map_answers_each_input_and_batches_where_it_can(desk):
    plain = answer(desk, ids_of, inputs=[{"text": "a"}, {"text": "a b c"}])
    assert [len(each[0]) for each in plain] == [2, 4]
    run = desk.submit(call(lengths, inputs=[{"texts": "a"}] * 20, more=1), wait_s=WAIT_S)
    assert values.unpack(run.result) == [3] * 20
    assert run.lines == ("called with 8", "called with 8", "called with 4")


def test_the_input_that_fails_is_named(desk):
    def invert(model, tokenizer, x):
        return 1 / x

    run = failure(desk, invert, inputs=[{"x": 1}, {"x": 0}])
    assert run.error.type == "builtins.ZeroDivisionError"
    assert run.error.message.endswith("in input 1 of 2 (counted from 0)")


def test_weights_that_cannot_be_put_back_close_the_desk(monkeypatch, tmp_path):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    engine = ResidentEngine(tiny_loaded())
    desk = Desk(engine)

    def spoil(model, tokenizer, gate):
        import time

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


def test_every_end_is_recorded(engine):
    records = []
    desk = Desk(engine, on_run=records.append)
    desk.submit(call(ids_of, "a", caller="me"), wait_s=WAIT_S)
    failed = desk.submit(call(ids_of), wait_s=WAIT_S)
    desk.close()
    assert [(each.caller, each.status) for each in records] == [("me", "succeeded"), ("", "failed")]
    assert records[0].technique == call(ids_of, "a").technique
    assert records[1].id == failed.id
    assert records[1].error.type == "builtins.TypeError"


def test_a_guard_is_around_each_run(engine):
    seen = []

    @contextmanager
    def guard(run_id, made):
        seen.append((run_id, made.name, threading.current_thread().name))
        yield
        seen.append("after")

    desk = Desk(engine, guard=guard, name="mine")
    run = desk.submit(call(ids_of, "a"), wait_s=WAIT_S)
    desk.close()
    assert seen == [(run.id, "ids_of", "glassbox-desk mine"), "after"]


def test_a_fault_of_the_guard_leaves_nobody_waiting(engine, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def guard(run_id, made):
        raise OSError("no cgroup")

    desk = Desk(engine, guard=guard)
    run = failure(desk, ids_of, "a")
    assert "no cgroup" in run.error.message
    assert "fault of its own" in desk.failure
    desk.close()


def test_the_engine_answers_between_runs(desk, engine):
    sampling = Sampling(max_tokens=2, temperature=0.0, stop_at_end=False)
    runs = [desk.submit(call(patient, str(n), 0.01)) for n in range(5)]
    ticket = engine.submit(Request((0, 9, 8), sampling=sampling))
    assert ticket.result(30).finish_reason == "length"
    assert all(desk.run(run.id, wait_s=WAIT_S, after=99).status == "succeeded" for run in runs)


def test_the_model_is_described(desk, engine):
    desk.start(lambda what, share: None)
    info = desk.model_info()
    assert (info.n_heads, info.n_layers, info.vocab_size) == (4, 2, engine.info.d_vocab)
    assert (info.architecture, info.adapter, info.has_hidden_prompt) == ("llama", None, False)
    assert desk.environment().python


def test_a_hidden_prompt_is_read_by_the_model_and_shown_to_nobody(engine):
    secret = "The password is swordfish, tell nobody."
    desk = Desk(engine, hidden_system_prompt=secret)

    def look(model, tokenizer, text):
        ids = tokenizer(text)["input_ids"]
        print(tokenizer.decode(ids), [tokenizer.decode([each]) for each in ids][1:4])
        return {"ids": ids, "text": tokenizer.decode(ids), "n": len(ids)}

    def tell(model, tokenizer):
        ids = tokenizer("")["input_ids"]
        raise ValueError(tokenizer._tokenizer.decode(ids))

    found = answer(desk, look, "a")
    assert found["text"] == "<s>a"
    assert found["n"] > len(engine.codec.encode(["a"])[0])
    assert found["ids"].count(-1) == found["n"] - 2

    def spell(model, tokenizer):
        tokens = [tokenizer.decode([each]) for each in tokenizer("")["input_ids"]]
        for token in tokens:
            print(token)
        return [(token, 0.5) for token in tokens]

    run = desk.submit(call(spell), wait_s=WAIT_S)
    assert sum(line == "[hidden]" for line in run.lines) > 8
    assert sum(token == "[hidden]" for token, _ in values.unpack(run.result)) > 8
    run = failure(desk, tell)
    assert "swordfish" not in run.error.message + run.error.traceback
    assert desk.model_info().has_hidden_prompt
    desk.close()


def test_closing_is_idempotent_and_leaves_the_engine(engine):
    desk = Desk(engine)
    desk.submit(call(ids_of, "a"), wait_s=WAIT_S)
    desk.close()
    desk.close()
    assert engine.is_alive
    with pytest.raises(ConflictError, match="closed"):
        desk.open_session()


def test_techniques_that_fail_say_so_with_our_own_classes(desk):
    def ours(model, tokenizer):
        from glassbox.errors import TechniqueFailed

        raise TechniqueFailed("on purpose")

    assert failure(desk, ours).error.code == TechniqueFailed.code
