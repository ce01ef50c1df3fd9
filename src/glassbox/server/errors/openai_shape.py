"""Errors in the shape that OpenAI's clients read.

``code`` is OpenAI's own where its clients look for one, else ours; our code always stands in the
header ``x-glassbox-error`` of the response.
"""

from glassbox.errors import (
    AccessDenied,
    CapacityError,
    ConflictError,
    GlassboxError,
    QueueFull,
    TextTooLong,
    UnknownName,
    UsageError,
)
from glassbox.wire.openai_sampling import OpenAIError, OpenAIErrorBody

_TYPES: tuple[tuple[type[GlassboxError], str], ...] = (
    (UsageError, "invalid_request_error"),
    (ConflictError, "invalid_request_error"),
    (AccessDenied, "permission_error"),
    (QueueFull, "rate_limit_error"),
    (CapacityError, "service_unavailable_error"),
    (GlassboxError, "server_error"),
)
"""Family of an error by its nearest listed class."""

_FAMILIES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""Family of what HTTP itself refuses, by status."""


def openai_error(error: GlassboxError, *, param: str | None = None) -> OpenAIError:
    """Return an error as OpenAI's clients read it.

    Args:
        error: What was raised.
        param: Field of the request that is wrong, where one is.
    """
    code = error.code
    if isinstance(error, TextTooLong):
        code = "context_length_exceeded"
    elif isinstance(error, UnknownName) and error.kind == "model":
        code, param = "model_not_found", "model"
    family = next(name for kind, name in _TYPES if isinstance(error, kind))
    body = OpenAIErrorBody(message=str(error), type=family, param=param, code=code)
    return OpenAIError(error=body)


def openai_refusal(status: int, detail: str, code: str, *, param: str | None = None) -> OpenAIError:
    """Return what HTTP itself refuses as OpenAI's clients read it.

    Args:
        status: HTTP status.
        detail: What is wrong, what is allowed and what to do.
        code: Our stable code.
        param: Field of the request that is wrong, where one is.
    """
    fallback = "invalid_request_error" if status < 500 else "server_error"
    shown = "invalid_api_key" if status == 401 else code
    family = _FAMILIES.get(status, fallback)
    return OpenAIError(error=OpenAIErrorBody(message=detail, type=family, param=param, code=shown))
