"""Errors over HTTP: one status for a code, one page that tells about it."""

import re
from collections.abc import Iterator
from pathlib import Path

from glassbox import errors
from glassbox.cli.reference import errors_page
from glassbox.errors import BY_CODE, GlassboxError
from glassbox.server.errors.openai_shape import openai_error
from glassbox.server.errors.refusals import CODES
from glassbox.server.errors.statuses import STATUSES, status_of


def test_every_error_has_a_status() -> None:
    def below(kind: type[GlassboxError]) -> Iterator[type[GlassboxError]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    for kind in below(GlassboxError):
        assert 400 <= status_of(kind) < 600
    assert status_of(errors.QueueFull) == 429
    assert status_of(errors.DeadlineExceeded) == 504
    assert [kind for kind, _ in STATUSES][-1] is GlassboxError


def test_every_code_has_its_place_on_the_page_that_problems_lead_to() -> None:
    page = errors_page()
    codes = set(BY_CODE) | set(CODES.values())
    source = Path(errors.__file__).parent / "server"
    for file in source.rglob("*.py"):
        codes |= set(re.findall(r'code="([a-z-]+)"', file.read_text(encoding="utf-8")))
        codes |= set(re.findall(r'_refuse\(.*"([a-z-]+)"\)', file.read_text(encoding="utf-8")))
    for code in codes:
        assert f'<a id="{code}"></a>' in page, code


def test_a_key_that_may_not_is_a_matter_of_permission_for_openais_clients() -> None:
    error = openai_error(errors.AccessDenied("The key does not allow it."))
    assert error.error.type == "permission_error"


def test_what_the_caller_has_to_change_is_no_fault_of_the_server() -> None:
    error = openai_error(errors.AdapterMismatch("The probe was trained on another adapter."))
    assert error.error.type == "invalid_request_error"
