"""A stand-in for the routes below ``/api/v2/models``: answers of the real wire models, made up.

States that a real server reaches only after hours, or by failing, are here at once.
"""

import asyncio

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from glassbox.server.routes import front_end
from glassbox.wire.alerts import AlertsAnswered
from glassbox.wire.audit import (
    AuditEntry,
    RecordAnswered,
    SummaryAnswered,
)
from glassbox.wire.drift import DriftAnswered, DriftPoint, ReferencesAnswered
from glassbox.wire.inference import (
    InferenceHealth,
    RegistryAnswered,
)
from glassbox.wire.rollouts import RolloutsAnswered, RolloutStatus
from glassbox.wire.versions import AliasMoveAnswered, CalibrationAnswered, VersionsAnswered
from tests.e2e.pretend_values import (
    CHALLENGER,
    CHAMPION,
    REFERENCE,
    START,
    alerts,
    entry,
    health,
    record,
    report,
    rollout,
    summary,
    versions,
)

PREFIX = "/api/v2/models"


class World:
    """What the stand-in knows; tests change it."""

    def __init__(self, n_entries=2500, charts=None):
        self.entries = [entry(n_entries - at) for at in range(n_entries)]
        self.charts = charts or {}
        self.rollout = rollout("Progressing", weight=0.1)
        self.past = [rollout("Failed", id="r-1", verdict="fail")]
        self.is_empty = False
        self.is_gone = False
        self.conflict = None
        self.asked = []
        self.news = []
        self.aliases = {"champion": 1, "challenger": 2, "previous_champion": 3}
        self.has_alert = True

    def tell(self, topic):
        """Say over the open lines that something happened."""
        for loop, queue in self.news:
            loop.call_soon_threadsafe(queue.put_nowait, topic)


router = APIRouter()


def problem(status, code, detail):
    return JSONResponse({"status": status, "code": code, "detail": detail}, status)


def answer(model, value):
    return Response(model.model_validate(value).to_json(), media_type="application/json")


def listed(model, values):
    shown = [model.model_validate(each).to_json() for each in values]
    return Response(b"[" + b",".join(shown) + b"]", media_type="application/json")


@router.get(PREFIX + "/audit/summary")
def get_summary(request: Request):
    world = request.app.state.world
    return answer(SummaryAnswered, summary(world))


@router.get(PREFIX + "/audit/recent")
def get_recent(
    request: Request,
    limit: int = 100,
    before: int | None = None,
    status: str = "",
    model_version: str = "",
    label: str = "",
    min_diff: float | None = None,
    request_id: str = "",
):
    world = request.app.state.world
    found = [] if world.is_empty else world.entries
    kept = [
        each
        for each in found
        if (before is None or each["sequence"] < before)
        and status in ("", each["status"])
        and model_version in ("", each["model_version"])
        and label in ("", each["label"])
        and request_id in ("", each["request_id"])
        and (min_diff is None or (each["shadow_diff"] or 0) >= min_diff)
    ]
    return listed(AuditEntry, kept[:limit])


@router.get(PREFIX + "/audit/records/{request_id}")
def get_record(request: Request, request_id: str):
    world = request.app.state.world
    for each in world.entries:
        if each["request_id"] == request_id:
            return answer(RecordAnswered, record(each))
    return problem(404, "unknown-name", f"No prediction {request_id!r} is kept.")


@router.get(PREFIX + "/registry")
def get_registry(request: Request):
    world = request.app.state.world
    names = [each["name"] for each in versions(world.aliases)["versions"]]
    shadow = None if world.is_empty else CHALLENGER
    value = {"available_versions": names, "active_version": CHAMPION}
    value |= {"shadow_version": shadow, "shadow_enabled": shadow is not None}
    return answer(RegistryAnswered, value)


@router.get(PREFIX + "/health")
def get_health(request: Request):
    world = request.app.state.world
    return answer(InferenceHealth, health(world))


@router.get(PREFIX + "/alerts")
def get_alerts(request: Request):
    world = request.app.state.world
    return answer(AlertsAnswered, alerts(world))


@router.get(PREFIX + "/versions")
def get_versions(request: Request):
    world = request.app.state.world
    shown = versions(world.aliases)
    if world.is_empty:
        shown = {"revision": 0, "versions": [], "aliases": {}}
    return answer(VersionsAnswered, shown)


@router.get(PREFIX + "/versions/history")
def get_history(request: Request):
    world = request.app.state.world
    move = {
        "sequence": 1,
        "time_s": START,
        "model": "default",
        "alias": "champion",
        "before": 3,
        "after": 1,
        "actor": "ada",
        "reason": "better on every part",
        "evidence": {},
    }
    return listed(AliasMoveAnswered, [] if world.is_empty else [move])


@router.put(PREFIX + "/versions/aliases/{alias}")
async def put_alias(request: Request, alias: str):
    world = request.app.state.world
    asked = await request.json()
    if world.conflict is not None:
        return problem(409, "conflict", world.conflict)
    if asked["expected"] != world.aliases.get(alias):
        return problem(409, "conflict", "The alias has moved.")
    world.aliases[alias] = asked["number"]
    return JSONResponse(asked)


@router.get(PREFIX + "/versions/{name}/calibration")
def get_calibration(request: Request, name: str):
    world = request.app.state.world
    if name != CHAMPION or not world.charts:
        return problem(404, "not-enough-data", f"{name} comes from no evaluation run.")
    return answer(CalibrationAnswered, {"version": name, "charts": world.charts})


@router.get(PREFIX + "/rollouts")
def get_rollouts(request: Request):
    world = request.app.state.world
    current = None if world.is_empty else world.rollout
    past = [] if world.is_empty else world.past
    over = current is not None and current["phase"] in ("Failed", "Succeeded")
    shown = ([current] if current else []) + past
    value = {"current": None if over else current, "rollouts": shown}
    return answer(RolloutsAnswered, value)


@router.get(PREFIX + "/rollouts/{id}")
def get_rollout(request: Request, id: str):
    world = request.app.state.world
    for each in [world.rollout, *world.past]:
        if each["id"] == id:
            return answer(RolloutStatus, each)
    return problem(404, "unknown-name", f"There is no rollout {id!r}.")


@router.post(PREFIX + "/rollouts")
async def post_rollout(request: Request):
    world = request.app.state.world
    world.asked.append(("BODY", "rollouts", await request.json()))
    world.is_empty = False
    world.rollout = rollout("Waiting", id="r-3")
    return answer(RolloutStatus, world.rollout)


@router.post(PREFIX + "/rollouts/{id}/{verb}")
async def post_verb(request: Request, id: str, verb: str):
    world = request.app.state.world
    world.asked.append(("BODY", verb, await request.json()))
    if world.conflict is not None:
        return problem(409, "conflict", world.conflict)
    if verb == "abort":
        world.rollout = rollout("Failed", id=id, verdict="fail")
    elif verb in ("promote", "finish"):
        world.rollout = rollout("Succeeded", id=id, verdict="pass", weight=1.0)
    else:
        world.rollout = {**world.rollout, "paused": verb == "pause"}
    return answer(RolloutStatus, world.rollout)


@router.get(PREFIX + "/drift")
def get_drift(request: Request):
    world = request.app.state.world
    value = {"report": report(), "reference": REFERENCE}
    if world.is_empty:
        value = {"report": None, "reference": None}
    return answer(DriftAnswered, value)


@router.post(PREFIX + "/drift/run")
def post_drift():
    return answer(DriftAnswered, {"report": report(), "reference": REFERENCE})


@router.get(PREFIX + "/drift/history")
def get_drift_history(feature: str, limit: int = 100):
    points = [
        {
            "time_s": START + 300 * at,
            "feature": feature,
            "effect": 0.02 + 0.39 * (at / 23) ** 3,
            "p_adjusted": 0.5 / (at + 1),
            "drifted": at > 15,
            "limit": 0.1,
        }
        for at in range(min(limit, 24))
    ]
    return listed(DriftPoint, points)


@router.get(PREFIX + "/drift/references")
def get_references(request: Request):
    world = request.app.state.world
    value = {"references": [] if world.is_empty else [REFERENCE]}
    return answer(ReferencesAnswered, value)


@router.get(PREFIX + "/events")
async def get_events(request: Request):
    world = request.app.state.world
    queue = asyncio.Queue()
    world.news.append((asyncio.get_running_loop(), queue))

    async def lines():
        yield "event: heartbeat\ndata: {}\n\n"
        while True:
            topic = await queue.get()
            if topic is None:
                return
            yield f"event: {topic}\ndata: {{}}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


def create_app(world):
    """Return the app over a world; another one may be put into its ``state`` at any time."""
    app = FastAPI(openapi_url=None)
    app.state.world = world
    app.include_router(front_end.router)
    app.include_router(router)

    @app.middleware("http")
    async def watch(request: Request, proceed):
        world = app.state.world
        if request.url.path.startswith(PREFIX):
            world.asked.append((request.method, request.url.path, str(request.url.query)))
            if world.is_gone:
                return problem(503, "not-ready", "The model is still being loaded.")
        return await proceed(request)

    return app
