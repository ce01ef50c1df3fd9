"""Errors over HTTP: one status for a code, one page that tells about it."""

import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import openai
import pytest

from glassbox import errors
from glassbox.cli.reference import errors_page
from glassbox.errors import BY_CODE, GlassboxError
from glassbox.server.errors.openai_shape import openai_error
from glassbox.server.errors.refusals import CODES
from glassbox.server.errors.statuses import STATUSES, status_of
from tests.server.worlds import fake_server, openai_client


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


@pytest.mark.parametrize(
    ("error", "status", "n_tries"),
    [
        (errors.OutOfMemory("It does not fit, even alone."), 507, 1),
        (errors.NoDiskSpace("The disk is full."), 507, 1),
        (errors.DeadlineExceeded("Too late."), 504, 1),
        (errors.NonFiniteOutput("NaN."), 500, 1),
        (errors.ConflictError("The engine is closed."), 409, 1),
        (errors.QueueFull(3, 1.0), 429, 3),
        (errors.CapacityError("Ask again."), 503, 3),
    ],
)
def test_openais_client_asks_again_only_where_that_may_help(monkeypatch, error, status, n_tries):
    tries = []
    monkeypatch.setattr(openai.AsyncOpenAI, "_calculate_retry_timeout", lambda *_: 0.0)

    async def ask():
        async with fake_server() as (engine, app), openai_client(app) as client:

            def refused(*_):
                tries.append(error)
                raise error

            monkeypatch.setattr(engine, "submit", refused)
            eager = client.with_options(max_retries=2)
            with pytest.raises(openai.APIStatusError) as caught:
                await eager.completions.create(model="fake", prompt="a")
        return caught.value.response

    answer = anyio.run(ask)
    assert answer.status_code == status
    assert len(tries) == n_tries
    assert ("retry-after" in answer.headers) == (n_tries > 1)


def test_a_key_that_may_not_is_a_matter_of_permission_for_openais_clients() -> None:
    error = openai_error(errors.AccessDenied("The key does not allow it."))
    assert error.error.type == "permission_error"


def test_what_the_caller_has_to_change_is_no_fault_of_the_server() -> None:
    error = openai_error(errors.AdapterMismatch("The probe was trained on another adapter."))
    assert error.error.type == "invalid_request_error"
