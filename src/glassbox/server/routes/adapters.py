"""``/v1/adapters``: load, list and unload LoRA adapters while serving; vLLM's names too.

Source: vLLM, "Dynamically serving LoRA Adapters", for ``/v1/load_lora_adapter`` and
``/v1/unload_lora_adapter``.
"""

from collections.abc import Callable, Collection
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from glassbox.engine.protocol import Engine
from glassbox.engine.requests import AdapterInfo
from glassbox.errors import ConflictError, UnknownName
from glassbox.server.access.dependencies import Administering, Deadline, Predicting
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.responses import json_response
from glassbox.server.concurrency.slow_work import Allowance
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.server.serving import Served, Serving
from glassbox.wire.adapters import (
    AdapterAnswered,
    AdapterLoadAsked,
    AdaptersAnswered,
    LoraLoadAsked,
    LoraUnloadAsked,
)

UNLOAD_S: Final = 5.0
"""How long to wait for the requests that use an adapter before saying that some still do."""

router = APIRouter(
    tags=["adapters"],
    responses=PROBLEMS,
)


@router.get("/v1/adapters", response_model=AdaptersAnswered)
def adapters(_caller: Predicting, serving: Served) -> Response:
    """Return the adapters that requests may name."""
    data = [_answered(each) for each in serving.engine.adapters]
    return json_response(AdaptersAnswered(data=data))


@router.post("/v1/adapters", response_model=AdapterAnswered, status_code=201)
async def load(
    http: Request,
    asked: AdapterLoadAsked,
    caller: Administering,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Load an adapter under a name; loading the same one again changes nothing."""
    work = _loading(serving, asked.name, asked.path)
    info = await guards.slow_calls.run(http.receive, caller.client, deadline_s, work)
    return json_response(_answered(info), 201)


@router.delete(
    "/v1/adapters/{name:path}",
    status_code=204,
    response_class=Response,
    responses={202: {"description": "Unloaded; some requests still use it."}},
)
async def unload(
    http: Request,
    name: str,
    caller: Administering,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Unload an adapter: no new request can name it, and those that use it finish first.

    202 says that some still use it; its memory is free when the last of them has ended.
    """
    work = _unloading(serving, name)
    is_free = await guards.slow_calls.run(http.receive, caller.client, deadline_s, work)
    return Response(status_code=204 if is_free else 202)


@router.post("/v1/load_lora_adapter", response_class=PlainTextResponse)
async def load_lora_adapter(
    http: Request,
    asked: LoraLoadAsked,
    caller: Administering,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Load an adapter, as vLLM's clients ask for it."""
    work = _loading(serving, asked.lora_name, asked.lora_path, in_place=asked.load_inplace)
    info = await guards.slow_calls.run(http.receive, caller.client, deadline_s, work)
    return PlainTextResponse(f"Success: LoRA adapter '{info.name}' added successfully.")


@router.post("/v1/unload_lora_adapter", response_class=PlainTextResponse)
async def unload_lora_adapter(
    http: Request,
    asked: LoraUnloadAsked,
    caller: Administering,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Unload an adapter, as vLLM's clients ask for it."""
    work = _unloading(serving, asked.lora_name)
    await guards.slow_calls.run(http.receive, caller.client, deadline_s, work)
    return PlainTextResponse(f"Success: LoRA adapter '{asked.lora_name}' removed successfully.")


def reserved_names(serving: Serving) -> frozenset[str]:
    """Return the names that no adapter may have, because something else answers to them."""
    engine = serving.engine
    digests = {each.digest for each in engine.adapters}
    return frozenset({serving.name, engine.info.digest, *digests, *serving.labellers})


def load_adapter(
    engine: Engine,
    name: str,
    path: str,
    *,
    reserved: Collection[str] = (),
    in_place: bool = False,
) -> AdapterInfo:
    """Return an adapter that is now loaded.

    Args:
        engine: Who loads it.
        name: Name that requests give.
        path: Folder, or an address in object storage.
        reserved: Names that something else answers to.
        in_place: Whether another adapter of that name makes room; only once this one is there.

    Raises:
        UnknownName: No such folder.
        ConflictError: Something else has that name.
        GlassboxError: As ``Engine.load_adapter``.
    """
    if name == engine.info.name or name in reserved:
        raise ConflictError(
            f"{name!r} is the name of another model, or a digest; give the adapter another name."
        )
    if in_place and name in {each.name for each in engine.adapters}:
        # One that cannot be loaded must not take the old one with it.
        beside = f"{name} (new)"
        engine.load_adapter(path, name=beside)
        try:
            engine.unload_adapter(name, timeout_s=0)
            loaded = engine.load_adapter(path, name=name)
        finally:
            engine.unload_adapter(beside, timeout_s=0)
    else:
        loaded = engine.load_adapter(path, name=name)
    found = next((each for each in engine.adapters if each.name == loaded), None)
    if found is None:
        raise UnknownName("adapter", name, [each.name for each in engine.adapters])
    return found


def _loading(
    serving: Serving, name: str, path: str, *, in_place: bool = False
) -> Callable[[Allowance], AdapterInfo]:
    def load(_allowance: Allowance) -> AdapterInfo:
        reserved = reserved_names(serving)
        return load_adapter(serving.engine, name, path, reserved=reserved, in_place=in_place)

    return load


def _unloading(serving: Serving, name: str) -> Callable[[Allowance], bool]:
    return lambda _: serving.engine.unload_adapter(name, timeout_s=UNLOAD_S)


def _answered(info: AdapterInfo) -> AdapterAnswered:
    return AdapterAnswered(
        name=info.name, digest=info.digest, rank=info.rank, n_bytes=info.n_bytes, tier=info.tier
    )
