"""``POST /v1/verify``: is this response right?"""

from dataclasses import asdict, replace
from functools import partial
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassbox.errors import InvalidValue
from glassbox.introspection.verdict import Verdict
from glassbox.introspection.verifier.verify import Verifier
from glassbox.server.access.dependencies import Deadline, Predicting
from glassbox.server.access.guards import Guarded
from glassbox.server.answers.responses import json_response
from glassbox.server.errors.refusals import PROBLEMS
from glassbox.server.serving import Served, Serving
from glassbox.wire.verify import VerifyAnswered, VerifyAsked

HIDDEN_NOTE: Final = (
    "The verifier was trained without the hidden system prompt that stands before every text here: "
    "its promise was not measured with it."
)
"""What a promise is worth where the model is asked otherwise than when it was made."""

router = APIRouter(tags=["confidence"])


@router.post(
    "/v1/verify",
    response_model=None,
    responses={
        200: {"model": VerifyAnswered},
        **PROBLEMS,
    },
)
async def verify(
    http: Request,
    asked: VerifyAsked,
    caller: Predicting,
    serving: Served,
    guards: Guarded,
    deadline_s: Deadline,
) -> Response:
    """Judge a response, or write one and judge that; without a trained verifier by a heuristic."""
    verifier = verifier_for(serving, asked.model)
    for text in (asked.prompt, asked.response or "", *(asked.paraphrases or ())):
        serving.speaker.prompter.check_length(text)
    work = partial(
        verifier.verify,
        asked.prompt,
        asked.response,
        k=asked.k,
        paraphrases=asked.paraphrases,
        client=caller.client,
    )
    allowed_s = min(deadline_s, asked.deadline_s or deadline_s)
    verdict = await guards.slow_calls.run(
        http.receive,
        caller.client,
        allowed_s,
        lambda allowance: work(deadline_s=allowance.left_s, between=allowance.check),
    )
    if verdict.validated and serving.speaker.prompter.hides:
        verdict = replace(verdict, notes=(*verdict.notes, HIDDEN_NOTE))
    guards.metrics.verified(verdict.decision, verdict.n_tokens)
    return json_response(verdict_answered(verdict, http.state.request_id))


def verifier_for(serving: Serving, model: str | None) -> Verifier:
    """Return who judges for the model that a request names.

    Raises:
        UnknownName: No such model.
        InvalidValue: An adapter, and the verifier was trained on the base model.
    """
    speaker = serving.speaker
    adapter = speaker.adapter_of(model)
    if serving.verifier is None:
        probes = [each for each in speaker.probes.values() if not speaker.hides(each.scope)]
        return Verifier(serving.engine, probes=probes, encode=speaker.question, adapter=adapter)
    if adapter is not None:
        raise InvalidValue(
            "model", adapter, f"{serving.name}, on which this server's verifier was trained"
        )
    return serving.verifier


def verdict_answered(verdict: Verdict, request_id: str | None = None) -> VerifyAnswered:
    """Return a verdict for the wire, with the name of its request in the log."""
    return VerifyAnswered.model_validate({**asdict(verdict), "request_id": request_id})
