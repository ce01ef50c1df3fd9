"""A server that runs functions, on a loopback port, and a backend without a model behind it."""

import asyncio
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn

from glassbox.audit import AuditLog
from glassbox.errors import ConflictError, NotShipped, QueueFull, TechniqueFailed, UnknownName
from glassbox.server.access.guards import Guards, TechniqueGate
from glassbox.server.access.key_ring import KeyRing
from glassbox.server.access.signatures import Signatures
from glassbox.server.app import begin_serving, create_app
from glassbox.server.process.listening import bind
from glassbox.server.serving import Serving
from glassbox.server.techniques.record import TechniqueRecord
from glassbox.server.techniques.runs import TechniqueService
from glassbox.server.translation.speech import Speaker
from glassbox.storage.database import open_database
from glassbox.storage.signing_keys import signing_key
from glassbox.techniques.calls import FINAL, Call, Environment, ModelInfo, Packed, RemoteError, Run
from glassbox.techniques.remote.http_backend import HttpBackend
from glassbox.techniques.remote.local_secret import local_secret, secret_path
from glassbox.techniques.remote.signing import AHEAD_S, body_digest, signed
from glassbox.testing import FakeEngine
from tests.waiting import PATIENCE_S, until

INFO = ModelInfo(
    "fake", "d" * 64, "llama", "float32", "cpu", 2, 8, 2, 64, 1000, 128, is_isolated=False
)


@contextmanager
def live(app):
    """Yield the address of an app that listens on a port of this machine."""
    listener = bind("127.0.0.1", 0)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    until(lambda: server.started, "the server")
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()


class StubBackend:
    """Runs nothing: a run ends when a test says so, or at once with what it was given."""

    def __init__(self):
        self.shipped = set()
        self.runs = {}
        self.calls = []
        self.sessions = set()
        self.changed = threading.Condition()
        self.is_full = False
        self.is_closed = False
        self.size = 10

    def start(self, progress):
        progress("there", 1.0)

    def environment(self):
        return Environment("3.11.0", {"glassbox": "0.1.0"}, ("math",))

    def model_info(self):
        return INFO

    def submit(self, call: Call, *, wait_s=0.0):
        if self.is_full:
            raise QueueFull(7, 3.0)
        if call.shipment is not None:
            self.shipped.add(call.technique)
        elif not call.technique.startswith("library:") and call.technique not in self.shipped:
            raise NotShipped(call.technique)
        if call.technique == "library:unknown":
            raise UnknownName("built-in technique", "unknown")
        run = Run(f"inner-{len(self.runs)}", "queued", position=0)
        with self.changed:
            self.calls.append(call)
            self.runs[run.id] = run
        if call.name == "at once":
            self.end(run.id, Packed(b"[1]", (bytes(self.size),)))
        return self.run(run.id, wait_s=wait_s)

    def run(self, run_id, *, after=0, wait_s=0.0):
        until_s = time.monotonic() + wait_s
        with self.changed:
            if run_id not in self.runs:
                return Run(run_id, "lost")
            while self.runs[run_id].status not in FINAL and self.runs[run_id].n_lines <= after:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    break
                self.changed.wait(left_s)
            run = self.runs[run_id]
            return replace(run, lines=run.lines[after:])

    def result(self, run_id):
        with self.changed:
            run = self.runs[run_id]
            if run.result is None:
                raise ConflictError(f"The run {run_id} has no result: it has {run.status}.")
            self.runs[run_id] = replace(run, result=None)
            return run.result

    def cancel(self, run_id):
        self.end(run_id, status="cancelled")

    def open_session(self, *, caller="", idle_s=None):
        session = f"session of {caller.replace('/', ' ')}"
        self.sessions.add(session)
        return session

    def close_session(self, session):
        self.sessions.discard(session)

    def close(self):
        self.is_closed = True

    def end(self, run_id, result=None, status="succeeded"):
        with self.changed:
            run = self.runs[run_id]
            if run.status in FINAL:
                return
            error = None
            if status != "succeeded":
                error = RemoteError("builtins.ValueError", "no", "", code=TechniqueFailed.code)
            n_bytes = 0 if result is None else result.n_bytes
            self.runs[run_id] = replace(
                run, status=status, result=result, result_bytes=n_bytes, error=error, position=None
            )
            self.changed.notify_all()

    def print(self, run_id, line):
        with self.changed:
            run = self.runs[run_id]
            self.runs[run_id] = replace(
                run,
                status="running",
                position=None,
                lines=(*run.lines, line),
                n_lines=run.n_lines + 1,
            )
            self.changed.notify_all()


@dataclass
class World:
    """A running server and its parts."""

    url: str
    secret_file: Path
    service: TechniqueService
    log: AuditLog
    backend: object
    app: object

    def client(self, **options):
        return HttpBackend(self.url, **{"secret_file": self.secret_file, **options})


@contextmanager
def technique_server(
    backend, folder, *, terms=None, keys=None, is_loaded=True, max_body_bytes=2**28, **options
):
    """Yield a server whose functions a backend runs; its files are below ``folder``."""
    database = open_database(f"sqlite:///{folder}/audit.db")
    log = AuditLog(database)
    engine = FakeEngine()
    with local_secret(folder, 1) as secret:
        record = TechniqueRecord(log, "shared", server="here:1")
        service = TechniqueService(backend, record, terms, **options)
        signatures = Signatures(secret)
        # Long enough ago that no request could be one of a former life.
        signatures._started_s -= AHEAD_S
        gate = TechniqueGate(signatures, record, max_body_bytes)
        app = create_app(None, Guards(keys=KeyRing(keys), techniques=gate))
        if is_loaded:
            begin_serving(app, Serving(Speaker(engine, "fake"), techniques=service))
        try:
            with live(app) as url:
                yield World(url, secret_path(folder, 1), service, log, backend, app)
        finally:
            service.close()
            engine.close()
            database.close()


class Signing:
    """An app in front of another that signs whatever comes, as a client with the secret would."""

    def __init__(self, app, secret):
        self.app = app
        self.key = signing_key(secret)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or not scope["path"].startswith("/v1/techniques"):
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        target = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        header = signed(
            self.key, scope["method"], target, now_s=time.time(), body=body_digest([body])
        )
        kept = [each for each in scope["headers"] if each[0] not in (b"authorization", b"origin")]
        headers = [*kept, (b"authorization", header.encode())]
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay():
            return next(messages, None) or await receive()

        await self.app({**scope, "headers": headers}, replay, send)
