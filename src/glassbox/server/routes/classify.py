"""``POST /v1/classify``: texts to labels with a calibrated confidence."""

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.confidence.classify import LabelledLine, Labeller, classify_stream
from glassbox.errors import UnknownName
from glassbox.server.access import Deadline, Predicting
from glassbox.server.answering import json_response
from glassbox.server.serving import Guarded, Served
from glassbox.server.slow_work import Allowance, slow_work
from glassbox.server.waiting import CLIENT_GONE, ClientGone
from glassbox.wire.classify import ClassifyAnswered, ClassifyAsked, LabelAnswered, RowError
from glassbox.wire.problem import PROBLEM_TYPE, Problem

BATCH_ROWS = 64
"""Texts between two looks at whether anybody still waits."""

router = APIRouter(tags=["confidence"])


@router.post(
    "/v1/classify",
    response_model=None,
    responses={
        200: {"model": ClassifyAnswered},
        "4XX": {"model": Problem, "content": {PROBLEM_TYPE: {}}},
    },
)
async def classify(
    http: Request,
    asked: ClassifyAsked,
    _caller: Predicting,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Label texts; one that cannot be read has an error of its own and the others their answers."""
    name, labeller = chosen_labeller(serving.labellers, asked.model)

    def label(allowance: Allowance) -> list[LabelledLine]:
        rows = []
        for row in classify_stream(labeller, enumerate(asked.texts), batch_rows=BATCH_ROWS):
            allowance.check()
            rows.append(row)
        return rows

    try:
        rows = await slow_work(http, deadline_s, label)
    except ClientGone:
        return Response(status_code=CLIENT_GONE)
    data = [_row(row) for row in rows]
    for each in data:
        guards.metrics.classified("error" if each.error else each.decision or "none")
    return json_response(
        ClassifyAnswered(
            model=name,
            classifier_digest=labeller.digest,
            calibrated=labeller.calibrator is not None,
            threshold=labeller.threshold,
            data=data,
        )
    )


def chosen_labeller(labellers: Mapping[str, Labeller], model: str | None) -> tuple[str, Labeller]:
    """Return the classifier that a request names, by name or digest; the first one by default.

    Raises:
        UnknownName: There is none of that name, or none at all.
    """
    for name, labeller in labellers.items():
        if model in (None, name, labeller.digest):
            return name, labeller
    remedy = "" if labellers else "Serve one with 'glassbox serve --classifier RUN'."
    raise UnknownName("classifier", model or "", labellers, remedy=remedy)


def _row(row: LabelledLine) -> LabelAnswered:
    found, error = row.answer, row.error
    if found is None:
        assert error is not None
        return LabelAnswered(index=row.line, error=RowError(code=error.code, message=str(error)))
    decisions: dict[bool | None, Literal["automate", "review"] | None] = {
        True: "automate",
        False: "review",
        None: None,
    }
    shown = found.to_json()
    return LabelAnswered(
        index=row.line,
        label=found.label,
        confidence=shown["confidence"],
        label_probs=shown["label_probs"],
        raw_confidence=shown["raw_confidence"],
        label_mass=shown["label_mass"],
        decision=decisions[found.automate],
    )
