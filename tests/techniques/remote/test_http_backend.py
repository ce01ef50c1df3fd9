"""The client's half over HTTP, where servers break off, are away, load or have changed."""

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from glassbox.errors import (
    AccessDenied,
    CapacityError,
    IntegrityError,
    InvalidValue,
    Unreachable,
)
from glassbox.techniques.calls import Call, Packed, Run
from glassbox.techniques.carrying.calls_and_runs import packed_call, run_packed
from glassbox.techniques.packed.framing import frame, unframe
from glassbox.techniques.remote import http_backend
from glassbox.techniques.remote.http_backend import HttpBackend
from glassbox.techniques.remote.local_secret import local_secret, secret_path
from glassbox.wire.techniques import RUN_TYPE
from tests.waiting import PATIENCE_S

CALL = Call("library:x", "x", Packed(b"[[],{}]"))
RUN = "run-" + "0" * 32


class Server(httpx.BaseTransport):
    """Answers requests one after another with what a test has prepared."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.bodies = []

    def handle_request(self, request):
        self.asked.append((request.method, request.url.path))
        self.bodies.append(b"".join(map(bytes, request.stream)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


def run_answer(status="succeeded", run_id=RUN):
    return answer_of(b"".join(map(bytes, frame(run_packed(Run(run_id, status))))))


def answer_of(body, **headers):
    """Return what makes an answer anew each time it is asked for."""
    named = {"content-type": RUN_TYPE, "content-length": str(len(body)), **headers}
    return lambda _request: httpx.Response(200, stream=httpx.ByteStream(body), headers=named)


def problem(status, code, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request: httpx.Response(
        status,
        json={"code": code, "detail": f"It is {code}."},
        headers={"x-glassbox-error": code, **named},
    )


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(http_backend, "PAUSES_S", (0.0, 0.0, 0.0, 0.01))


def backend(*answers, **options):
    server = Server(*answers)
    given = {"api_key": "gbx_" + "x" * 43, "timeout_s": 1.0, **options}
    return server, HttpBackend("http://127.0.0.1:1", transport=server, **given)


def paths(server):
    return [f"{method} {path.rpartition('/')[2][:4]}" for method, path in server.asked]


def test_a_call_that_broke_off_is_asked_for_by_its_name_and_not_sent_again():
    server, client = backend(httpx.ReadError("broken"), run_answer("running"))
    assert client.submit(CALL).status == "running"
    assert paths(server) == ["POST runs", "GET run-"]
    _, name = packed_call(unframe(bytearray(server.bodies[0])))
    assert server.asked[1][1].endswith(str(name))


def test_a_call_that_never_arrived_is_sent_again_under_the_same_name():
    server, client = backend(
        httpx.RemoteProtocolError("gone"), problem(404, "unknown-name"), run_answer("queued")
    )
    assert client.submit(CALL).status == "queued"
    assert paths(server) == ["POST runs", "GET run-", "POST runs"]
    names = {packed_call(unframe(bytearray(server.bodies[at])))[1] for at in (0, 2)}
    assert len(names) == 1


def test_what_a_server_has_answered_is_the_answer():
    server, client = backend(problem(503, "unreachable"), run_answer("cancelled"))
    with pytest.raises(Unreachable, match="It is unreachable"):
        client.submit(CALL)
    assert paths(server) == ["POST runs"]
    # The same, where the connection broke off before the answer came.
    server, client = backend(httpx.ReadError("broken"), problem(503, "unreachable"))
    with pytest.raises(Unreachable, match="It is unreachable") as caught:
        client.submit(CALL)
    assert not caught.value.never_arrived


def test_a_server_that_is_away_is_unreachable():
    server, client = backend(httpx.ConnectError("refused"))
    with pytest.raises(Unreachable, match="No server answers at http") as caught:
        client.submit(CALL)
    assert caught.value.never_arrived
    assert paths(server) == ["POST runs"]
    server, client = backend(httpx.ReadError("broken"))
    with pytest.raises(Unreachable, match="broke off") as caught:
        client.submit(CALL)
    assert not caught.value.never_arrived
    assert paths(server).count("POST runs") == 1
    server, client = backend(httpx.ConnectError("refused"))
    with pytest.raises(Unreachable, match="No server answers"):
        client.run(RUN)


def test_a_question_is_repeated_until_it_is_answered():
    broken = httpx.ReadError("broken")
    server, client = backend(broken, broken, run_answer())
    assert client.run(RUN).status == "succeeded"
    assert len(server.asked) == 3


def test_a_server_that_does_not_answer_in_time_is_unreachable():
    _, client = backend(httpx.ReadTimeout("slow"))
    with pytest.raises(Unreachable, match="did not answer within 1 s"):
        client.model_info()


def test_a_run_that_the_server_does_not_know_is_lost():
    _, client = backend(problem(404, "unknown-name"))
    run = client.run(RUN)
    assert (run.id, run.status) == (RUN, "lost")
    assert run.error is not None
    assert "does not know it" in run.error.message


def test_a_server_that_loads_is_waited_for_a_while():
    server, client = backend(problem(503, "not-ready", retry_after="0.01"), run_answer("queued"))
    assert client.submit(CALL).status == "queued"
    assert len(server.asked) == 2
    _, client = backend(problem(503, "not-ready", retry_after="5"))
    with pytest.raises(CapacityError, match="still loading its model"):
        client.submit(CALL)


def test_whoever_answers_otherwise_is_no_server_of_ours():
    for body in (b"<html>welcome to the proxy of this company</html>", b"{}", b"GBXPACK2" * 4):
        _, client = backend(answer_of(body))
        with pytest.raises(IntegrityError, match=r"frame|bytes"):
            client.run(RUN)


def test_every_request_is_signed_anew():
    server, client = backend(httpx.ReadError("broken"), run_answer())
    seen = []

    def note(request):
        seen.append(request.headers["authorization"])
        raise httpx.ReadError("broken")

    server.answers = [note, note, run_answer()]
    client.run(RUN)
    assert len(set(seen)) == 2
    assert all(each.startswith("Glassbox-HMAC-SHA256 key=") for each in seen)
    assert not any("gbx_" in each for each in seen)


def test_another_machine_needs_a_key():
    with pytest.raises(InvalidValue, match=r"not this machine \(glassbox keys create"):
        HttpBackend("http://models.example:8787")
    with pytest.raises(InvalidValue, match="an address such as"):
        HttpBackend("ray")


def test_without_a_secret_there_is_no_server_of_this_account(tmp_path):
    _, client = backend(run_answer(), api_key=None, secret_file=tmp_path / "1.secret")
    with pytest.raises(Unreachable, match="techniques process"):
        client.run(RUN)


def test_a_server_that_takes_connections_before_its_secret_is_written_is_waited_for(tmp_path):
    done = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    with contextlib.ExitStack() as at_end, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = listener.getsockname()[1]

        def start():
            """Serve as a server does that is still importing when its first client comes."""
            with listener.accept()[0] as connection:
                first = connection.recv(65536)
                at_end.enter_context(local_secret(tmp_path, port))
                connection.sendall(done)
            with listener.accept()[0] as connection:
                second = connection.recv(65536)
                connection.sendall(done)
            return first, second

        client = HttpBackend(f"http://127.0.0.1:{port}", secret_file=secret_path(tmp_path, port))
        with ThreadPoolExecutor(1) as threads:
            seen = threads.submit(start)
            client.cancel(RUN)
            first, second = seen.result(PATIENCE_S)
        client.close()
    assert b"authorization" not in first.lower()
    assert b"authorization: glassbox-hmac-sha256 key=" in second.lower()


def test_a_new_secret_is_read_once_when_the_old_one_is_refused(tmp_path):
    refused = problem(401, "bad-signature")
    file = secret_path(tmp_path, 1)
    with local_secret(tmp_path, 1):
        server, client = backend(refused, run_answer(), api_key=None, secret_file=file)
        with pytest.raises(AccessDenied, match="bad-signature"):
            client.run(RUN)
        assert len(server.asked) == 1
        client.run(RUN)
    with local_secret(tmp_path, 1):
        server.answers = [refused, run_answer()]
        assert client.run(RUN).status == "succeeded"


def test_an_answer_that_a_proxy_cut_into_pieces_is_whole():
    body = b"".join(map(bytes, frame(run_packed(Run(RUN, "queued")))))
    _, client = backend(
        lambda _request: httpx.Response(
            200, stream=httpx.ByteStream(body), headers={"transfer-encoding": "chunked"}
        )
    )
    assert client.run(RUN).status == "queued"
