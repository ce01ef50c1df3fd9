"""A model that cannot be loaded ends the server; told to stop while it loads, it stops."""

import signal
import threading

import pytest

from glassbox.errors import ConflictError
from glassbox.runtime import Runtime
from glassbox.server import start
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.process import running
from glassbox.server.process.listening import bind
from glassbox.server.process.running import run_server
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.storage.database import open_database
from glassbox.storage.replicas import ReplicaStore
from glassbox.testing import FakeEngine
from tests.waiting import PATIENCE_S, until


@pytest.fixture(autouse=True)
def quiet_logs(monkeypatch):
    monkeypatch.setattr(running, "set_up_logs", lambda: None)


def run(load, guards, *, stop=None, when=lambda: True, monkeypatch=None):
    """Serve on a thread; return what was raised, None where the server ended well."""
    raised, made = [], []
    listener = bind("127.0.0.1", 0)
    if monkeypatch is not None:
        begin = running.DrainingServer.__init__

        def noted(self, *args):
            begin(self, *args)
            made.append(self)

        monkeypatch.setattr(running.DrainingServer, "__init__", noted)

    def serve():
        try:
            run_server(create_app(None, guards), listener, load, on_ready=lambda _: None)
        except (Exception, SystemExit) as error:  # noqa: BLE001  looked at by the test
            raised.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    if stop is not None:
        until(lambda: made and made[0].started and when())
        made[0].handle_exit(signal.SIGTERM, None)
        stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    listener.close()
    return raised[0] if raised else None


def test_a_fault_of_any_kind_while_loading_ends_the_server(caplog):
    def load():
        raise KeyError("n_head of /secret/path")

    guards = Guards()
    error = run(load, guards)

    assert isinstance(error, KeyError)
    assert guards.lifecycle.stage == "failed"
    assert "secret" not in guards.lifecycle.failure
    assert "KeyError" in caplog.text


def test_a_server_that_is_told_to_stop_while_it_loads_stops(monkeypatch):
    is_told = threading.Event()
    engine = FakeEngine()

    def load():
        is_told.wait(PATIENCE_S)
        return Serving(Speaker(engine, "fake"))

    guards = Guards(limits=ServerSettings(drain_s=0.2))
    assert run(load, guards, stop=is_told, monkeypatch=monkeypatch) is None
    assert guards.lifecycle.stage == "draining"


def test_a_server_that_ends_while_it_loads_is_not_taken_for_lost(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/glassbox.db"
    runtime = Runtime.load({"storage.url": url, "paths.versions": str(tmp_path / "versions")})
    database = open_database(url)
    store = ReplicaStore(database)
    release, is_told = threading.Event(), threading.Event()

    def load_slowly(*_):
        release.wait(2 * PATIENCE_S)
        raise ConflictError("It came too late.")

    monkeypatch.setattr(start, "_assembled", load_slowly)
    guards = Guards(limits=ServerSettings(drain_s=0.2))
    load = lambda: start.assemble(runtime, start.Wanted(), guards)  # noqa: E731
    is_known = lambda: bool(store.fleet().replicas)  # noqa: E731
    assert run(load, guards, stop=is_told, when=is_known, monkeypatch=monkeypatch) is None
    assert [each.status for each in store.fleet().replicas] == ["left"]
    release.set()
    database.close()


def test_a_model_that_is_busy_for_long_does_not_keep_the_process(monkeypatch):
    monkeypatch.setattr(running, "LAST_ANSWERS_S", 0.3)
    release, is_told = threading.Event(), threading.Event()

    class Stuck(FakeEngine):
        def close(self):
            release.wait(2 * PATIENCE_S)
            super().close()

    engine = Stuck()
    guards = Guards(limits=ServerSettings(drain_s=0.1))
    load = lambda: Serving(Speaker(engine, "fake"))  # noqa: E731
    assert run(load, guards, stop=is_told, monkeypatch=monkeypatch) is None
    release.set()


def test_what_was_loaded_is_not_looked_through_for_garbage_while_serving(monkeypatch):
    is_frozen = threading.Event()
    monkeypatch.setattr(running.gc, "freeze", is_frozen.set)
    guards = Guards()

    error = run(
        lambda: Serving(Speaker(FakeEngine(), "fake")),
        guards,
        stop=threading.Event(),
        when=lambda: guards.lifecycle.is_ready,
        monkeypatch=monkeypatch,
    )

    assert error is None
    assert is_frozen.is_set()
