"""Errors to HTTP: one table from error classes to statuses, and the two shapes of a body.

The OpenAI routes answer in OpenAI's shape, all others in problem+json. Whatever the shape, the
header ``x-glassbox-error`` holds our stable code.

Source: RFC 9457 for problem+json; RFC 9110, section 15 for the statuses.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from glassbox.errors import (
    AccessDenied,
    CapacityError,
    ConflictError,
    CorruptArtifact,
    DeadlineExceeded,
    DependencyMissing,
    GlassboxError,
    InvalidHookPoint,
    InvalidValue,
    NoDiskSpace,
    OutOfMemory,
    QueueFull,
    UnknownName,
    UsageError,
)
from glassbox.server.errors.openai_shape import openai_error, openai_refusal
from glassbox.server.errors.refusals import CODES, Refusal
from glassbox.wire.headers import ERROR_HEADER, SHOULD_RETRY_HEADER
from glassbox.wire.problem import PROBLEM_TYPE, FieldProblem, Problem

ERRORS_PAGE = "https://github.com/glassbox-llm/glassbox/blob/main/docs/reference/errors.md"
"""Page about every code."""

STATUSES: Final[tuple[tuple[type[GlassboxError], int], ...]] = (
    (UnknownName, 404),
    (UsageError, 400),
    (ConflictError, 409),
    (AccessDenied, 403),
    (QueueFull, 429),
    (DeadlineExceeded, 504),
    # Not to be repeated before somebody has changed something. Source: RFC 4918, section 11.5.
    (NoDiskSpace, 507),
    (OutOfMemory, 507),
    (CapacityError, 503),
    # The caller has named something whose files are damaged: a fault, but none of the server.
    (CorruptArtifact, 422),
    (DependencyMissing, 501),
    (GlassboxError, 500),
)
"""Error class to status; a class takes the status of its first listed ancestor."""

OPENAI_PATHS: Final = ("/v1/completions", "/v1/chat/completions", "/v1/models")
"""Paths, and what is below them, that answer in OpenAI's shape."""

LASTING: Final = (DeadlineExceeded, NoDiskSpace, OutOfMemory)
"""Errors of capacity that the same request meets again a moment later."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
"""Methods of the routes."""

SCALARS: Final = frozenset({"bool", "float", "int", "str"})
"""Branches of unions that look like names of fields; no field is called so."""

MOST_SHOWN = 8
"""Wrong fields that an answer's sentence lists."""

MOST_TOLD = 100
"""Wrong fields that it lists one by one."""


def status_of(error: type[GlassboxError]) -> int:
    """Return the HTTP status of an error class."""
    return next(status for kind, status in STATUSES if issubclass(error, kind))


def install(app: FastAPI) -> None:
    """Make an app answer every error in our shapes."""
    app.add_exception_handler(GlassboxError, _on_ours)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_fields)
    app.add_exception_handler(Exception, _on_unexpected)


def retry_after_s(error: Exception) -> float | None:
    """Return the seconds after which to try again; None where that would not help."""
    if isinstance(error, QueueFull):
        return error.retry_after_s
    is_passing = isinstance(error, CapacityError) and not isinstance(error, LASTING)
    return 1.0 if is_passing else None


def refusal_answered(request: Request, refusal: Refusal) -> Response:
    """Return the answer to a request that is refused outside of the app."""
    return _on_http(request, refusal)


def error_answered(request: Request, error: GlassboxError) -> Response:
    """Return the answer to a request that fails outside of the app."""
    return _on_ours(request, error)


def _on_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, GlassboxError)
    status = status_of(type(error))
    wait = retry_after_s(error)
    headers = {} if wait is None else {"retry-after": str(max(1, round(wait)))}
    if _is_openai(request):
        if wait is None:
            headers[SHOULD_RETRY_HEADER] = "false"
        body = openai_error(error, param=_param(error))
        return _answer(body.to_json(), status, error.code, headers, "application/json")
    problem = _problem(request, status, str(error), error.code, retry_after_s=wait)
    return _answer(problem.to_json(), status, error.code, headers, PROBLEM_TYPE)


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, detail, headers = error.status_code, str(error.detail), error.headers or {}
    code = error.code if isinstance(error, Refusal) else CODES.get(status, "http-error")
    if status == 404 and not isinstance(error, Refusal):
        detail = f"No route {request.url.path!r}. The routes stand in /openapi.json."
    elif status == 405:
        allowed = ", ".join(_allowed_methods(request))
        detail = f"{request.method} is not allowed here; allowed: {allowed}."
        headers = {"allow": allowed}
    elif status == 400 and not isinstance(error, Refusal):
        detail = "The body is no JSON in UTF-8."
        code = "invalid-json"
    return _refuse(request, status, detail, code, headers)


def _allowed_methods(request: Request) -> list[str]:
    """Return what may be done to a request's path; the framework names the first route's alone."""
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    return [
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    ]


def _on_fields(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    malformed = next((each for each in found if each["type"] == "json_invalid"), None)
    if malformed is not None:
        at, reason = malformed["loc"][-1], malformed["ctx"]["error"]
        return _refuse(request, 400, f"The body is no JSON: {reason} at byte {at}.", "invalid-json")
    problems = [
        FieldProblem(field=_field(each), message=_message(each)) for each in found[:MOST_TOLD]
    ]
    shown = problems[:MOST_SHOWN]
    detail = "; ".join(
        f"{each.field}: {each.message}" if each.field else each.message for each in shown
    )
    if len(found) > len(shown):
        detail += f"; and {len(found) - len(shown)} more"
    detail += "."
    code = InvalidValue.code
    if _is_openai(request):
        param = problems[0].field or None
        return _openai(400, detail, code, {}, param=param)
    status = status_of(InvalidValue)
    problem = _problem(request, status, detail, code, errors=problems)
    return _answer(problem.to_json(), status, code, {}, PROBLEM_TYPE)


def _on_unexpected(request: Request, error: Exception) -> Response:
    del error
    name = getattr(request.state, "request_id", "")
    detail = f"A fault in Glassbox itself; the server's log has it under {name or 'this request'}."
    return _refuse(request, 500, detail, "unexpected")


def _refuse(
    request: Request,
    status: int,
    detail: str,
    code: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    headers = dict(headers or {})
    if _is_openai(request):
        return _openai(status, detail, code, headers)
    wait = headers.get("retry-after")
    problem = _problem(
        request, status, detail, code, retry_after_s=None if wait is None else float(wait)
    )
    return _answer(problem.to_json(), status, code, headers, PROBLEM_TYPE)


def _openai(
    status: int, detail: str, code: str, headers: Mapping[str, str], *, param: str | None = None
) -> Response:
    body = openai_refusal(status, detail, code, param=param)
    return _answer(body.to_json(), status, code, headers, "application/json")


def _problem(
    request: Request,
    status: int,
    detail: str,
    code: str,
    *,
    errors: Sequence[FieldProblem] | None = None,
    retry_after_s: float | None = None,
) -> Problem:
    name = getattr(request.state, "request_id", None)
    return Problem(
        type=f"{ERRORS_PAGE}#{code}",
        title=code.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        instance=request.url.path if name is None else f"{request.url.path}#{name}",
        request_id=name,
        errors=None if errors is None else list(errors),
        retry_after_s=retry_after_s,
    )


def _answer(
    content: bytes, status: int, code: str, headers: Mapping[str, str], media_type: str
) -> Response:
    return Response(content, status, headers={**headers, ERROR_HEADER: code}, media_type=media_type)


def _is_openai(request: Request) -> bool:
    path = request.url.path
    return any(path == each or path.startswith(f"{each}/") for each in OPENAI_PATHS)


def _param(error: GlassboxError) -> str | None:
    if isinstance(error, InvalidValue):
        return error.what
    return "glassbox.capture" if isinstance(error, InvalidHookPoint) else None


def _field(found: Mapping[str, Any]) -> str:
    where = found["loc"]
    parts = where[1:] if where and where[0] in ("body", "query", "path", "header") else where
    # pydantic also names the branch of a union that it tried; a reader knows fields only.
    return ".".join(str(part) for part in parts if not _is_branch(part))


def _is_branch(part: object) -> bool:
    if not isinstance(part, str):
        return False
    return part in SCALARS or not part.replace("_", "a").replace("-", "a").isalnum()


def _message(found: Mapping[str, Any]) -> str:
    kind, given = found["type"], found.get("input")
    if kind == "extra_forbidden":
        return "unknown field"
    if kind == "missing":
        return "it is needed"
    text = str(found["msg"])
    text = text[:1].lower() + text[1:]
    is_small = isinstance(given, bool | int | float) or given is None
    if isinstance(given, str) and len(given) <= 40:
        is_small = True
    return f"{text}; it is {given!r}" if is_small and repr(given) not in text else text
