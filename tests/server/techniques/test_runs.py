"""Runs on one server: calls that never began, a backend that has failed, results nobody fetches."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from glassbox.errors import (
    CapacityError,
    ConflictError,
    QueueFull,
    UnknownName,
    Unreachable,
)
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.routes import techniques as route
from glassbox.server.serving import Serving
from glassbox.server.techniques import entries
from glassbox.server.techniques import runs as technique_runs
from glassbox.server.techniques.entries import HeldResults, OwnedSessions
from glassbox.server.translation.speech import Speaker
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.techniques.calls import Call, Packed
from glassbox.testing import FakeEngine
from tests.server.technique_worlds import INFO, StubBackend, technique_server
from tests.waiting import PATIENCE_S, until

RUN = "run-" + "7" * 32


def call(name="waits", **more):
    return Call("library:logit_lens", name, Packed(b"[[],{}]"), **more)


class Held(StubBackend):
    """Blocks whoever submits, as a worker does that is held up or being started."""

    def __init__(self):
        super().__init__()
        self.go_on = threading.Event()
        self.n_blocked = 0

    def submit(self, call, *, wait_s=0.0):
        self.n_blocked += 1
        assert self.go_on.wait(PATIENCE_S)
        return super().submit(call, wait_s=wait_s)


def test_submits_that_block_keep_nobody_else_from_an_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(route, "MOST_WAITING", 15, raising=False)
    backend = Held()
    keys = KeyStore(open_database(f"sqlite:///{tmp_path}/keys.db"))
    _, secret = keys.create("one", ["techniques", "predict"])
    with technique_server(backend, tmp_path, keys=keys) as world:
        client = world.client(api_key=secret, secret_file=None)
        with ThreadPoolExecutor(47) as pool:
            try:
                sent = [pool.submit(client.submit, call()) for _ in range(47)]
                until(lambda: backend.n_blocked >= 32)
                gate = world.app.state.guards.techniques
                until(lambda: gate.at_a_time.submitting.statistics().tasks_waiting == 15)
                assert client.model_info() == INFO
                bearer = {"authorization": f"Bearer {secret}"}
                models = f"{world.url}/v1/models"
                assert httpx.get(models, headers=bearer, timeout=PATIENCE_S).is_success
                with pytest.raises(CapacityError, match="Try again later"):
                    client.submit(call())
            finally:
                backend.go_on.set()
                found = {each.result().status for each in sent}
                client.close()
        assert found == {"queued"}


class Failed(StubBackend):
    """Takes no call any more once a test says so."""

    failure = ""


def test_a_backend_that_has_failed_gives_the_server_up_with_its_runs_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(technique_runs, "FAREWELL_S", 0.1, raising=False)
    monkeypatch.setattr(technique_runs, "LOOK_S", 0.1, raising=False)
    stuck, backend = [], Failed()
    with technique_server(backend, tmp_path, on_stuck=stuck.append) as world:
        world.service.submit(call(name="at once"), "local")
        world.service.submit(call(), "local")
        backend.failure = "Its model came back changed."
        until(lambda: stuck)
        assert "came back changed" in stuck[0]
        ends = world.log.read(kinds=["technique.ended"])
        assert [each.body["status"] for each in ends] == ["succeeded", "lost"]


def test_a_backend_that_is_closed_with_its_server_has_not_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(technique_runs, "FAREWELL_S", 0.0, raising=False)
    monkeypatch.setattr(technique_runs, "LOOK_S", 0.01, raising=False)
    stuck, backend = [], Failed()
    with technique_server(backend, tmp_path, on_stuck=stuck.append) as world:
        world.service.close()
        backend.failure = "The desk is closed."
        time.sleep(0.1)
    assert not stuck


@pytest.mark.anyio
async def test_a_server_whose_engine_refuses_is_not_ready():
    engine = FakeEngine()
    app = create_app(Serving(Speaker(engine, "fake")), Guards())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/readyz")).status_code == 200
        engine.failure = "The engine is closed: load the model again."
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.headers["x-glassbox-error"]) == (503, "not-ready")
        assert "load the model again" in answer.json()["detail"]
        assert (await client.get("/livez")).status_code == 200
    engine.close()


@pytest.fixture
def backend():
    return StubBackend()


@pytest.fixture
def service(backend, tmp_path):
    with technique_server(backend, tmp_path) as world:
        yield world.service


def test_why_a_run_never_began_is_said_to_whoever_asks_by_its_name(service, backend, monkeypatch):
    def away(_call, *, wait_s=0.0):
        raise Unreachable("The worker does not answer.")

    monkeypatch.setattr(backend, "submit", away)
    for _ in range(2):
        with pytest.raises(Unreachable, match="worker does not answer"):
            service.submit(call(), "local", RUN)
        with pytest.raises(Unreachable, match="worker does not answer"):
            service.run(RUN, "local")
    assert service.n_active == 0
    service.cancel(RUN, "local")
    assert len(service.record.log.read(kinds=["technique.ended"])) == 1


def test_a_line_that_was_full_is_said_with_when_to_come_back(service, backend):
    backend.is_full = True
    with pytest.raises(QueueFull):
        service.submit(call(), "local", RUN)
    with pytest.raises(QueueFull) as caught:
        service.run(RUN, "local")
    assert caught.value.retry_after_s == 3.0


def test_a_call_repeated_while_it_is_noted_is_the_same_run(service, backend, monkeypatch):
    noting, go_on = threading.Event(), threading.Event()
    append = service.record.log.append

    def slow(*given, **more):
        noting.set()
        assert go_on.wait(PATIENCE_S)
        return append(*given, **more)

    monkeypatch.setattr(service.record.log, "append", slow)
    thread = threading.Thread(target=lambda: service.submit(call(), "local", RUN))
    thread.start()
    assert noting.wait(PATIENCE_S)
    assert service.run(RUN, "local").status == "queued"
    again = threading.Thread(target=go_on.set)
    again.start()
    assert service.submit(call(), "local", RUN).id == RUN
    thread.join()
    again.join()
    assert len(backend.calls) == 1
    assert len(service.record.log.read(kinds=["technique.started"])) == 1


def test_a_run_that_comes_while_old_ones_are_forgotten_hurts_nobody(service):
    class Moment(float):
        """An end; while it is looked at, another run comes."""

        def __rsub__(self, now):
            service.submit(call(), "local")
            return 0.0

    for _ in range(2):
        run = service.submit(call(name="at once"), "local")
        service._entries[run.id].ended_s = Moment()
    service._forget()
    assert len(service._entries) >= 4


def test_results_that_nobody_fetches_are_dropped_oldest_first(service, backend, caplog):
    service._held = HeldResults(25 * 2**20)
    backend.size = 10 * 2**20
    runs = [service.submit(call(name="at once"), "local").id for _ in range(3)]
    assert service._entries[runs[0]].result is None
    assert f"the result of {runs[0]} was dropped" in caplog.text
    with pytest.raises(UnknownName, match=r"25 MiB waited\. Run it again"):
        service.result(runs[0], "local")
    assert service.result(runs[2], "local").n_bytes > 10 * 2**20
    service.delivered(runs[2])
    later = service.submit(call(name="at once"), "local").id
    assert service.result(runs[1], "local").n_bytes
    assert service.result(later, "local").n_bytes


def test_a_run_that_has_not_begun_has_no_result(service, backend, monkeypatch):
    monkeypatch.setattr(backend, "submit", lambda _call, wait_s=0.0: [][0])
    with pytest.raises(IndexError):
        service.submit(call(), "local", RUN)
    assert service.run(RUN, "local").status == "cancelled"
    with pytest.raises(ConflictError, match="has not begun"):
        service.result(RUN, "local")


def test_sessions_are_forgotten_when_they_have_surely_ended():
    now = [0.0]
    sessions = OwnedSessions(lambda: now[0])
    sessions.opened("one", "me")
    sessions.opened("two", "me")
    sessions.opened("three", "me")
    now[0] = entries.SESSION_S
    sessions.used("two")
    now[0] += 1.0
    sessions.forget({"three"})
    assert (sessions.is_of("one", "me"), len(sessions)) == (False, 2)
    with pytest.raises(UnknownName, match="It ended"):
        sessions.require("one", "me")
    with pytest.raises(UnknownName, match="another caller's"):
        sessions.require("two", "you")
