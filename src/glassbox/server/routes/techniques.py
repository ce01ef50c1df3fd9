"""``/v1/techniques``: run functions beside the model; every request is signed.

Calls and results travel as frames, what is said of a run as JSON or, where the client takes frames,
with its result. Knows nothing of what runs the functions.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Final, Literal, TypeVar

import anyio
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from glassbox.errors import CapacityError
from glassbox.server.access.dependencies import Signing
from glassbox.server.access.guards import TechniqueGate, guards_of
from glassbox.server.access.key_ring import Caller
from glassbox.server.access.signatures import LOCAL
from glassbox.server.answers.responses import json_response
from glassbox.server.concurrency.event_stream import DONE, EVENT_TYPE, WAITING, EventStream, event
from glassbox.server.concurrency.waiting import ClientGone, unless_gone
from glassbox.server.errors.refusals import PROBLEMS, Refusal
from glassbox.server.serving import Served
from glassbox.server.techniques.at_a_time import THREADS
from glassbox.server.techniques.framed import Framed, read_frame
from glassbox.server.techniques.runs import TechniqueService
from glassbox.techniques.calls import FINAL, Call, Run
from glassbox.techniques.carrying.calls_and_runs import packed_call, run_answered, run_packed
from glassbox.techniques.packed.framing import unframe
from glassbox.wire.techniques import (
    RUN_ID,
    RUN_TYPE,
    EnvironmentAnswered,
    ParameterListed,
    ResidentModelAnswered,
    RunAnswered,
    SessionAnswered,
    SessionAsked,
    TechniqueListed,
    TechniquesAnswered,
)

T = TypeVar("T")

MOST_WAIT_S: Final = 60.0
"""Longest wait for a run in one request; proxies cut longer ones."""

SLICE_S: Final = 5.0
"""Wait after which it is looked whether the client is still there."""

MOST_WAITING: Final = 64
"""Requests that may wait for a thread; one more is told to come back later."""

CALL_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {RUN_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}

FRAME: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {RUN_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}

router = APIRouter(
    prefix="/v1/techniques",
    tags=["techniques"],
    responses=PROBLEMS,
)

RunId = Annotated[str, Path(pattern=RUN_ID, description="As `POST /v1/techniques/runs` answered.")]
"""A run, as a part of the path."""

After = Annotated[int, Query(ge=0, le=2**31, description="Lines up to this number are left out.")]
"""How many printed lines are known already."""

Wait = Annotated[
    float, Query(ge=0, le=MOST_WAIT_S, description="Seconds to wait for a new line or the end.")
]
"""How long an answer may take."""


async def service_of(serving: Served) -> TechniqueService:
    """Return what runs functions."""
    if serving.techniques is None:
        raise Refusal(403, "This server runs no functions.", code="techniques-off")
    return serving.techniques


Service = Annotated[TechniqueService, Depends(service_of)]
"""What runs functions, as a route's parameter; 503 while the model is loaded."""


@router.get("", response_model=TechniquesAnswered)
async def techniques(http: Request, _caller: Signing, service: Service) -> Response:
    """List the built-in techniques, and say where functions run."""
    allowed, mode = service.terms.allowed, service.record.mode
    shown: Literal["process", "shared"] = "shared" if mode == "shared" else "process"
    listed = await _on_thread(http, listed_techniques)
    takes = allowed is None or bool(allowed)
    return json_response(TechniquesAnswered(mode=shown, takes_functions=takes, data=listed))


@router.get("/environment", response_model=EnvironmentAnswered)
async def environment(http: Request, _caller: Signing, service: Service) -> Response:
    """Return the versions that shipped code meets."""
    found = await _on_thread(http, service.environment)
    return json_response(
        EnvironmentAnswered(
            python=found.python, versions=dict(found.versions), modules=list(found.modules)
        )
    )


@router.get("/model", response_model=ResidentModelAnswered)
async def resident_model(http: Request, _caller: Signing, service: Service) -> Response:
    """Describe the model that functions run beside."""
    return json_response(
        ResidentModelAnswered(**asdict(await _on_thread(http, service.model_info)))
    )


@router.post(
    "/runs",
    response_model=RunAnswered,
    responses={200: {"content": {RUN_TYPE: {}}}},
    openapi_extra=CALL_BODY,
)
async def submit(http: Request, caller: Signing, service: Service, wait_s: Wait = 0.0) -> Response:
    """Run a function, and say what is known of it after a while, earlier when it ends."""
    call, run_id = packed_call(unframe(await read_frame(http, _gate(http).at_a_time.large_bodies)))
    call = _in_its_name(call, caller)
    until_s = time.monotonic() + wait_s
    # Not given up where the client goes away: once begun, it has to be known what became of it.
    run = await _on_thread(http, lambda: service.submit(call, caller.client, run_id), submits=True)
    if run.status not in FINAL and wait_s:
        work = _Waiter(http, service, caller).until(run, 0, until_s)
        try:
            run = await unless_gone(http.receive, work)
        except ClientGone:
            service.abandon(run.id)
            raise
    return _run_response(http, service, run)


@router.get(
    "/runs/{run_id}", response_model=RunAnswered, responses={200: {"content": {RUN_TYPE: {}}}}
)
async def run(
    http: Request,
    run_id: RunId,
    caller: Signing,
    after: After = 0,
    wait_s: Wait = 0.0,
) -> Response:
    """Say what is known of a run; one that was lost with a former server is `lost`."""
    serving = http.app.state.serving
    if serving is None:
        # This server still loads its model: the run can be of a former life of it alone.
        record = _gate(http).record
        former = await _on_thread(http, lambda: record.former(run_id, caller.client))
        return _run_response(http, None, former)
    service = await service_of(serving)
    until_s = time.monotonic() + wait_s
    known = await _on_thread(http, lambda: service.run(run_id, caller.client, after=after))
    if known.status not in FINAL and not known.lines and wait_s:
        work = _Waiter(http, service, caller).until(known, after, until_s)
        known = await unless_gone(http.receive, work)
    return _run_response(http, service, known)


@router.get("/runs/{run_id}/result", response_class=Response, responses=FRAME)
async def result(http: Request, run_id: RunId, caller: Signing, service: Service) -> Response:
    """Return the result of a run, once."""
    packed = await _on_thread(http, lambda: service.result(run_id, caller.client))
    return Framed(packed, lambda: service.delivered(run_id))


@router.post("/runs/{run_id}/cancel", status_code=204, response_class=Response)
async def cancel(http: Request, run_id: RunId, caller: Signing, service: Service) -> Response:
    """Ask a run to end; one that has ended stays as it is."""
    await _on_thread(http, lambda: service.cancel(run_id, caller.client))
    return Response(status_code=204)


@router.get(
    "/runs/{run_id}/events",
    response_class=Response,
    responses={200: {"content": {EVENT_TYPE: {}}}},
)
async def events(
    http: Request, run_id: RunId, caller: Signing, service: Service, after: After = 0
) -> EventStream:
    """Stream what is known of a run as it changes: printed lines, status, its end."""
    first = await _on_thread(http, lambda: service.run(run_id, caller.client, after=after))
    return EventStream(_Waiter(http, service, caller).events(first), lambda: None)


@router.post("/sessions", response_model=SessionAnswered, status_code=201)
async def open_session(
    http: Request, asked: SessionAsked, caller: Signing, service: Service
) -> Response:
    """Open a session, in which calls follow one another and values stay on the server."""
    turn = _turn_of(caller, asked.caller)
    session = await _on_thread(
        http, lambda: service.open_session(caller.client, caller=turn, idle_s=asked.idle_s)
    )
    return json_response(SessionAnswered(session=session), 201)


@router.delete("/sessions/{session}", status_code=204, response_class=Response)
async def close_session(http: Request, session: str, caller: Signing, service: Service) -> Response:
    """End a session and forget what was kept in it; idempotent."""
    await _on_thread(http, lambda: service.close_session(session, caller.client))
    return Response(status_code=204)


def listed_techniques() -> list[TechniqueListed]:
    """Return the built-in techniques, by name."""
    from glassbox.techniques.catalogue.built_in import library
    from glassbox.techniques.packed.paging import summary

    return [
        TechniqueListed(
            name=technique.name,
            title=technique.title,
            paper=technique.paper,
            parameters=[
                ParameterListed(
                    name=each.name,
                    type=each.type,
                    required=each.is_required,
                    default=None if each.is_required else summary(each.default),
                    doc=each.doc,
                )
                for each in technique.parameters
            ],
            doc=technique.shapes,
        )
        for technique in library().values()
    ]


@dataclass(frozen=True, eq=False)
class _Waiter:
    """Waits for runs of one caller."""

    http: Request
    service: TechniqueService
    caller: Caller

    async def until(self, run: Run, after: int, until_s: float) -> Run:
        """Return a run once it has a new line or has ended, or the time is over."""
        while run.status not in FINAL and not run.lines:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            run = await self._look(run.id, after, min(left_s, SLICE_S))
        return run

    async def events(self, run: Run) -> AsyncIterator[bytes]:
        """Yield a run whenever it changes."""
        yield event(run_answered(run))
        shown = run
        while run.status not in FINAL:
            run = await self._look(run.id, shown.n_lines, SLICE_S)
            if run.lines or run.status != shown.status or run.position != shown.position:
                yield event(run_answered(run))
                shown = run
            else:
                yield WAITING
        yield DONE

    async def _look(self, run_id: str, after: int, wait_s: float) -> Run:
        looking = _gate(self.http).at_a_time.looking
        if not looking.available_tokens:
            # Too many wait already: this one is answered with what is known a little later.
            await asyncio.sleep(min(wait_s, 1.0))
            return await _on_thread(self.http, lambda: self._run(run_id, after, 0.0))
        return await anyio.to_thread.run_sync(
            lambda: self._run(run_id, after, wait_s), limiter=looking, abandon_on_cancel=True
        )

    def _run(self, run_id: str, after: int, wait_s: float) -> Run:
        return self.service.run(run_id, self.caller.client, after=after, wait_s=wait_s)


async def _on_thread(http: Request, work: Callable[[], T], *, submits: bool = False) -> T:
    """Return what a call of the service comes to, on threads that nothing else waits for.

    Raises:
        CapacityError: Too many wait for a thread already.
    """
    at_a_time = _gate(http).at_a_time
    threads = at_a_time.submitting if submits else at_a_time.asking
    if threads.statistics().tasks_waiting >= MOST_WAITING:
        raise CapacityError(
            f"{THREADS + MOST_WAITING} requests about functions are in the works, which is the "
            "most: whatever runs them is busy, or being started. Try again later."
        )
    return await anyio.to_thread.run_sync(work, limiter=threads)


def _gate(http: Request) -> TechniqueGate:
    """Return what stands before functions, for a request that was signed."""
    gate = guards_of(http).techniques
    # Nobody signs where there is none.
    assert gate is not None
    return gate


def _run_response(http: Request, service: TechniqueService | None, run: Run) -> Response:
    if RUN_TYPE not in http.headers.get("accept", ""):
        return json_response(run_answered(run))
    if run.result is None or service is None:
        return Framed(run_packed(run))
    return Framed(run_packed(run), lambda: service.delivered(run.id))


def _in_its_name(call: Call, caller: Caller) -> Call:
    return replace(call, caller=_turn_of(caller, call.caller))


def _turn_of(caller: Caller, declared: str) -> str:
    """Return whose turn a call takes: the key's, or without keys what the client says it is."""
    return caller.client if caller.client != LOCAL else f"{LOCAL}/{declared}"
