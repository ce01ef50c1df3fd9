"""An endpoint of SageMaker under a client: what is sent, what comes back, what goes wrong."""

import hashlib
import json

import httpx
import pytest

from glassbox.client import AsyncClient, Client
from glassbox.client.problems import Retries
from glassbox.client.sagemaker_address import Endpoint, endpoint_of
from glassbox.client.sagemaker_transport import SageMakerTransport, asked_of, headers_of
from glassbox.errors import (
    AccessDenied,
    CapacityError,
    CorruptArtifact,
    DeadlineExceeded,
    GlassboxError,
    InvalidValue,
    QueueFull,
    UnknownName,
    Unreachable,
    UsageError,
)
from glassbox.types import Capture, HookPoint
from glassbox.wire.invocation_attributes import MOST_BODY_BYTES, read_attributes
from tests.sagemaker_platform import Platform

boto3 = pytest.importorskip("boto3")

URL = "sagemaker://our-endpoint?region=eu-west-1"
ENDPOINT = Endpoint("our-endpoint", "eu-west-1")
MODELS = {"object": "list", "data": []}


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def waits(monkeypatch):
    """Seconds that a client has waited before it asked again."""
    waited = []
    monkeypatch.setattr("glassbox.client.blocking.time.sleep", waited.append)
    return waited


def behind(answer=None, *, retries=0, url=URL):
    """Return a client of an endpoint whose container gives one answer, and the platform."""

    def handle(_request):
        return answer or httpx.Response(200, json=MODELS)

    platform = Platform(httpx.MockTransport(handle))
    transport = SageMakerTransport(endpoint_of(url), 5.0)
    platform.behind(transport.runtime)
    return Client(url, transport=transport, retries=Retries(retries)), platform


def request(method, path, **options):
    return httpx.Request(method, f"sagemaker://x{path}", **options)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("sagemaker://My-Endpoint", Endpoint("My-Endpoint")),
        ("sagemaker://a?region=eu-west-1", Endpoint("a", "eu-west-1")),
        (
            "SageMaker://a/?profile=me&variant=primary&component=base&region=us-east-1",
            Endpoint("a", "us-east-1", "me", "primary", "base"),
        ),
    ],
)
def test_an_address_names_an_endpoint(url, endpoint):
    assert endpoint_of(url) == endpoint


@pytest.mark.parametrize(
    ("url", "error", "match"),
    [
        ("sagemaker://", InvalidValue, "an address such as sagemaker://ENDPOINT"),
        ("sagemaker://a_b", InvalidValue, "letters, digits and dashes"),
        ("sagemaker://a/v1", InvalidValue, "an address such as"),
        ("sagemaker://a?regoin=x", UnknownName, "Did you mean 'region'"),
        ("sagemaker://a?region=", InvalidValue, "one value"),
        ("sagemaker://a?region=x&region=y", InvalidValue, "one value"),
    ],
)
def test_an_address_that_is_none_says_what_one_looks_like(url, error, match):
    for make in (Client, AsyncClient):
        with pytest.raises(error, match=match):
            make(url)


def test_a_route_travels_in_the_custom_attributes():
    asked = asked_of(
        request("POST", "/v1/classify", content=b"{}", headers={"x-request-timeout": "30"}),
        Endpoint("a", "r", variant="blue", component="base"),
    )
    assert asked.parameters["CustomAttributes"] == (
        "glassbox-path=/v1/classify,glassbox-method=POST,glassbox-timeout=30"
    )
    assert asked.parameters["TargetVariant"] == "blue"
    assert asked.parameters["InferenceComponentName"] == "base"
    assert asked.parameters["ContentType"] == "application/json"
    assert not asked.is_stream


def test_the_shadow_selfs_own_request_names_no_route():
    assert "CustomAttributes" not in asked_of(request("POST", "/invocations"), ENDPOINT).parameters


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_asked_by_what_a_container_answers_only_when_it_is_well(path):
    said = asked_of(request("GET", path), ENDPOINT).parameters["CustomAttributes"]
    assert read_attributes(said)["glassbox-path"] == "/v1/models"


@pytest.mark.parametrize(
    "call",
    [
        lambda ask: ask.adapters(),
        lambda ask: ask.load_adapter("a", "/tmp"),
        lambda ask: ask.unload_adapter("a"),
        lambda ask: ask.predict({"text": "a"}),
        lambda ask: ask.versions(),
        lambda ask: ask.studies(),
    ],
)
def test_what_an_endpoint_does_not_carry_is_refused_before_anything_is_sent(call):
    client, platform = behind()
    with pytest.raises(UsageError, match=r"does not carry .* it carries GET /v1/models"):
        call(client)
    assert platform.asked == []


def test_a_request_that_is_too_large_is_refused_before_it_is_sent():
    with pytest.raises(UsageError, match="6,291,457 bytes; SageMaker takes 6,291,456"):
        asked_of(request("POST", "/v1/states", content=b"x" * (MOST_BODY_BYTES + 1)), ENDPOINT)


def test_a_key_is_refused_because_the_platform_is_the_guard():
    with pytest.raises(UsageError, match="takes no API key"):
        Client(URL, key="gbx_1")


def test_a_key_of_the_environment_stays_here(monkeypatch):
    monkeypatch.setenv("GLASSBOX_API_KEY", "gbx_secret")
    client, platform = behind()
    client.models()
    assert "gbx_secret" not in str(platform.asked)


def test_our_attributes_of_an_answer_are_headers_again():
    said = "glassbox-version=1.2,glassbox-bundle=ab,theirs=1"
    headers = headers_of({"CustomAttributes": said, "ContentType": "text/plain"})
    assert headers == {
        "glassbox-version": "1.2", "glassbox-bundle": "ab", "content-type": "text/plain"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "error", "match"),
    [
        ((400, "ThrottlingException", "Rate exceeded"), QueueFull, "Rate exceeded.*larger quota"),
        ((503, "ServiceUnavailable", "busy"), CapacityError, "ServiceUnavailable: busy.*minutes"),
        ((429, "ModelNotReadyException", "waking"), CapacityError, "waking"),
        ((500, "InternalFailure", "oh"), CapacityError, "try again"),
        ((403, "AccessDeniedException", "no"), AccessDenied, "sagemaker:InvokeEndpoint"),
        ((403, "ExpiredTokenException", "old"), AccessDenied, "aws sso login"),
        ((403, "UnrecognizedClientException", "who"), AccessDenied, "credentials"),
        ((400, "ValidationError", "Variant x is none"), UsageError, "Variant x is none"),
        ((413, "RequestEntityTooLarge", "large"), UsageError, "large"),
    ],
)
def test_the_services_errors_become_ours(fault, error, match):
    client, platform = behind()
    platform.faults = [fault]
    with pytest.raises(error, match=match) as raised:
        client.models()
    assert type(raised.value) is error


def test_an_endpoint_that_is_not_there_says_where_it_was_looked_for():
    client, _ = behind(url=URL.replace("our", "gone"))
    with pytest.raises(UnknownName, match=r"gone-endpoint.*region than eu-west-1.*deploy"):
        client.models()


def test_throttled_requests_are_sent_again_with_longer_and_longer_waits(waits):
    client, platform = behind(retries=4)
    platform.faults = [(400, "ThrottlingException", "Rate exceeded")] * 3
    assert client.models() == []
    assert len(platform.asked) == 4
    for least, wait in zip((0.25, 0.5, 1.0), waits, strict=True):
        assert least <= wait <= 1.25 * least


def test_a_full_container_says_when_to_come_back(waits):
    problem = {"code": "queue-full", "detail": "7 requests wait.", "retry_after_s": 3.0}
    client, _ = behind(httpx.Response(429, json=problem), retries=2)
    with pytest.raises(QueueFull, match="7 requests wait") as raised:
        client.models()
    assert raised.value.retry_after_s == 3.0
    assert all(3.0 <= wait <= 3.75 for wait in waits)
    assert len(waits) == 2


def test_a_container_of_another_kind_is_an_error_with_its_words():
    client, _ = behind(httpx.Response(500, text="Traceback …"))
    with pytest.raises(GlassboxError, match="answered 500: Traceback"):
        client.models()


@pytest.mark.parametrize(
    ("message", "error", "match"),
    [
        ("Your invocation timed out while waiting for a response from container primary.",
         DeadlineExceeded, "within 60 s, the most that SageMaker waits"),
        ("container exited", CapacityError, "went away before it answered .container exited"),
    ],
)  # fmt: skip
def test_a_container_that_does_not_answer(message, error, match):
    client, platform = behind()
    platform.model_error = (0, message)
    with pytest.raises(error, match=match):
        client.models()


def test_an_answer_that_the_platform_does_not_carry():
    client, _ = behind(httpx.Response(200, content=b" " * 25_000_000))
    with pytest.raises(CapacityError, match=r"larger than SageMaker sends.*pooled states"):
        client.models()


def test_a_stream_that_breaks_off_is_not_taken_for_a_text():
    chunk = {"id": "1", "object": "text_completion", "created": 1, "model": "m",
             "choices": [], "system_fingerprint": "f"}  # fmt: skip
    lines = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for _ in range(20))
    stream = httpx.Response(200, content=lines, headers={"content-type": "text/event-stream"})
    client, platform = behind(stream)
    platform.breaks_after = 2
    with pytest.raises(Unreachable, match="broke off"):
        list(client.stream("a"))
    assert platform.asked[0][0] == "invocations-response-stream"


def test_health_is_false_and_no_error_where_nothing_answers():
    client, platform = behind()
    platform.faults = [(403, "AccessDeniedException", "no")] * 2
    health = client.health()
    assert (health.live, health.ready) == (False, False)


def test_without_credentials_it_says_how_to_get_some(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with Client(URL) as client, pytest.raises(AccessDenied, match="aws configure"):
        client.models()


def test_without_a_region_it_says_where_to_put_one():
    with pytest.raises(InvalidValue, match=r"region is None.*\?region=eu-west-1"):
        Client("sagemaker://our-endpoint")


def test_a_region_that_is_none():
    with pytest.raises(InvalidValue, match="region is 'not a region'"):
        Client("sagemaker://our-endpoint?region=not%20a%20region")


def test_a_region_that_cannot_be_reached(monkeypatch):
    # The port of nobody on this machine stands for a region that does not exist.
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://127.0.0.1:1")
    with (
        Client("sagemaker://a?region=eu-nowhere-1") as client,
        pytest.raises(Unreachable, match=r"eu-nowhere-1 .*Is that a region"),
    ):
        client.models()


def test_a_profile_that_there_is_none_of():
    with pytest.raises(UnknownName, match="AWS profile 'nobody'"):
        Client(f"{URL}&profile=nobody")


class Store:
    """Stands for the object store's side of boto3."""

    def __init__(self, monkeypatch, content):
        self.content = content
        self.asked = []
        original = boto3.Session.client

        def client(session, service, **options):
            made = original(session, service, **options)
            if service == "s3":
                made.meta.events.register("before-send.s3", self.answer)
            return made

        monkeypatch.setattr(boto3.Session, "client", client)

    def answer(self, request, **_):
        from botocore.awsrequest import AWSResponse

        from tests.sagemaker_platform import Raw

        self.asked.append(request.url)
        status = 200 if self.content is not None else 403
        return AWSResponse(request.url, status, {}, Raw([self.content or b""]))


def stored(content):
    """Return a container's answer that its whole is in an object store."""
    body = {
        "location": "s3://answers/2026/x.json",
        "content_type": "application/json",
        "n_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    attributes = "glassbox-location=s3://answers/2026/x.json,glassbox-type=application/json"
    return httpx.Response(
        200, json=body, headers={"x-amzn-sagemaker-custom-attributes": attributes}
    )


def test_a_large_answer_is_fetched_from_where_the_container_put_it(monkeypatch):
    content = json.dumps(MODELS | {"padding": "x" * 25_000_000}).encode()
    store = Store(monkeypatch, content)
    client, _ = behind(stored(content))
    assert client.models() == []
    (url,) = store.asked
    assert url.endswith("/2026/x.json")


def test_a_large_answer_that_was_changed_there_is_refused(monkeypatch):
    Store(monkeypatch, b"{}")
    client, _ = behind(stored(b'{"object": "list", "data": []}'))
    with pytest.raises(CorruptArtifact, match="not the answer that was put there"):
        client.models()


def test_a_large_answer_that_may_not_be_read_says_which_right_is_missing(monkeypatch):
    Store(monkeypatch, None)
    client, _ = behind(stored(b"{}"))
    with pytest.raises(AccessDenied, match="s3:GetObject"):
        client.models()


def test_states_of_a_layer_that_there_is_none_of_stay_a_usage_error():
    problem = {"code": "invalid-hook-point", "detail": "There is no layer 99."}
    client, _ = behind(httpx.Response(400, json=problem))
    with pytest.raises(UsageError, match="no layer 99"):
        client.states(["a"], Capture((HookPoint(99),)))
