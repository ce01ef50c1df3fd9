"""What HTTP itself refuses: no key, too large, not JSON, not ready. Codes are stable like ours."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import HTTPException

from glassbox.wire.openai_sampling import OpenAIError
from glassbox.wire.problem import PROBLEM_TYPE, Problem

CODES: Final[dict[int, str]] = {
    400: "bad-request",
    401: "access-denied",
    403: "access-denied",
    404: "no-such-route",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "body-too-slow",
    413: "body-too-large",
    415: "unsupported-media-type",
    429: "too-many-requests",
    431: "headers-too-large",
    503: "not-ready",
}
"""Stable code of a status that the framework answers with by itself."""


_PROBLEM: Final = {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "content": {PROBLEM_TYPE: _PROBLEM}} for status in ("4XX", "5XX")
}
"""What routes say of their refusals."""

OPENAI_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": OpenAIError} for status in ("4XX", "5XX")
}
"""The same of OpenAI's routes."""

LOST_CODE: Final = "replica-lost"
"""Stable code of a request whose server, one of a cluster's, went away before it answered."""

HTTP_CODES: Final[dict[str, tuple[int, str]]] = {
    "bad-request": (400, "The request is no HTTP that the server understands."),
    "invalid-json": (400, "The body is no JSON in UTF-8."),
    "no-such-route": (404, "No route of that path; they stand in `/openapi.json`."),
    "method-not-allowed": (405, "The route is there, but not for this method."),
    "not-acceptable": (406, "The route has no answer of a type that `Accept` allows."),
    "body-too-slow": (408, "The body did not come in time."),
    "body-too-large": (413, "The body is over `server.max_body_bytes`, or has too many parts."),
    "answer-too-large": (413, "The answer is larger than SageMaker carries."),
    "answer-not-stored": (502, "A large answer could not be put into the object store."),
    "unsupported-media-type": (415, "The body is not said to be `application/json`."),
    "bad-signature": (401, "A request to run functions is not signed, forged, or of another time."),
    "replayed-request": (401, "A signed request came a second time."),
    "techniques-off": (403, "The server runs no functions; see `techniques.mode`."),
    "misdirected-request": (421, "Without keys the server answers to this machine's names only."),
    "too-many-requests": (429, "More requests of one caller than `server.rate_limit` allows."),
    "headers-too-large": (431, "The headers are larger than the server reads."),
    "http-error": (500, "Another status of HTTP, which the answer says."),
    "unexpected": (500, "A fault in Glassbox itself; the server's log has it."),
    "not-ready": (503, "The model is being loaded, could not be, or the server is about to end."),
    LOST_CODE: (503, "The replica of a cluster that had the request went away before it answered."),
    "too-many-connections": (503, "`server.max_connections` requests are being answered."),
}
"""Codes that only HTTP knows: usual status, meaning. ``access-denied`` is of the errors' tree."""


class Refusal(HTTPException):
    """A request that is answered with an error before anything is asked of the model.

    Args:
        status: HTTP status.
        detail: What is wrong, what is allowed and what to do.
        code: Stable code; None takes that of the status.
        headers: Beside the body.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers=dict(headers or {}))
        self.code = code or CODES.get(status, "http-error")


def not_ready(detail: str, retry_after_s: float) -> Refusal:
    """Return the refusal of a server that loads its model or is about to end."""
    return Refusal(503, detail, headers={"retry-after": str(max(1, round(retry_after_s)))})
