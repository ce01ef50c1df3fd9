"""A desk runs what it is sent, answers, records and guards each run."""

# ruff: noqa: T201
# Techniques print, and some are badly behaved on purpose.

import random
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from glassbox.engine.requests import Request, Sampling
from glassbox.errors import (
    AccessDenied,
    CorruptArtifact,
    NotShipped,
    TechniqueFailed,
    UnknownName,
)
from glassbox.techniques import values
from glassbox.techniques.protocol import Backend
from glassbox.techniques.running import rounds
from glassbox.techniques.running.desk import Desk
from glassbox.techniques.technique import technique
from tests.techniques.running.desk_world import WAIT_S, answer, call, failure, ids_of, patient
from tests.waiting import PATIENCE_S


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
    assert set(run.undone) == {
        "1 forward hook removed",
        "training mode of 33 modules put back",
    }
    assert desk.submit(call(ids_of, "a"), wait_s=WAIT_S).undone == ()


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
    assert run.error.message.startswith("division by zero\nin input 1 of 2 (counted from 0)")


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
    assert ticket.result(PATIENCE_S).finish_reason == "length"
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


def test_techniques_that_fail_say_so_with_our_own_classes(desk):
    def ours(model, tokenizer):
        from glassbox.errors import TechniqueFailed

        raise TechniqueFailed("on purpose")

    assert failure(desk, ours).error.code == TechniqueFailed.code


def test_a_guest_may_copy_the_model_and_change_the_copy(desk):
    def beside_a_twin(model, tokenizer, text):
        import copy

        twin = copy.deepcopy(model)
        with torch.no_grad():
            twin.lm_head.weight.zero_()
            ids = tokenizer(text, return_tensors="pt")
            shown = twin(**ids, output_attentions=True).attentions
            return float(model(**ids).logits.std()), float(twin(**ids).logits.std()), len(shown)

    run = desk.submit(call(beside_a_twin, "the positive"), wait_s=WAIT_S)
    own, twins, n_layers = values.unpack(run.result)
    assert own > 0 == twins
    assert n_layers == 2
    assert run.undone == ()


def test_a_copy_of_the_model_is_stopped_with_its_run(desk):
    def busy(model, tokenizer):
        import copy

        twin = copy.deepcopy(model)
        print("begun")
        while True:
            twin(**tokenizer("a", return_tensors="pt"))

    run = desk.submit(call(busy))
    run = desk.run(run.id, wait_s=WAIT_S)
    desk.cancel(run.id)
    assert desk.run(run.id, after=99, wait_s=WAIT_S).status == "cancelled"


def test_random_state_between_two_runs_is_the_process_s_own(desk, monkeypatch):
    # The desk keeps the model for a while, and the next run is served within the same loan.
    monkeypatch.setattr(rounds, "LINGER_S", 20.0)

    def draw(model, tokenizer):
        import random

        return random.random()

    random.seed(1)
    expected = random.Random(1).random(), random.Random(2).random()
    first = answer(desk, draw)
    random.seed(2)
    run = desk.submit(call(draw), wait_s=WAIT_S)
    assert (first, values.unpack(run.result)) == expected
    assert run.undone == ("random state put back (Python's)",)
    assert random.getstate() == random.Random(2).getstate()
    random.seed(3)
    desk.close()
    assert random.getstate() == random.Random(3).getstate()
