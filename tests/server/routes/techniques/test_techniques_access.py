"""Functions over HTTP: who may, by signature, key, secret of the machine and reviewed list."""

import stat
import time
from dataclasses import replace

import httpx
import pytest

from glassbox.errors import (
    AccessDenied,
    CorruptArtifact,
    InvalidValue,
    UnknownName,
    Unreachable,
    UsageError,
)
from glassbox.server.techniques.terms import Terms, allowed_digests
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.techniques.calls import FINAL, Packed
from glassbox.techniques.carrying.calls_and_runs import call_packed
from glassbox.techniques.packed.framing import frame
from glassbox.techniques.remote.http_backend import HttpBackend
from glassbox.techniques.remote.local_secret import read_secret
from glassbox.techniques.remote.signing import body_digest
from glassbox.wire.techniques import RUN_TYPE
from tests.server.routes.techniques.technique_calls import DIGEST, authorised, call, shipped
from tests.server.technique_worlds import INFO, technique_server
from tests.waiting import PATIENCE_S


def test_only_reviewed_functions_run_where_there_is_a_list(backend, tmp_path):
    terms = Terms(allowed=frozenset({DIGEST}))
    with technique_server(backend, tmp_path, terms=terms) as world:
        client = world.client()
        client.submit(shipped())
        client.submit(call())
        with pytest.raises(AccessDenied, match="not among those that were reviewed"):
            client.submit(shipped(b"another"))
        with pytest.raises(AccessDenied, match="allow_pickle is refused"):
            client.submit(shipped(allow_pickle=True))
        # Of a built-in one the arguments would be code that nobody reviewed.
        with pytest.raises(AccessDenied, match="allow_pickle is refused"):
            client.submit(call(allow_pickle=True))
        forged = shipped(b"another")
        forged = replace(forged, technique=DIGEST, shipment=replace(forged.shipment, digest=DIGEST))
        with pytest.raises(CorruptArtifact, match="not what its digest says"):
            client.submit(forged)
        client.close()
        assert len(backend.calls) == 2
        refused = world.log.read(kinds=["technique.refused"])
        assert [each.body["code"] for each in refused] == [
            "access-denied",
            "access-denied",
            "access-denied",
            "corrupt-artifact",
        ]


def test_a_list_of_digests_is_read_from_a_setting_or_a_file(tmp_path):
    assert allowed_digests(" ") is None
    assert allowed_digests(f"{DIGEST}, {'0' * 64}") == {DIGEST, "0" * 64}
    file = tmp_path / "reviewed.txt"
    file.write_text(f"# reviewed by two people\n\n{DIGEST}  logit lens of ours # ok\n")
    assert allowed_digests(str(file)) == {DIGEST}
    file.write_text("# nothing yet\n")
    assert allowed_digests(str(file)) == frozenset()
    file.write_text("abc\n")
    with pytest.raises(InvalidValue, match="64 hexadecimal digits"):
        allowed_digests(str(file))
    with pytest.raises(InvalidValue, match=r"techniques\.allowed"):
        allowed_digests(str(tmp_path / "absent.txt"))


def refused(world, headers, method="GET", target="/v1/techniques", **more):
    answer = httpx.request(method, world.url + target, headers=headers, timeout=PATIENCE_S, **more)
    return answer.status_code, answer.headers.get("x-glassbox-error"), answer.json()["detail"]


def test_a_request_that_is_not_signed_well_is_refused(world):
    target = "/v1/techniques"
    for headers, words in (
        ({}, "this one is not"),
        ({"authorization": "Bearer x"}, "this one is not"),
        (authorised(world, "GET", target, secret="gbl_guess"), "this server's own secret"),
        (authorised(world, "GET", "/v1/techniques/model"), "not that of this request"),
        (authorised(world, "POST", target), "not that of this request"),
        (authorised(world, "GET", target, now_s=time.time() - 120), " s before this machine"),
        (authorised(world, "GET", target, now_s=time.time() + 120), "ahead of"),
    ):
        status, code, detail = refused(world, headers)
        assert (status, code) == (401, "bad-signature"), words
        assert words in detail


def test_a_request_is_taken_once(world):
    headers = authorised(world, "GET", "/v1/techniques/model")
    answer = httpx.get(f"{world.url}/v1/techniques/model", headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 200
    status, code, detail = refused(world, headers, target="/v1/techniques/model")
    assert (status, code) == (401, "replayed-request")
    assert "taken once" in detail


def test_a_web_page_may_not_even_with_the_secret(world):
    headers = authorised(world, "GET", "/v1/techniques")
    for origin in ("https://evil.example", world.url, "null"):
        status, code, detail = refused(world, {**headers, "origin": origin})
        assert (status, code) == (403, "access-denied")
        assert "web page" in detail


def test_a_changed_body_is_not_run(world, backend):
    target = "/v1/techniques/runs"
    body = b"".join(map(bytes, frame(call_packed(call()))))
    headers = {**authorised(world, "POST", target, body=body_digest([body])),
               "content-type": RUN_TYPE}  # fmt: skip
    changed = body.replace(b"logit_lens", b"steer_lens")
    status, code, detail = refused(world, headers, "POST", target, content=changed)
    assert (status, code) == (401, "bad-signature")
    assert "changed" in detail
    assert not backend.calls


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"no frame", 422),
        (b"".join(map(bytes, frame(Packed(b"{}", (b"",))))), 400),
        (b"".join(map(bytes, frame(Packed(b"no json", (b"",))))), 400),
        (b"".join(map(bytes, frame(Packed(b'{"technique":"library:x"}')))), 400),
        (b"".join(map(bytes, frame(Packed(b'{"technique":"library:x","shipment":{"name":"f"}}',
                                          (b"",))))), 400),
        (b"".join(map(bytes, frame(Packed(b'{"technique":"library:x","more":1}', (b"",))))), 400),
    ],
)  # fmt: skip
def test_a_malformed_call_is_refused(world, backend, body, status):
    target = "/v1/techniques/runs"
    signature = authorised(world, "POST", target, body=body_digest([body]))
    headers = {**signature, "content-type": RUN_TYPE}
    found, _, _ = refused(world, headers, "POST", target, content=body)
    assert found == status
    assert not backend.calls


def test_a_call_as_json_is_another_media_type(world):
    target = "/v1/techniques/runs"
    headers = {**authorised(world, "POST", target, body=body_digest([b"{}"])),
               "content-type": "application/json"}  # fmt: skip
    status, code, detail = refused(world, headers, "POST", target, content=b"{}")
    assert (status, code) == (415, "unsupported-media-type")
    assert RUN_TYPE in detail


def test_too_large_a_call_is_refused(backend, tmp_path):
    with technique_server(backend, tmp_path, max_body_bytes=2**16) as world:
        client = world.client()
        large = replace(call(), arguments=Packed(b"[]", (bytes(2**17),)))
        with pytest.raises((UsageError, Unreachable), match=r"larger than|broke off"):
            client.submit(large)
        client.close()
    assert not backend.calls


def test_a_server_without_techniques_says_so(tmp_path):
    from glassbox.testing import FakeEngine
    from tests.server.technique_worlds import live
    from tests.server.worlds import serve as app_over

    engine = FakeEngine()
    with live(app_over(engine)) as url:
        client = HttpBackend(url, api_key="gbx_" + "x" * 43)
        with pytest.raises(AccessDenied, match="--techniques"):
            client.submit(call())
        with pytest.raises(AccessDenied, match="runs no functions"):
            client.start(lambda _what, _share: None)
        client.close()


def test_a_run_of_one_key_is_not_anothers(backend, tmp_path):
    keys = KeyStore(open_database(f"sqlite:///{tmp_path}/keys.db"))
    secrets = [keys.create(name, ["techniques"])[1] for name in ("one", "two")]
    _, weak = keys.create("weak", ["predict"])
    with technique_server(backend, tmp_path, keys=keys) as world:
        one, two = (world.client(api_key=each, secret_file=None) for each in secrets)
        run = one.submit(call(caller="whoever"))
        assert backend.calls[0].caller == keys.all()[0].id
        assert two.run(run.id).status == "lost"
        two.cancel(run.id)
        assert one.run(run.id).status not in FINAL
        session = one.open_session()
        two.close_session(session)
        assert backend.sessions
        with pytest.raises(UnknownName, match="another caller's"):
            two.submit(call(session=session))
        three = world.client(api_key=weak, secret_file=None)
        with pytest.raises(AccessDenied, match="needs 'techniques'"):
            three.submit(call())
        four = world.client(api_key="gbx_" + "x" * 43, secret_file=None)
        with pytest.raises(AccessDenied, match="No key of this server signs"):
            four.submit(call())
        # The local secret opens nothing any more.
        five = world.client()
        with pytest.raises(AccessDenied, match="Keys were made for this server"):
            five.submit(call())
        for each in (one, two, three, four, five):
            each.close()


def test_a_key_signed_before_the_server_started_is_refused(backend, tmp_path):
    keys = KeyStore(open_database(f"sqlite:///{tmp_path}/keys.db"))
    _, secret = keys.create("one", ["admin"])
    with technique_server(backend, tmp_path, keys=keys) as world:
        headers = authorised(world, "GET", "/v1/techniques", secret=secret,
                             now_s=time.time() - 30)  # fmt: skip
        status, code, detail = refused(world, headers)
        assert (status, code) == (401, "bad-signature")
        assert "before this server started" in detail


def test_the_secret_is_for_its_owner_alone(world, tmp_path):
    assert stat.S_IMODE(world.secret_file.stat().st_mode) == 0o600
    world.secret_file.chmod(0o644)
    with pytest.raises(AccessDenied, match="not yours alone"):
        read_secret(world.secret_file)
    assert read_secret(tmp_path / "absent") is None


def test_the_secret_goes_with_its_server(backend, tmp_path):
    with technique_server(backend, tmp_path) as world:
        file = world.secret_file
        assert file.exists()
    assert not file.exists()
    assert not list(file.parent.iterdir())


def test_a_client_finds_the_new_secret_of_a_server_that_was_restarted(backend, tmp_path):
    with technique_server(backend, tmp_path) as world:
        client = world.client()
        client.model_info()
    with technique_server(backend, tmp_path) as world:
        moved = world.client()
        moved._key = client._key
        assert moved.model_info() == INFO
        moved.close()
    client.close()
