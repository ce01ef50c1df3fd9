"""Errors as RFC 9457 problem details, for all routes but OpenAI's.

Source: RFC 9457, section 3.
"""

from glassbox.wire.shapes import Absent, Answered

PROBLEM_TYPE = "application/problem+json"
"""Media type. Source: RFC 9457, section 6.1."""


class FieldProblem(Answered):
    """What is wrong with one field of a request."""

    field: str
    """Dotted path of the field."""
    message: str
    """What is wrong, and what is allowed."""


class Problem(Answered):
    """One error."""

    type: str
    """Address of the page about this kind of error."""
    title: str
    """The kind of error in a few words."""
    status: int
    """HTTP status."""
    detail: str
    """What was wrong, the value, what is allowed and what to do."""
    code: str
    """Stable code, as in the reference of errors."""
    instance: str | None = Absent
    """This occurrence: path and name of the request."""
    request_id: str | None = Absent
    """Name of the request in the server's log."""
    errors: list[FieldProblem] | None = Absent
    """The wrong fields, where there are several."""
    retry_after_s: float | None = Absent
    """Seconds after which to try again."""
