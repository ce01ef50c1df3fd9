"""``POST /v1/classify``: texts to labels with a calibrated confidence."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.confidence.asking.classify import LabelledLine, Labeller, classify_stream
from glassbox.errors import UnknownName
from glassbox.rollout.answering.labelled_rows import LabelledRow, Witness
from glassbox.rollout.versions.version_names import is_registered
from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.responses import json_response
from glassbox.server.concurrency.slow_work import Allowance
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.server.serving import Served, Serving
from glassbox.wire.classify import ClassifyAnswered, ClassifyAsked, LabelAnswered, RowError

BATCH_ROWS = 64
"""Texts between two looks at whether anybody still waits."""

router = APIRouter(tags=["confidence"])


@router.post(
    "/v1/classify",
    response_model=None,
    responses={
        200: {"model": ClassifyAnswered},
        **PROBLEMS,
    },
)
async def classify(
    http: Request,
    asked: ClassifyAsked,
    caller: Predicting,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Label texts; one that cannot be read has an error of its own and the others their answers."""
    registered = serving.speaker.registered
    if is_registered(asked.model) and registered is not None:
        name, labeller = registered.labeller(asked.model)
    else:
        name, labeller = chosen_labeller(serving.labellers, asked.model)
    began_s = time.perf_counter()

    def label(allowance: Allowance) -> list[LabelledLine]:
        def lines() -> Iterator[tuple[int, str]]:
            for row, text in enumerate(asked.texts):
                # Before a further batch, never once all answers are there.
                if row and row % BATCH_ROWS == 0:
                    allowance.check()
                yield row, text

        return list(classify_stream(labeller, lines(), batch_rows=BATCH_ROWS))

    rows = await guards.slow_calls.run(http.receive, caller.client, deadline_s, label)
    latency_ms = 1000 * (time.perf_counter() - began_s) / len(rows)
    names = await _recorded(serving, name, labeller, rows, latency_ms)
    data = [_row(row, each) for row, each in zip(rows, names, strict=True)]
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
    """Return the classifier that a request names; the first one by default.

    A classifier answers to its own name and digest, and to those of the adapter (or, without one,
    of the base model) whose answers it calibrates.

    Raises:
        UnknownName: There is none of that name, or none at all.
    """
    for name, labeller in labellers.items():
        if model in (None, name, labeller.digest):
            return name, labeller
    for name, labeller in labellers.items():
        if model in _names_of_model(labeller):
            return name, labeller
    remedy = "" if labellers else "Serve one with 'glassbox serve --classifier RUN'."
    raise UnknownName("classifier", model, labellers, remedy=remedy)


def _names_of_model(labeller: Labeller) -> set[str]:
    """Return what requests may call the adapter, or else the base model, that answers for it."""
    asked = labeller.model
    if asked.adapter is None:
        return {asked.engine.info.name, asked.engine.info.digest}
    adapters = asked.engine.adapters
    digests = {each.digest for each in adapters if asked.adapter in (each.name, each.digest)}
    names = {each.name for each in adapters if each.digest in digests}
    return {asked.adapter, *digests, *names}


async def _recorded(
    serving: Serving,
    name: str,
    labeller: Labeller,
    rows: Sequence[LabelledLine],
    latency_ms: float,
) -> Sequence[str | None]:
    """Write rows down as predictions are; return the names of their records."""
    if serving.rollout is None:
        return [None] * len(rows)
    kept = [LabelledRow(row.text or "", row.answer, row.error) for row in rows]
    witness = Witness(serving.rollout.recorder)
    # On a thread: a full queue may hold it back, and others go on.
    names, pending = await asyncio.to_thread(
        witness.record, name, labeller.digest, kept, latency_ms=latency_ms
    )
    for each in pending:
        await asyncio.wrap_future(each)
    return names


def _row(row: LabelledLine, request_id: str | None) -> LabelAnswered:
    found, error = row.answer, row.error
    if found is None:
        assert error is not None
        told = RowError(code=error.code, message=str(error))
        return LabelAnswered(index=row.line, request_id=request_id, error=told)
    decisions: dict[bool | None, Literal["automate", "review"] | None] = {
        True: "automate",
        False: "review",
        None: None,
    }
    shown = found.to_json()
    return LabelAnswered(
        index=row.line,
        request_id=request_id,
        label=found.label,
        confidence=shown["confidence"],
        label_probs=shown["label_probs"],
        raw_confidence=shown["raw_confidence"],
        label_mass=shown["label_mass"],
        decision=decisions[found.automate],
        truncated=found.truncated or None,
    )
