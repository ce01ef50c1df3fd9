"""What SageMaker does between a program's InvokeEndpoint and a container, on this machine.

It is put behind boto3's own client, after signing and serialising and before the network, so that
everything but Amazon's side is the real thing: headers that the platform takes away are taken away,
and a container's refusal becomes the service's ``ModelError``.

Source of the names and places: the SageMaker Runtime service model of botocore.
"""

import json
from binascii import crc32
from struct import pack
from urllib.parse import unquote, urlsplit

import httpx
from botocore.awsrequest import AWSResponse

MOST_BYTES = 6_291_456
"""Largest body, both ways."""

PATIENCE_S = 300.0
"""Seconds that a container gets here; Amazon's 60 are little on a machine that others use."""

ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
ACCOUNT = "111122223333"


class Raw:
    """The part of urllib3's response that botocore reads."""

    def __init__(self, parts):
        self._parts = iter(parts)

    def stream(self, **_options):
        yield from self._parts

    def read(self, *_amount, **_options):
        return b"".join(self._parts)

    def close(self):
        """Nothing to close."""


class Platform:
    """One account's endpoints.

    Args:
        container: Sends to the container's ``/invocations``.
        endpoint: The only endpoint that there is.
    """

    def __init__(self, container, endpoint="our-endpoint"):
        self.container = httpx.Client(
            transport=container, base_url="http://container", timeout=PATIENCE_S
        )
        self.endpoint = endpoint
        self.asked = []
        self.faults = []
        """Answered one after another before the container is asked: (status, code, message)."""
        self.model_error = None
        """What the container is said to have answered: (status, words)."""
        self.breaks_after = None
        """Parts of a stream after which the container goes away."""

    def close(self):
        """Close the connections to the container."""
        self.container.close()

    def behind(self, runtime):
        """Answer what a client of boto3's sends, and return the client."""
        runtime.meta.events.register("before-send.sagemaker-runtime", self._answer)
        return runtime

    def _answer(self, request, **_):
        status, headers, parts = self.answered(request)
        return AWSResponse(request.url, status, headers, Raw(parts))

    def answered(self, request):
        """Return status, headers and the parts of the body of what a client of AWS's sent."""
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        assert "AWS4-HMAC-SHA256" in headers["authorization"]
        body = request.body or b""
        _, _, name, action = unquote(urlsplit(request.url).path).split("/")
        self.asked.append((action, headers.get(ATTRIBUTES, ""), body))
        if self.faults:
            return _refused(*self.faults.pop(0))
        if name != self.endpoint:
            words = f"Endpoint {name} of account {ACCOUNT} not found."
            return _refused(400, "ValidationError", words)
        if self.model_error is not None:
            return _model_error(*self.model_error)
        if len(body) > MOST_BYTES:
            return _refused(413, "RequestEntityTooLarge", "The body is too large.")
        is_stream = action == "invocations-response-stream"
        accept = headers.get("x-amzn-sagemaker-accept" if is_stream else "accept", "*/*")
        # A container gets these headers and no others.
        kept = {"content-type": headers["content-type"], "accept": accept}
        if ATTRIBUTES in headers:
            kept[ATTRIBUTES] = headers[ATTRIBUTES]
        answer = self.container.post("/invocations", content=body, headers=kept)
        return self._passed_on(answer, is_stream=is_stream)

    def _passed_on(self, answer, *, is_stream):
        if not answer.is_success:
            return _model_error(answer.status_code, answer.text)
        if not is_stream and len(answer.content) > MOST_BYTES:
            return _model_error(500, "Response payload size exceeded the maximum allowed payload.")
        headers = {"x-Amzn-Invoked-Production-Variant": "AllTraffic"}
        if ATTRIBUTES in answer.headers:
            headers["X-Amzn-SageMaker-Custom-Attributes"] = answer.headers[ATTRIBUTES]
        if is_stream:
            headers["X-Amzn-SageMaker-Content-Type"] = answer.headers["content-type"]
            headers["Content-Type"] = "application/vnd.amazon.eventstream"
            return 200, headers, list(self._events(answer.content))
        headers["Content-Type"] = answer.headers["content-type"]
        return 200, headers, [answer.content]

    def _events(self, content):
        for at in range(0, max(1, len(content)), 100):
            if self.breaks_after is not None and at >= 100 * self.breaks_after:
                names = {":message-type": "exception", ":exception-type": "ModelStreamError"}
                yield event(json.dumps({"Message": "gone", "ErrorCode": "StreamBroken"}), names)
                return
            yield event(
                content[at : at + 100],
                {
                    ":message-type": "event",
                    ":event-type": "PayloadPart",
                    ":content-type": "application/octet-stream",
                },
            )


def event(payload, headers):
    """Return one message of an event stream.

    Source: Smithy, "Amazon Event Stream": lengths and checksums around headers of type string (7).
    """
    payload = payload.encode() if isinstance(payload, str) else payload
    coded = b"".join(
        pack("!B", len(name)) + name.encode() + pack("!BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = pack("!II", 16 + len(coded) + len(payload), len(coded))
    whole = prelude + pack("!I", crc32(prelude)) + coded + payload
    return whole + pack("!I", crc32(whole))


def _refused(status, code, message):
    headers = {"x-amzn-ErrorType": code, "Content-Type": "application/json"}
    return status, headers, [json.dumps({"Message": message}).encode()]


def _model_error(status, text):
    log = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/our-endpoint"
    body = {
        "ErrorCode": "CLIENT_ERROR_FROM_MODEL",
        "LogStreamArn": log,
        "Message": f'Received client error ({status}) from primary with message "{text}".',
        "OriginalMessage": text,
        "OriginalStatusCode": status,
    }
    headers = {"x-amzn-ErrorType": "ModelError", "Content-Type": "application/json"}
    return 424, headers, [json.dumps(body).encode()]
