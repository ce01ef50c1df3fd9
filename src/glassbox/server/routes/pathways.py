"""``/v1/pathways``: finished studies, read from their folders; needs no model."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import FileResponse, Response

from glassbox.errors import UnknownName
from glassbox.pathways.integration.results import StudyResults
from glassbox.pathways.integration.values import PathwayRow
from glassbox.server.access.dependencies import Observing
from glassbox.server.access.guards import guards_of
from glassbox.server.answers.rollout_serving import tagged_answer
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.server.study_shelf import shown, study_shown
from glassbox.wire.latents import (
    MOST_ROWS,
    AssociationAnswered,
    LatentAnswered,
    LatentCardAnswered,
    LatentsAnswered,
    PathwayAnswered,
    PathwayOrder,
    PathwaysAnswered,
    TokensAnswered,
)
from glassbox.wire.pathways import (
    MOST_EDGES,
    GraphAnswered,
    StudiesAnswered,
    StudyAnswered,
)

router = APIRouter(
    prefix="/v1/pathways",
    tags=["pathways"],
    responses=PROBLEMS,
)

REPORT_POLICY = "; ".join(
    (
        "sandbox allow-scripts",
        "default-src 'none'",
        "script-src 'unsafe-inline'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "frame-ancestors 'none'",
    )
)
"""What a report may do in a browser: run its own script, and reach nothing of this server's."""

Limit = Annotated[int, Query(ge=0, le=MOST_ROWS, description="Most rows.")]
Offset = Annotated[int, Query(ge=0, le=10**9, description="Rows passed over.")]
Latent = Annotated[str | None, Query(max_length=40, description="A latent, as `L13-2044`.")]


@dataclass(frozen=True)
class _Window:
    """Which rows of a long answer."""

    limit: Limit = 100
    offset: Offset = 0

    @property
    def said(self) -> dict[str, int]:
        """Limit and offset by name."""
        return {"limit": self.limit, "offset": self.offset}


Window = Annotated[_Window, Depends()]
"""Which rows of a long answer, as a route's parameter."""


def _study(request: Request, study: str) -> StudyResults:
    return guards_of(request).studies.open(study)


Study = Annotated[StudyResults, Depends(_study)]
"""The results of the study that the address names."""


@router.get("", response_model=StudiesAnswered)
def studies(request: Request, _caller: Observing) -> Response:
    """Return every finished study, by name."""
    found = guards_of(request).studies.briefs()
    return tagged_answer(request, StudiesAnswered(studies=found))


@router.get("/{study}", response_model=StudyAnswered)
def study(request: Request, study: str, _caller: Observing, results: Study) -> Response:
    """Return a study in its figures: counts, verification, communities, paths to the decision."""
    return tagged_answer(request, study_shown(study, results))


@router.get("/{study}/latents", response_model=LatentsAnswered)
def latents(
    request: Request,
    _caller: Observing,
    results: Study,
    layer: Annotated[int | None, Query(ge=0, le=10**4, description="Block, from 0.")] = None,
) -> Response:
    """Return a study's latents, in order of layer and index."""
    found = [shown(each, LatentAnswered) for each in results.latents(layer=layer)]
    return tagged_answer(request, LatentsAnswered(latents=found))


@router.get("/{study}/latents/{latent}", response_model=LatentCardAnswered)
def latent(
    request: Request, latent: str, _caller: Observing, results: Study, limit: Limit = 50
) -> Response:
    """Return all that is known of one latent: texts, tokens, effects, pathways on either side."""
    card = results.card(latent, limit=limit)
    sides = {
        "upstream": [_pathway(each) for each in card.upstream],
        "downstream": [_pathway(each) for each in card.downstream],
    }
    return tagged_answer(request, shown(card, LatentCardAnswered, **sides))


@router.get("/{study}/pathways", response_model=PathwaysAnswered)
def pathways(
    request: Request,
    _caller: Observing,
    results: Study,
    window: Window,
    source: Latent = None,
    target: Latent = None,
    verified: Annotated[bool | None, Query(description="Confirmed by replay, or not.")] = None,
    order: PathwayOrder = "attribution",
) -> Response:
    """Return a study's pathways, strongest first."""
    page = results.pathways(
        source=source, target=target, verified=verified, order=order, **window.said
    )
    found = [_pathway(each) for each in page.rows]
    return tagged_answer(request, PathwaysAnswered(pathways=found, n_rows=page.n_rows))


@router.get("/{study}/tokens", response_model=TokensAnswered)
def tokens(
    request: Request,
    _caller: Observing,
    results: Study,
    window: Window,
    latent: Latent = None,
    token: Annotated[str | None, Query(max_length=200, description="Exactly this token.")] = None,
    condition: Annotated[str | None, Query(max_length=100, description="One condition.")] = None,
) -> Response:
    """Return which tokens go with which latents, the surest first."""
    page = results.tokens(latent=latent, token=token, condition=condition, **window.said)
    found = [shown(each, AssociationAnswered) for each in page.rows]
    return tagged_answer(request, TokensAnswered(tokens=found, n_rows=page.n_rows))


@router.get("/{study}/graph", response_model=GraphAnswered)
def graph(
    request: Request,
    _caller: Observing,
    results: Study,
    limit: Annotated[int, Query(ge=0, le=MOST_EDGES, description="Most edges.")] = 200,
) -> Response:
    """Return the strongest part of a study's graph of tokens, latents and the decision."""
    return tagged_answer(request, shown(results.graph(limit=limit), GraphAnswered))


@router.get(
    "/{study}/report",
    response_class=FileResponse,
    responses={200: {"description": "The page, whole in itself.", "content": {"text/html": {}}}},
)
def report(study: str, _caller: Observing, results: Study) -> FileResponse:
    """Return a study's report: one HTML page with its graph, cards and pictures."""
    if not results.report.is_file():
        raise UnknownName("report", study, [], remedy="Run 'glassbox pathways integrate' again.")
    return FileResponse(
        results.report,
        media_type="text/html; charset=utf-8",
        filename=f"{study}.html",
        content_disposition_type="inline",
        headers={
            "Content-Security-Policy": REPORT_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        },
    )


def _pathway(row: PathwayRow) -> PathwayAnswered:
    return shown(row, PathwayAnswered, effect=row.effect)
