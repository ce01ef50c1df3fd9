"""``GET /v1/models``: every name that a request may give as its model.

Addresses of registered versions are names too; ``GET /api/v2/models/versions`` lists those.
"""

from fastapi import APIRouter
from starlette.responses import Response

from glassbox.errors import UnknownName
from glassbox.server.access.dependencies import Predicting
from glassbox.server.answers.responses import json_response
from glassbox.server.errors.refusals import OPENAI_ERRORS
from glassbox.server.serving import Served, Serving
from glassbox.wire.models import ModelFacts, ServedModel, ServedModels

router = APIRouter(tags=["models"], responses=OPENAI_ERRORS)


@router.get("/v1/models", response_model=None, responses={200: {"model": ServedModels}})
def models(_caller: Predicting, serving: Served) -> Response:
    """List the base model, the loaded adapters and the classifiers."""
    return json_response(ServedModels(data=served_models(serving)))


@router.get("/v1/models/{model:path}", response_model=None, responses={200: {"model": ServedModel}})
def model(model: str, _caller: Predicting, serving: Served) -> Response:
    """Describe one of them, by name or digest."""
    found = served_models(serving)
    for each in found:
        if model in (each.id, each.glassbox.digest):
            return json_response(each)
    raise UnknownName("model", model, [each.id for each in found])


def served_models(serving: Serving) -> list[ServedModel]:
    """Return what is served, the base model first."""
    info, speaker = serving.engine.info, serving.speaker
    base = ServedModel(
        id=serving.name,
        created=serving.created,
        root=serving.name,
        glassbox=ModelFacts(
            kind="base",
            digest=info.digest,
            architecture=info.architecture,
            n_parameters=info.n_parameters,
            n_layers=info.n_layers,
            d_model=info.d_model,
            context=speaker.prompter.room,
            dtype=info.dtype,
            device=info.device,
            has_states=info.states,
            has_chat_template=speaker.prompter.has_template,
            probes=sorted(speaker.probes),
        ),
    )
    adapters = [
        ServedModel(
            id=each.name,
            created=serving.created,
            root=serving.name,
            parent=serving.name,
            glassbox=ModelFacts(kind="adapter", digest=each.digest),
        )
        for each in serving.engine.adapters
    ]
    classifiers = [
        ServedModel(
            id=name,
            created=serving.created,
            root=serving.name,
            parent=serving.name,
            glassbox=ModelFacts(
                kind="classifier",
                digest=labeller.digest,
                classes=list(labeller.model.labels.classes),
            ),
        )
        for name, labeller in serving.labellers.items()
    ]
    return [base, *adapters, *classifiers]
