"""Functions over HTTP: what becomes of a run, and what is known of it afterwards."""

import threading
import time
from dataclasses import replace

import httpx
import numpy as np
import orjson
import pytest

from glassbox.errors import ConflictError, InvalidData, NotShipped, QueueFull, UnknownName
from glassbox.server.techniques import runs as technique_runs
from glassbox.server.techniques.terms import Terms
from glassbox.techniques.calls import Limits, Packed
from glassbox.techniques.carrying.calls_and_runs import call_packed
from glassbox.techniques.packed.framing import frame
from glassbox.techniques.remote.signing import body_digest
from glassbox.wire.techniques import RUN_TYPE
from tests.server.routes.techniques.technique_calls import DIGEST, authorised, call, shipped
from tests.server.technique_worlds import INFO, technique_server
from tests.waiting import PATIENCE_S, until


def test_a_call_arrives_whole_and_its_result_comes_back_once(world, backend, client):
    arguments = Packed(b'[["x"],{}]', (b"12345678", memoryview(b"abc")))
    sent = shipped(
        limits=Limits(wall_s=5.0), is_map=True, allow_pickle=True, caller="me", name="at once"
    )
    run = client.submit(replace(sent, arguments=arguments), wait_s=5)
    (came,) = backend.calls
    assert came.shipment == sent.shipment
    assert (came.arguments.tree, [bytes(each) for each in came.arguments.buffers]) == (
        arguments.tree,
        [b"12345678", b"abc"],
    )
    assert (came.is_map, came.allow_pickle, came.limits.wall_s) == (True, True, 5.0)
    assert came.caller == "local/me"
    assert (run.status, run.result.tree, run.result_bytes) == ("succeeded", b"[1]", 13)
    until(lambda: client.run(run.id).result is None)
    with pytest.raises(UnknownName, match="given away already"):
        client.result(run.id)


def test_a_large_result_comes_whole_and_from_where_it_is(backend, world, client):
    backend.size = 20 * 2**20
    run = client.submit(call(name="at once"), wait_s=5)
    assert (run.status, run.result) == ("succeeded", None)
    packed = client.result(run.id)
    assert len(packed.buffers[0]) == backend.size
    assert not np.frombuffer(packed.buffers[0], dtype=np.uint8).any()
    until(lambda: world.service._entries[run.id].result is None)
    with pytest.raises(UnknownName, match="given away already"):
        client.result(run.id)


def test_a_function_is_asked_for_once(backend, client):
    with pytest.raises(NotShipped, match=DIGEST[:12]):
        client.submit(call(DIGEST))
    client.submit(shipped())
    assert client.submit(call(DIGEST)).status == "queued"


def test_lines_and_the_end_come_while_somebody_waits(backend, client):
    run = client.submit(call())
    assert (run.status, run.position) == ("queued", 0)

    def later(act, *given):
        thread = threading.Timer(0.2, act, given)
        thread.start()
        return thread

    thread = later(backend.print, "inner-0", "one")
    seen = client.run(run.id, wait_s=60)
    assert (seen.status, seen.lines, seen.n_lines) == ("running", ("one",), 1)
    thread.join()
    thread = later(backend.end, "inner-0", Packed(b"3"))
    seen = client.run(run.id, after=1, wait_s=60)
    assert (seen.status, seen.lines, seen.result.tree) == ("succeeded", (), b"3")
    thread.join()


def test_a_wait_ends_when_it_was_to(client):
    run = client.submit(call(), wait_s=0.4)
    begun_s = time.monotonic()
    # It never ends: one that waited on would wait for ever.
    assert client.run(run.id, wait_s=0.3).status == "queued"
    assert time.monotonic() - begun_s > 0.25


def test_a_run_is_cancelled_and_can_be_again(backend, client):
    run = client.submit(call())
    client.cancel(run.id)
    assert client.run(run.id, wait_s=5).status == "cancelled"
    client.cancel(run.id)
    with pytest.raises(ConflictError, match="cancelled"):
        client.result(run.id)
    with pytest.raises(UnknownName, match="never submitted"):
        client.result("run-" + "0" * 32)


def test_the_server_describes_what_runs(client):
    assert client.model_info() == INFO
    assert client.environment().versions == {"glassbox": "0.1.0"}
    techniques = client.techniques()
    names = [each.name for each in techniques]
    assert names == sorted(names)
    lens = techniques[names.index("logit_lens")]
    takes = [(each.name, each.type, each.required, each.default) for each in lens.parameters]
    assert takes == [("text", "str", True, None), ("top_k", "int", False, 5)]
    assert lens.parameters[0].doc == "Read token by token."
    assert all(technique.parameters for technique in techniques)


def test_events_stream_until_the_end(world, backend, client):
    run = client.submit(call())
    found = []

    def read():
        target = f"/v1/techniques/runs/{run.id}/events"
        headers = authorised(world, "GET", target)
        with httpx.stream("GET", world.url + target, headers=headers, timeout=PATIENCE_S) as answer:
            found.extend(line for line in answer.iter_lines() if line.startswith("data: "))

    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: found)
    backend.print("inner-0", "hello")
    until(lambda: len(found) > 1)
    backend.end("inner-0", Packed(b"3"))
    thread.join(PATIENCE_S)
    shown = [orjson.loads(line[6:]) for line in found[:-1]]
    assert [each["status"] for each in shown] == ["queued", "running", "succeeded"]
    assert [each["lines"] for each in shown] == [[], ["hello"], []]
    assert found[-1] == "data: [DONE]"


def test_a_session_is_its_callers(world, backend, client):
    session = client.open_session(caller="me", idle_s=9.0)
    assert session == "session of local me"
    client.submit(call(session=session, keep=True))
    assert backend.calls[0].session == session
    with pytest.raises(UnknownName, match="No session 'foreign'"):
        client.submit(call(session="foreign"))
    client.close_session(session)
    client.close_session(session)
    assert not backend.sessions
    with pytest.raises(UnknownName, match="It ended"):
        client.submit(call(session=session))


def test_a_full_line_says_when_to_come_back(backend, client):
    backend.is_full = True
    with pytest.raises(QueueFull, match="7 requests wait already") as caught:
        client.submit(call())
    assert caught.value.retry_after_s == 3.0


def test_an_unknown_built_in_one_is_named(client):
    with pytest.raises(UnknownName, match="'unknown'"):
        client.submit(call("library:unknown"))


def test_every_run_is_in_the_log_and_none_of_its_words(world, backend, client):
    run = client.submit(
        replace(shipped(name="at once", caller="me"), arguments=Packed(b'[["secret words"],{}]')),
        wait_s=5,
    )
    other = client.submit(call())
    backend.end("inner-1", status="failed")
    until(lambda: len(world.log.read()) == 4)
    first, second, third, fourth = world.log.read()
    assert [each.kind for each in (first, second, third, fourth)] == [
        "technique.started",
        "technique.ended",
        "technique.started",
        "technique.ended",
    ]
    assert (first.subject, first.actor, third.subject) == (run.id, "local", other.id)
    assert first.body["technique"] == DIGEST
    assert first.body["name"] == "at once"
    assert first.body["limits"]["wall_s"] is None
    assert (second.body["status"], second.body["result_bytes"]) == ("succeeded", 13)
    assert {"load_s", "queue_s", "run_s"} <= set(second.body)
    assert (fourth.body["status"], fourth.body["error"]) == ("failed", "builtins.ValueError")
    assert world.log.verify().broken is None
    assert "secret" not in str(world.log.read())


def test_what_cannot_be_noted_does_not_run(world, backend, client, monkeypatch):
    def full(*_args, **_more):
        raise technique_runs.CapacityError("The database did not answer: disk I/O error.")

    monkeypatch.setattr(world.log, "append", full)
    with pytest.raises(technique_runs.CapacityError, match="did not answer"):
        client.submit(call())
    assert not backend.calls


def test_limits_are_the_smaller_of_both(backend, tmp_path):
    most = Limits(wall_s=10.0, memory_bytes=1000)
    with (
        technique_server(backend, tmp_path, terms=Terms(most)) as world,
    ):
        client = world.client()
        client.submit(call(limits=Limits(wall_s=60.0, result_bytes=5)))
        client.submit(call(limits=Limits(wall_s=1.0, memory_bytes=10_000)))
        client.close()
    assert backend.calls[0].limits == Limits(wall_s=10.0, memory_bytes=1000, result_bytes=5)
    assert backend.calls[1].limits == Limits(wall_s=1.0, memory_bytes=1000)


def test_a_run_of_a_former_life_is_lost_even_while_the_model_is_loaded(backend, tmp_path):
    with technique_server(backend, tmp_path) as world:
        client = world.client()
        run = client.submit(call())
        done = client.submit(call(name="at once"), wait_s=5)
        client.close()
        # The server goes away in the middle: nothing is written on the way.
        world.service._entries.pop(run.id)
    for is_loaded in (False, True):
        with technique_server(backend, tmp_path, is_loaded=is_loaded) as world:
            client = world.client()
            lost = client.run(run.id, wait_s=5)
            assert lost.status == "lost"
            assert "restarted" in lost.error.message
            ended = client.run(done.id)
            assert ended.status == "lost"
            assert "no longer kept" in ended.error.message
            assert client.run("run-" + "0" * 32).status == "lost"
            client.close()


def test_a_run_ends_in_the_log_when_the_server_ends(backend, tmp_path):
    with technique_server(backend, tmp_path) as world:
        client = world.client()
        client.submit(call())
        client.close()
        world.service.close()
        ends = world.log.read(kinds=["technique.ended"])
        assert [each.body["status"] for each in ends] == ["cancelled"]
        assert backend.is_closed


def test_a_run_whose_caller_went_away_is_cancelled(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(technique_runs, "ABANDON_S", 0.2)
    with technique_server(backend, tmp_path) as world:
        client = world.client(timeout_s=0.3)
        body = b"".join(map(bytes, frame(call_packed(call()))))
        target = "/v1/techniques/runs?wait_s=30"
        headers = {**authorised(world, "POST", target, body=body_digest([body])),
                   "content-type": RUN_TYPE}  # fmt: skip
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                world.url + target,
                headers=headers,
                content=body,
                timeout=httpx.Timeout(PATIENCE_S, read=1.0),
            )
        until(lambda: backend.runs and backend.runs["inner-0"].status == "cancelled")
        client.close()


def test_a_run_that_does_not_let_go_of_the_model_is_reported(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(technique_runs, "GRACE_S", 0.1)
    stuck = []
    with technique_server(backend, tmp_path, on_stuck=stuck.append) as world:
        client = world.client()
        run = client.submit(call(limits=Limits(wall_s=0.1)))
        backend.print("inner-0", "still here")
        until(lambda: stuck)
        assert stuck[0].startswith(run.id)
        assert world.log.read(kinds=["technique.ended"])[0].body["status"] == "lost"
        client.close()


def test_two_clients_have_their_own_runs(backend, world):
    clients = [world.client() for _ in range(2)]
    found = {}

    def work(number):
        found[number] = [clients[number].submit(call(name="at once"), wait_s=5) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = {run.id for runs in found.values() for run in runs}
    assert len(ids) == 20
    assert all(run.status == "succeeded" for runs in found.values() for run in runs)
    for each in clients:
        each.close()


def test_a_repeated_call_is_the_same_run(world, backend, client):
    run_id = "run-" + "7" * 32
    first = world.service.submit(call(), "local", run_id)
    again = world.service.submit(call(), "local", run_id)
    assert first.id == again.id == run_id
    assert len(backend.calls) == 1
    with pytest.raises(UnknownName, match="never submitted by this caller"):
        world.service.submit(call(), "another", run_id)


def test_the_wire_refuses_what_is_no_call():
    from glassbox.techniques.carrying.calls_and_runs import packed_call

    with pytest.raises(InvalidData, match="technique: Field required"):
        packed_call(Packed(b"{}", (b"",)))
