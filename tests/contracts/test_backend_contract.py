"""What everything that runs techniques must do: in this process, on this machine, and elsewhere."""

import threading
import time
from dataclasses import replace

import pytest
import torch

from glassbox.errors import (
    ConflictError,
    CorruptArtifact,
    InvalidValue,
    NotShipped,
    UnknownName,
)
from glassbox.techniques import values
from glassbox.techniques.calls import FINAL, Limits, Shipment
from glassbox.techniques.client.calling import Calls, Choices
from glassbox.techniques.client.link import Notes
from glassbox.techniques.client.session import RemoteSession
from glassbox.techniques.protocol import Backend
from glassbox.techniques.values import RemoteValue
from glassbox.techniques.worker_spec import WorkerSpec
from tests.contracts.backend_world import (
    answer,
    call_of,
    ended,
    fresh,
    packed_of,
    until,
    untold,
)
from tests.waiting import PATIENCE_S

LIVES_ELSEWHERE = ("local", "ray")
"""Backends whose process a technique may take down without the test's going with it."""


def test_it_has_the_face_of_a_backend(backend):
    assert isinstance(backend, Backend)
    backend.start(untold)
    told = backend.environment()
    # The package index and torch itself do not both name the build.
    assert told.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert "numpy" in told.modules
    info = backend.model_info()
    assert (info.n_layers, info.d_model, info.dtype) == (8, 128, "float32")
    assert len(info.digest) == 64
    assert not info.has_hidden_prompt


def test_a_function_runs_beside_the_model(backend):
    def surprise(model, tokenizer, text, *, scale):
        import torch

        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            logits = model(ids).logits
        return {"n": ids.shape[1], "mean": scale * logits.mean(), "logits": logits[0, -1]}

    run = backend.submit(call_of(surprise, "a fine film", scale=2.0), wait_s=10.0)
    run, lines = ended(backend, run)
    assert (run.status, lines, run.error) == ("succeeded", (), None)
    # In this very process other threads draw random numbers, too, and the tests are seeded anew.
    assert [each for each in run.undone if not each.startswith("random state")] == []
    assert run.timing.run_s > 0
    result = values.unpack(packed_of(backend, run))
    assert result["n"] >= 3
    assert result["logits"].dtype == torch.float32
    assert result["mean"].shape == ()


def test_a_repeated_call_sends_the_digest_alone(backend):
    technique = fresh("return number")
    with pytest.raises(NotShipped, match="send it along"):
        backend.submit(call_of(technique, shipped=False))
    first = answer(backend, technique)
    assert answer(backend, technique, shipped=False) == first


def test_a_payload_that_is_not_what_its_digest_says_is_refused(backend):
    from dataclasses import replace

    good, other = call_of(fresh()), call_of(fresh())
    forged = replace(good.shipment, payload=other.shipment.payload)
    assert isinstance(forged, Shipment)
    with pytest.raises(CorruptArtifact):
        backend.submit(replace(good, shipment=forged))


def test_an_unknown_built_in_is_named(backend):
    with pytest.raises(UnknownName, match="no_such_technique"):
        backend.submit(call_of("library:no_such_technique"))


def test_a_built_in_runs_by_name(backend):
    result = answer(backend, "library:token_surprisal", "a fine film")
    assert result is not None


def test_an_error_comes_with_its_type_line_and_traceback(backend):
    def breaks(model, tokenizer):
        print("so far so good")  # noqa: T201
        return {}["missing"]

    run, lines = ended(backend, backend.submit(call_of(breaks), wait_s=5.0))
    assert (run.status, lines) == ("failed", ("so far so good",))
    assert run.error.type == "builtins.KeyError"
    assert "missing" in run.error.message
    assert run.error.source_line.strip() == 'return {}["missing"]'
    assert "KeyError" in run.error.traceback
    with pytest.raises(ConflictError):
        backend.result(run.id)


def test_lines_are_seen_while_it_runs(backend):
    def talks(model, tokenizer):
        import time

        print("first")  # noqa: T201
        time.sleep(1.5)
        print("second")  # noqa: T201

    run = backend.submit(call_of(talks))
    while not run.lines and run.status not in FINAL:
        run = backend.run(run.id, wait_s=1.0)
    assert (run.lines, run.status) == (("first",), "running")
    run, rest = ended(backend, backend.run(run.id, after=1))
    assert (run.status, rest) == ("succeeded", ("second",))
    assert backend.run(run.id).lines == ("first", "second")


def test_what_it_did_to_the_model_is_undone_and_told(backend):
    def meddles(model, tokenizer):
        model.train()
        model.get_submodule("model.layers.0").register_forward_hook(lambda *_: None)

    def looks(model, tokenizer):
        hooks = sum(len(each._forward_hooks) for each in model.modules())
        return model.training, hooks

    before = answer(backend, looks)
    run, _ = ended(backend, backend.submit(call_of(meddles), wait_s=5.0))
    assert run.status == "succeeded"
    assert any("hook" in note for note in run.undone)
    assert answer(backend, looks) == before
    assert before[0] is False


def endless(model, tokenizer):
    import time

    while True:
        time.sleep(0.01)


def test_attention_weights_come_to_whoever_asks_for_them(backend):
    def look(model, tokenizer, text):
        import torch

        with torch.no_grad():
            given = tokenizer(text, return_tensors="pt")
            asked = model(**given, output_attentions=True).attentions
            steps = model.generate(
                **given, max_new_tokens=2, min_new_tokens=2, do_sample=False,
                output_attentions=True, return_dict_in_generate=True,
            ).attentions  # fmt: skip
            model.set_attn_implementation("eager")
            return asked, model(**given, output_attentions=True).attentions, steps

    run, _ = ended(backend, backend.submit(call_of(look, "a fine film"), wait_s=5.0))
    asked, by_hand, steps = values.unpack(packed_of(backend, run))
    assert len(asked) == 8
    assert all(map(torch.equal, asked, by_hand))
    assert all(map(torch.equal, asked, steps[0]))
    assert run.undone == ("config put back (attn_implementation)",)


def test_a_run_is_cancelled_running_or_waiting(backend):
    running = backend.submit(call_of(endless))
    waiting = backend.submit(call_of(fresh()))
    until(lambda: backend.run(running.id).status == "running")
    assert backend.run(waiting.id).position == 1
    backend.cancel(waiting.id)
    backend.cancel(running.id)
    assert ended(backend, running)[0].status == "cancelled"
    assert ended(backend, waiting)[0].status == "cancelled"
    backend.cancel(running.id)
    assert backend.run(running.id).status == "cancelled"


def test_a_deadline_ends_a_run(backend):
    call = call_of(endless, limits=Limits(wall_s=0.3))
    run, _ = ended(backend, backend.submit(call, wait_s=10.0))
    assert (run.status, run.error.code) == ("failed", "deadline-exceeded")


def test_a_session_keeps_tensors_on_the_other_side(backend):
    def make(model, tokenizer, n):
        import torch

        return torch.arange(n, dtype=torch.float64)

    def total(model, tokenizer, tensor, *, times):
        return float(tensor.sum()) * times

    session = backend.open_session(caller="me")
    run, _ = ended(
        backend,
        backend.submit(call_of(make, 5, session=session, keep=True, caller="me"), wait_s=5.0),
    )
    kept = values.unpack(packed_of(backend, run))
    assert isinstance(kept, RemoteValue)
    assert answer(backend, total, kept, times=2, session=session, caller="me") == 20.0
    backend.close_session(session)
    backend.close_session(session)
    with pytest.raises(UnknownName, match="session"):
        backend.submit(call_of(total, kept, times=2, session=session, caller="me"))


def test_what_a_client_puts_into_a_session_it_gets_back(backend):
    with RemoteSession(Calls(backend, Notes()), Choices(quiet=True)) as session:
        put = session.put([1, 2])
        assert session.get(put) == [1, 2]
        other = replace(put, session=f"{put.session}0")
        with pytest.raises(InvalidValue, match="of this session"):
            session.get(other)


def test_a_result_is_kept_in_a_session_only(backend):
    with pytest.raises(ConflictError, match="session"):
        backend.submit(call_of(fresh(), keep=True))


def test_a_session_has_the_model_to_itself(backend):
    session = backend.open_session(caller="first", idle_s=30.0)
    answer(backend, fresh(), session=session, caller="first")
    other = backend.submit(call_of(fresh(), caller="second"), wait_s=0.5)
    assert other.status == "queued"
    answer(backend, fresh(), session=session, caller="first")
    backend.close_session(session)
    assert ended(backend, other)[0].status == "succeeded"


def test_a_map_gives_one_answer_for_each_input(backend):
    def power(model, tokenizer, base, *, exponent):
        return base**exponent

    inputs = [{"base": base} for base in range(7)]
    assert answer(backend, power, exponent=2, inputs=inputs) == [0, 1, 4, 9, 16, 25, 36]
    assert answer(backend, power, exponent=2, inputs=[]) == []


def test_a_result_over_its_limit_is_refused_with_its_size(backend):
    def large(model, tokenizer, n):
        import torch

        return torch.zeros(n)

    call = call_of(large, 100_000, limits=Limits(result_bytes=10_000))
    run, _ = ended(backend, backend.submit(call, wait_s=5.0))
    assert run.status == "failed"
    assert "390.6 KiB" in run.error.message
    assert answer(backend, large, 1_000, limits=Limits(result_bytes=10_000)).shape == (1_000,)


def test_a_large_result_comes_whole_and_once(backend):
    def large(model, tokenizer, n):
        import torch

        return torch.arange(n, dtype=torch.int32)

    n = 8 * 2**20
    run, _ = ended(backend, backend.submit(call_of(large, n), wait_s=5.0))
    assert run.result_bytes >= 4 * n
    found = values.unpack(packed_of(backend, run))
    assert found.shape == (n,)
    assert torch.equal(found[:: n // 7], torch.arange(0, n, n // 7, dtype=torch.int32))
    if run.result is None:
        with pytest.raises(UnknownName):
            backend.result(run.id)


def test_what_cannot_travel_back_is_named(backend):
    run, _ = ended(backend, backend.submit(call_of(fresh("return {'f': [print]}")), wait_s=5.0))
    assert (run.status, run.error.code) == ("failed", "not-shippable")
    assert "['f'][0]" in run.error.message


def test_tensors_travel_both_ways_as_they_are(backend):
    def back(model, tokenizer, things):
        return things

    things = {
        "bf16": torch.tensor([1.5, -2.0]).bfloat16(),
        "nan": torch.tensor([float("nan"), float("inf")]),
        "empty": torch.empty(0, 3),
        ("a", 1): [True, None, 1 + 2j, b"bytes"],
    }
    found = answer(backend, back, things)
    assert list(found) == list(things)
    assert found["bf16"].dtype == torch.bfloat16
    assert torch.equal(found["bf16"], things["bf16"])
    assert torch.equal(found["nan"].isnan(), things["nan"].isnan())
    assert found["empty"].shape == (0, 3)
    assert found["a", 1] == things["a", 1]


def test_callers_take_turns(backend):
    def now(model, tokenizer):
        import time

        return time.monotonic()

    blocking = backend.submit(call_of(endless, caller="many"))
    until(lambda: backend.run(blocking.id).status == "running")
    many = [backend.submit(call_of(now, caller="many")) for _ in range(6)]
    one = backend.submit(call_of(now, caller="one"))
    backend.cancel(blocking.id)
    times = [values.unpack(packed_of(backend, ended(backend, run)[0])) for run in (*many, one)]
    assert times[:6] == sorted(times[:6])
    # Whoever asked once is served before the other's second call.
    assert times[6] < times[1]


def test_two_clients_at_once_get_their_own_answers(backend):
    def own(model, tokenizer, mine):
        print(mine)  # noqa: T201
        return mine

    found = {}

    def ask(who):
        for turn in range(5):
            call = call_of(own, (who, turn), caller=who)
            run, lines = ended(backend, backend.submit(call, wait_s=10.0))
            found[who, turn] = values.unpack(packed_of(backend, run)), lines

    threads = [threading.Thread(target=ask, args=(f"client {n}",)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 20
    for key, (value, lines) in found.items():
        assert (value, lines) == (key, (str(key),))


def test_ids_that_nobody_knows(backend):
    former_run, former_session = f"run-{'0' * 32}", f"session-{'0' * 32}"
    told = backend.run(former_run)
    assert told.status == "lost"
    assert told.error.message
    backend.cancel(former_run)
    backend.close_session(former_session)
    with pytest.raises(UnknownName):
        backend.result(former_run)
    with pytest.raises(UnknownName):
        backend.submit(call_of(fresh(), session=former_session))


def test_waiting_has_its_end(backend):
    begun = time.monotonic()
    run = backend.submit(call_of(endless), wait_s=0.3)
    assert run.status in ("queued", "running")
    backend.run(run.id, wait_s=0.3)
    assert 0.5 < time.monotonic() - begun < PATIENCE_S
    backend.cancel(run.id)
    ended(backend, run)


@pytest.mark.parametrize("backend", LIVES_ELSEWHERE, indirect=True)
def test_a_run_that_took_its_worker_down_is_lost_like_those_before_and_the_next_one_runs(backend):
    def leaves(model, tokenizer):
        import os

        os._exit(3)

    waiting = backend.submit(call_of(endless))
    until(lambda: backend.run(waiting.id).status == "running")
    other = backend.submit(call_of(leaves))
    backend.cancel(waiting.id)
    lost, _ = ended(backend, other)
    assert (lost.status, lost.error.code) == ("lost", "technique-failed")
    assert len(lost.error.message) > 20
    assert backend.run(other.id).status == "lost"
    assert answer(backend, fresh("return 'alive'")) == "alive"


def test_what_goes_wrong_while_ray_loads_is_said_and_can_be_tried_again(ray_cluster):
    # Here for its cluster, which takes longer to start than all of this.
    from glassbox.techniques.remote.ray_backend import RayBackend

    spec = WorkerSpec(model="/no/such/model", app_name="nothing", threads=1)
    backend = RayBackend(spec, num_cpus=0.1)
    for _ in range(2):
        with pytest.raises(UnknownName, match="No model '/no/such/model'"):
            backend.start(untold)
    backend.stop()
