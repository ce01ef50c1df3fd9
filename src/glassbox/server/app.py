"""The HTTP app: routes, guards and errors put together.

The model's side may come later than the app: until then the routes that need it answer 503. Knows
no setting and loads nothing.
"""

import importlib.metadata
from collections.abc import Sequence

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from glassbox.server.access.cross_origin import with_cross_origin
from glassbox.server.access.dependencies import require
from glassbox.server.access.entrance import Entrance
from glassbox.server.access.guards import Guards
from glassbox.server.answers.rollout_serving import KeptAnswers
from glassbox.server.concurrency.waiting import ClientGone, gone_answered
from glassbox.server.errors import statuses
from glassbox.server.routes import (
    adapters,
    alerts,
    audit,
    classify,
    drift,
    fleet,
    front_end,
    health,
    inference,
    lens,
    models,
    openai_chat,
    openai_completions,
    pathways,
    rollout_events,
    rollouts,
    sagemaker,
    states,
    techniques,
    verify,
    versions,
)
from glassbox.server.serving import Serving
from glassbox.server.telemetry.metrics import Busy

ABOUT = """Text, calibrated confidence, hidden states and probe readings of one resident model."""


description = APIRouter(include_in_schema=False)


@description.get("/openapi.json", dependencies=[Depends(require("predict"))])
def openapi(request: Request) -> JSONResponse:
    """Return the description of all routes."""
    return JSONResponse(request.app.openapi())


class GuardedApp(FastAPI):
    """The framework's app with our entrance around all of it, its answer to a fault included."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return what a request comes through, outermost first."""
        guards: Guards = self.state.guards
        entrance = Entrance(guards.tracing.wrapped(super().build_middleware_stack()), guards)
        return with_cross_origin(entrance, guards.limits.cors_origins)


def create_app(
    serving: Serving | None = None,
    guards: Guards | None = None,
    *,
    routers: Sequence[APIRouter] | None = None,
    is_described: bool = True,
) -> FastAPI:
    """Return the app.

    Args:
        serving: The model's side; None while it is loaded: hand it to ``begin_serving`` then.
        guards: Limits, keys, counters; None takes the defaults, open to everyone.
        routers: Routes, none of which includes another router; None takes all.
        is_described: Whether there is a route that describes the others.
    """
    guards = guards or Guards()
    parts = [*(all_routers() if routers is None else routers)]
    if is_described:
        parts.append(description)
    app = GuardedApp(
        # To include a router would build each of its routes once more: for every app, and as its
        # first request comes by, with the filters of warnings changed, which are the process's.
        routes=[route for router in parts for route in router.routes],
        title="Glassbox",
        summary=ABOUT,
        version=importlib.metadata.version("glassbox-llm"),
        # The framework's pages about the routes load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.guards = guards
    app.state.serving = None
    app.state.versions = KeptAnswers()
    statuses.install(app)
    app.add_exception_handler(ClientGone, gone_answered)
    if serving is not None:
        begin_serving(app, serving)
    return app


def begin_serving(app: FastAPI, serving: Serving) -> None:
    """Answer requests for the model from now on."""
    guards: Guards = app.state.guards
    engine: object = serving.engine
    guards.metrics.serve(serving.name)
    if isinstance(engine, Busy):
        guards.metrics.watch(engine)
    app.state.serving = serving
    guards.lifecycle.ready()


def all_routers() -> tuple[APIRouter, ...]:
    """Return the routes of the whole server."""
    return (
        health.router,
        openai_completions.router,
        openai_chat.router,
        models.router,
        states.router,
        lens.router,
        classify.router,
        verify.router,
        adapters.router,
        techniques.router,
        inference.router,
        audit.router,
        versions.router,
        rollouts.router,
        drift.router,
        alerts.router,
        fleet.router,
        pathways.router,
        rollout_events.router,
        sagemaker.router,
        front_end.router,
    )
