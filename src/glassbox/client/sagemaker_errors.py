"""What goes wrong between a program and an endpoint of SageMaker, in our words.

What the container answered stays the answer it was, so that a client meets the same errors as
with a server of its own. Knows boto3's errors by their names; sends nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import orjson

from glassbox.client.problems import broken_off
from glassbox.client.sagemaker_address import EXAMPLE, Endpoint
from glassbox.errors import (
    AccessDenied,
    CapacityError,
    DeadlineExceeded,
    DependencyMissing,
    GlassboxError,
    InvalidValue,
    QueueFull,
    TextTooLong,
    UnknownName,
    Unreachable,
    UsageError,
    first_line,
    is_not_signed_in,
)
from glassbox.wire.headers import ERROR_HEADER

LIMIT_S: Final = 60
"""Seconds in which a container must have answered.

Source: Amazon SageMaker, "Custom Inference Code with Hosting Services".
"""

_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
)
_PASSING = frozenset(
    {
        "InternalDependencyException",
        "InternalFailure",
        "InternalServerException",
        "ModelNotReadyException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
_REFUSED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NOT_REACHED = (
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "SSLError",
)
_WRONG_REGION = ("InvalidRegionError", "UnknownRegionError", "EndpointResolutionError")

_OPENAI_CODES = {
    "model_not_found": UnknownName.code,
    "context_length_exceeded": TextTooLong.code,
    "invalid_api_key": AccessDenied.code,
}
"""Codes that OpenAI's clients look for, to ours: the header that says ours does not get through."""


def answer_of(error: Any, endpoint: Endpoint) -> httpx.Response:
    """Return what a failed call is to a client: a response that is refused, or may be repeated.

    Args:
        error: botocore's ``ClientError``.
        endpoint: Which endpoint was asked.

    Raises:
        GlassboxError: The call was none that a container answered, and repeating it is no use.
    """
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", "")).strip()
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "ModelError":
        return _containers_answer(error.response, endpoint)
    if code in _THROTTLED or (status == 429 and code != "ModelNotReadyException"):
        return _problem(
            429,
            QueueFull.code,
            f"SageMaker takes no more requests for {endpoint.name} at present ({message}). Send "
            "fewer at a time, or give the endpoint more instances and the account a larger quota.",
        )
    if code in _PASSING or status >= 500:
        return _problem(
            503,
            CapacityError.code,
            f"{endpoint.name} does not answer at present ({code}: {message}). An endpoint that "
            "wakes up or is being updated needs minutes; else try again.",
        )
    if code in _REFUSED or status in (401, 403):
        raise _refused(endpoint, f"{code}: {message}")
    if "not found" in message or code in ("ResourceNotFound", "ResourceNotFoundException"):
        raise UnknownName(
            "SageMaker endpoint",
            endpoint.name,
            remedy=f"SageMaker says: {message} It was deleted, is still being made, or is in "
            f"another account or region than {endpoint.region or 'that of the environment'}. "
            "'aws sagemaker list-endpoints' shows those there are; 'glassbox deploy sagemaker' "
            "makes one.",
        )
    raise UsageError(f"SageMaker refuses the request to {endpoint.name}: {code}: {message}")


@contextmanager
def sagemaker_errors(endpoint: Endpoint) -> Iterator[None]:
    """Turn what boto3 itself raises into errors of our tree; ``ClientError`` passes through.

    Args:
        endpoint: Which endpoint is asked.

    Raises:
        AccessDenied: No credentials, or none that hold any more.
        InvalidValue: No region, or one that there is none of.
        UnknownName: No such profile.
        DeadlineExceeded: No answer in time.
        Unreachable: The service cannot be reached, or the answer broke off.
        DependencyMissing: boto3 is not installed.
    """
    try:
        from botocore.exceptions import BotoCoreError, ClientError, EventStreamError
        from urllib3.exceptions import HTTPError
    except ImportError as error:
        raise DependencyMissing("boto3", "sagemaker") from error
    try:
        yield
    except EventStreamError as error:
        raise broken_off(first_line(error)) from error
    except ClientError:
        raise
    except (BotoCoreError, HTTPError) as error:
        raise _ours(error, endpoint) from error


def _ours(error: Exception, endpoint: Endpoint) -> GlassboxError:
    kinds = {each.__name__ for each in type(error).__mro__}
    said = first_line(error)
    where = endpoint.region or "the region of the environment"
    if kinds & {"ReadTimeoutError", "TimeoutError"}:
        return DeadlineExceeded(
            f"No answer from {endpoint.url} in time. A container has {LIMIT_S} s for each answer: "
            "ask for less at a time, or stream; or give the client a longer timeout_s."
        )
    if kinds & {"NoRegionError"}:
        return InvalidValue("region", None, f"an AWS region, as in {EXAMPLE}, or AWS_REGION")
    if kinds & set(_WRONG_REGION):
        return InvalidValue("region", endpoint.region, "an AWS region such as eu-west-1")
    if kinds & {"ProfileNotFound"}:
        return UnknownName(
            "AWS profile", str(endpoint.profile), remedy=f"{said}. 'aws configure list-profiles'."
        )
    if is_not_signed_in(error):
        return _refused(endpoint, said)
    if kinds & set(_NOT_REACHED):
        return Unreachable(
            f"SageMaker cannot be reached in {where} ({said}). Is that a region, and does this "
            "machine get there (a proxy, a VPC endpoint)?"
        )
    if kinds & {"ParamValidationError"}:
        return UsageError(f"The request to {endpoint.name} is none that SageMaker takes: {said}")
    return broken_off(said)


def _containers_answer(response: dict[str, Any], endpoint: Endpoint) -> httpx.Response:
    """Return what the container answered, or what it means that it did not."""
    status = int(response.get("OriginalStatusCode") or 0)
    message = str(response.get("OriginalMessage") or response["Error"].get("Message", ""))
    is_containers = not ("payload" in message.lower() and "exceed" in message.lower())
    if 400 <= status < 600 and (is_containers or message.startswith("{")):
        return httpx.Response(status, headers=_headers(message), content=message.encode())
    if "timed out" in message.lower():
        raise DeadlineExceeded(
            f"The container of {endpoint.name} had no answer within {LIMIT_S} s, the most that "
            "SageMaker waits. Ask for less at a time (fewer texts, fewer tokens), or stream."
        )
    if not is_containers:
        raise CapacityError(
            f"The answer of {endpoint.name} is larger than SageMaker sends ({message}). Ask for "
            "less at a time, or for pooled states."
        )
    log = response.get("LogStreamArn")
    where = f" Its log: {log}." if log else ""
    return _problem(
        503,
        CapacityError.code,
        f"The container of {endpoint.name} went away before it answered ({message}).{where}",
    )


def _headers(message: str) -> dict[str, str]:
    """Return what a server's own answer would have had as headers, found in its body."""
    try:
        body = orjson.loads(message)
    except orjson.JSONDecodeError:
        return {"content-type": "text/plain; charset=utf-8"}
    headers = {"content-type": "application/json"}
    found = body if isinstance(body, dict) else {}
    wait = found.get("retry_after_s")
    if isinstance(wait, int | float):
        headers["retry-after"] = f"{wait:g}"
    inner = found.get("error")
    code = _OPENAI_CODES.get(str(inner.get("code"))) if isinstance(inner, dict) else None
    if code is not None:
        headers[ERROR_HEADER] = code
    return headers


def _problem(status: int, code: str, detail: str) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "code": code, "detail": detail})


def _refused(endpoint: Endpoint, said: str) -> AccessDenied:
    return AccessDenied(
        f"AWS does not let this program ask {endpoint.name} ({said}). Give it credentials "
        "('aws configure', 'aws sso login', or a role) that may call sagemaker:InvokeEndpoint "
        "on this endpoint."
    )
