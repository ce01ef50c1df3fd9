"""``POST /api/v2/models/predict``: features to a prediction that is recorded."""

import asyncio
import math
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from glassbox.audit.request_ids import new_request_id
from glassbox.errors import GlassboxError
from glassbox.rollout.answering.inference import Answered, InferenceService
from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.access.entrance import given_request_id
from glassbox.server.answers.responses import json_response
from glassbox.server.answers.rollout_serving import Side, actor_of
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.wire.inference import (
    BatchAnswered,
    BatchAsked,
    BatchRow,
    LabelsAnswered,
    LabelsAsked,
    PredictAnswered,
    PredictAsked,
    PredictError,
    PredictRow,
)

WaitShadow = Annotated[
    float,
    Query(ge=0.0, description="Seconds to wait for the challenger, up to the server's bound."),
]

router = APIRouter(
    prefix="/api/v2/models",
    tags=["predictions"],
    responses=PROBLEMS,
)


@router.post("/predict", response_model=None, responses={200: {"model": PredictAnswered}})
async def predict(
    http: Request,
    asked: PredictAsked,
    _caller: Predicting,
    side: Side,
    deadline_s: Deadline,
    wait_shadow_s: WaitShadow = 0.0,
) -> Response:
    """Predict one row; the answer waits for no challenger unless it is asked to."""
    http.state.request_id = await side.fresh_id(given_request_id(http))
    answered = await side.inference.predict(
        asked.features,
        model=asked.model,
        request_id=http.state.request_id,
        wait_shadow_s=_bounded(wait_shadow_s, side.max_wait_shadow_s),
        routing_key=asked.segment_key,
        deadline_s=deadline_s,
    )
    return json_response(_shown(answered))


@router.post("/predict/batch", response_model=None, responses={200: {"model": BatchAnswered}})
async def predict_batch(
    asked: BatchAsked, _caller: Predicting, side: Side, deadline_s: Deadline
) -> Response:
    """Predict rows; one that cannot be has an error of its own and the others their answers."""
    rows = await asyncio.gather(
        *(_row(side.inference, each, asked.model, deadline_s) for each in asked.rows)
    )
    return json_response(BatchAnswered(results=list(rows)))


@router.post("/labels", response_model=LabelsAnswered)
async def labels(asked: LabelsAsked, caller: Predicting, side: Side) -> Response:
    """Tell the truth about earlier predictions; a later label corrects an earlier one."""
    given = [(each.request_id, each.label) for each in asked.labels]
    unknown = await side.tell_labels(given, actor_of(caller))
    return json_response(LabelsAnswered(accepted=len(given) - len(unknown), unknown=unknown))


async def _row(
    service: InferenceService, row: PredictRow, model: str, deadline_s: float
) -> BatchRow:
    name = new_request_id()
    try:
        answered = await service.predict(
            row.features,
            model=model,
            request_id=name,
            routing_key=row.segment_key,
            deadline_s=deadline_s,
        )
    except GlassboxError as error:
        return BatchRow(request_id=name, error=PredictError(code=error.code, message=str(error)))
    return BatchRow.model_validate(_shown(answered).model_dump())


def _shown(answered: Answered) -> PredictAnswered:
    answer, shadow = answered.prediction, answered.shadow
    return PredictAnswered(
        prediction=answer.prediction,
        confidence=_number(answer.confidence),
        model_version=answered.event.model_version,
        request_id=answered.event.request_id,
        shadow_diff=None if shadow is None else shadow.diff,
        label=answer.label,
        label_probs=None if answer.label_probs is None else dict(answer.label_probs),
        truncated=answer.truncated or None,
    )


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _bounded(seconds: float, most: float) -> float:
    return most if math.isnan(seconds) else min(seconds, most)
