"""How a client's requests reach an endpoint of SageMaker: as InvokeEndpoint, by boto3.

Each request names its route in the custom attributes, and the container's server answers it, so
that the calls are those of a server of one's own. What an endpoint does not carry is refused
before anything is sent. boto3 is imported when a transport is made.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from glassbox.client.sagemaker_address import Endpoint, endpoint_of, is_endpoint
from glassbox.client.sagemaker_errors import answer_of, sagemaker_errors
from glassbox.errors import AccessDenied, CorruptArtifact, DependencyMissing, UsageError
from glassbox.wire import invocation_attributes as wire
from glassbox.wire.headers import TIMEOUT_HEADER
from glassbox.wire.sagemaker import StoredAnswered

N_AT_ONCE: Final = 64
"""Requests that one client has under way at a time; further ones wait for a connection."""

CONNECT_S: Final = 10.0
"""Seconds to wait for a connection."""

_HEALTH = ("/livez", "/readyz")
_EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Asked:
    """One call of boto3's."""

    parameters: Mapping[str, Any]
    """What InvokeEndpoint takes."""
    is_stream: bool
    """Whether the answer is to come in parts."""


@dataclass(frozen=True)
class Streamed:
    """The beginning of an answer that comes in parts."""

    headers: Mapping[str, str]
    """What stands before it."""
    events: Any
    """botocore's stream of events."""


def asked_of(request: httpx.Request, endpoint: Endpoint) -> Asked:
    """Return how a request is put to an endpoint.

    Args:
        request: Its body read.
        endpoint: Which endpoint is asked.

    Raises:
        UsageError: An endpoint does not carry such a request.
        InvalidValue: It is larger than SageMaker takes.
    """
    method, path = request.method, request.url.raw_path.decode("ascii")
    if (method, path) in (("GET", each) for each in _HEALTH):
        # The platform sends nothing to a container that is not well: any answer says enough.
        path = "/v1/models"
    attributes: dict[str, str] = {}
    if (method, path) != ("POST", wire.INVOCATIONS):
        if (method, path) not in wire.CARRIED:
            carried = ", ".join(sorted(f"{verb} {each}" for verb, each in wire.CARRIED))
            raise UsageError(
                f"An endpoint of SageMaker does not carry {method} {path.partition('?')[0]}; it "
                f"carries {carried}. Ask a server of your own for the rest."
            )
        attributes |= {wire.PATH: path, wire.METHOD: method}
    if TIMEOUT_HEADER in request.headers:
        attributes[wire.TIMEOUT] = request.headers[TIMEOUT_HEADER]
    body = request.content or b"{}"
    if len(body) > wire.MOST_BODY_BYTES:
        raise UsageError(
            f"The request has {len(body):,} bytes; SageMaker takes {wire.MOST_BODY_BYTES:,} at "
            "most. Send fewer or shorter texts at a time."
        )
    accept = request.headers.get("accept", "*/*")
    parts = {"TargetVariant": endpoint.variant, "InferenceComponentName": endpoint.component}
    parameters = {
        "EndpointName": endpoint.name,
        "ContentType": "application/json",
        "Accept": accept,
        "CustomAttributes": wire.write_attributes(attributes),
        "Body": body,
        **{name: value for name, value in parts.items() if value is not None},
    }
    if not attributes:
        del parameters["CustomAttributes"]
    return Asked(parameters, is_stream=accept == _EVENTS)


def headers_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of an answer; what our attributes say comes back as headers."""
    said = wire.read_attributes(str(answer.get("CustomAttributes", "")))
    headers = {key: value for key, value in said.items() if key.startswith(wire.PREFIX)}
    headers["content-type"] = str(answer.get("ContentType", "application/json"))
    if "InvokedProductionVariant" in answer:
        headers["x-invoked-variant"] = str(answer["InvokedProductionVariant"])
    return headers


class _Invoker:
    """Puts requests to an endpoint, one thread each; what both transports share."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import ClientError
        except ImportError as error:
            raise DependencyMissing("boto3", "sagemaker") from error
        self._endpoint = endpoint
        self._failed = ClientError
        # Repeating is the client's business: it knows how often, and what the server asked for.
        self._config = Config(
            connect_timeout=min(CONNECT_S, timeout_s),
            read_timeout=timeout_s,
            retries={"total_max_attempts": 1},
            max_pool_connections=N_AT_ONCE,
            tcp_keepalive=True,
        )
        with sagemaker_errors(endpoint):
            self._session = boto3.Session(
                profile_name=endpoint.profile, region_name=endpoint.region
            )
            self.runtime = self._session.client("sagemaker-runtime", config=self._config)

    def answer(self, request: httpx.Request) -> httpx.Response | Streamed:
        """Return the whole answer to a request, or the beginning of one in parts."""
        asked = asked_of(request, self._endpoint)
        with sagemaker_errors(self._endpoint):
            try:
                if asked.is_stream:
                    answer = self.runtime.invoke_endpoint_with_response_stream(**asked.parameters)
                    return Streamed(headers_of(answer), answer["Body"])
                answer = self.runtime.invoke_endpoint(**asked.parameters)
                headers, content = headers_of(answer), answer["Body"].read()
            except self._failed as error:
                return answer_of(error, self._endpoint)
        if wire.LOCATION in headers:
            headers["content-type"] = headers.get(wire.TYPE, headers["content-type"])
            content = self._fetched(StoredAnswered.from_json(content))
        return httpx.Response(200, headers=headers, content=content)

    def parts(self, events: Any) -> Iterator[bytes]:
        """Yield the bytes of a stream as they come.

        Raises:
            Unreachable: It broke off.
            DeadlineExceeded: Nothing came for too long.
        """
        with sagemaker_errors(self._endpoint):
            for event in events:
                if "PayloadPart" in event:
                    yield event["PayloadPart"].get("Bytes", b"")

    def close(self) -> None:
        """Close the connections."""
        self.runtime.close()

    def _fetched(self, stored: StoredAnswered) -> bytes:
        """Return an answer that was too large to be sent and was put into an object store."""
        place = urlsplit(stored.location)
        with sagemaker_errors(self._endpoint):
            store = self._session.client("s3", config=self._config)
            try:
                found = store.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
                content: bytes = found["Body"].read()
            except self._failed as error:
                raise AccessDenied(
                    f"The answer was too large to be sent and is at {stored.location}, which "
                    f"cannot be read ({error}). Let this program get objects there (s3:GetObject)."
                ) from error
            finally:
                store.close()
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise CorruptArtifact(stored.location, "it is not the answer that was put there")
        return content


class SageMakerTransport(httpx.BaseTransport):
    """Requests to one endpoint.

    Args:
        endpoint: Which one.
        timeout_s: Seconds to wait for an answer, or between two parts of a stream.

    Raises:
        DependencyMissing: boto3 is not installed.
        InvalidValue: No region is known.
        UnknownName: No such profile.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._invoker = _Invoker(endpoint, timeout_s)

    @property
    def runtime(self) -> Any:
        """boto3's client, for its hooks."""
        return self._invoker.runtime

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to one request."""
        request.read()
        answer = self._invoker.answer(request)
        if not isinstance(answer, Streamed):
            return answer
        stream = _Parts(self._invoker.parts(answer.events), answer.events)
        return httpx.Response(200, headers=answer.headers, stream=stream)

    def close(self) -> None:
        """Close the connections."""
        self._invoker.close()


class AsyncSageMakerTransport(httpx.AsyncBaseTransport):
    """Requests to one endpoint, each on a thread, because boto3 waits.

    Args:
        endpoint: Which one.
        timeout_s: Seconds to wait for an answer, or between two parts of a stream.

    Raises:
        DependencyMissing: boto3 is not installed.
        InvalidValue: No region is known.
        UnknownName: No such profile.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._invoker = _Invoker(endpoint, timeout_s)
        self._threads = ThreadPoolExecutor(N_AT_ONCE, thread_name_prefix="glassbox-sagemaker")

    @property
    def runtime(self) -> Any:
        """boto3's client, for its hooks."""
        return self._invoker.runtime

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to one request."""
        await request.aread()
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._invoker.answer, request)
        if not isinstance(answer, Streamed):
            return answer
        parts = self._invoker.parts(answer.events)
        stream = _AsyncParts(parts, answer.events, self._threads)
        return httpx.Response(200, headers=answer.headers, stream=stream)

    async def aclose(self) -> None:
        """Close the connections; calls under way end by themselves."""
        self._threads.shutdown(wait=False)
        self._invoker.close()


class _Parts(httpx.SyncByteStream):
    def __init__(self, parts: Iterator[bytes], events: Any) -> None:
        self._parts, self._events = parts, events

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts

    def close(self) -> None:
        self._events.close()


class _AsyncParts(httpx.AsyncByteStream):
    def __init__(self, parts: Iterator[bytes], events: Any, threads: ThreadPoolExecutor) -> None:
        self._parts, self._events, self._threads = parts, events, threads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while (
            part := await loop.run_in_executor(self._threads, next, self._parts, None)
        ) is not None:
            yield part

    async def aclose(self) -> None:
        self._events.close()


def sagemaker_transport(url: str, key: str | None, timeout_s: float) -> SageMakerTransport | None:
    """Return how requests travel to an address; None where that is a server's own.

    Args:
        url: Address that the client was given.
        key: API key that it was given.
        timeout_s: Seconds to wait for an answer.

    Raises:
        UsageError: A key, which an endpoint has no use for.
    """
    return SageMakerTransport(_guarded(url, key), timeout_s) if is_endpoint(url) else None


def async_sagemaker_transport(
    url: str, key: str | None, timeout_s: float
) -> AsyncSageMakerTransport | None:
    """Return the same for programs with an event loop.

    Args:
        url: Address that the client was given.
        key: API key that it was given.
        timeout_s: Seconds to wait for an answer.

    Raises:
        UsageError: A key, which an endpoint has no use for.
    """
    return AsyncSageMakerTransport(_guarded(url, key), timeout_s) if is_endpoint(url) else None


def _guarded(url: str, key: str | None) -> Endpoint:
    if key is not None:
        raise UsageError(
            "An endpoint of SageMaker takes no API key: AWS credentials are its guard. Leave key "
            "out."
        )
    return endpoint_of(url)
