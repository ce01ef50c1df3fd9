"""The four functions that SageMaker's inference toolkit calls in a container of its own.

``glassbox serve --sagemaker`` answers the same over HTTP, many requests in one batch; these serve
one at a time, as the toolkit calls them. Fields and defaults are those of the source document.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from glassbox.deploy.bundle import BUNDLE_FILE, opened
from glassbox.engine.model.files import short_name
from glassbox.engine.protocol import Engine
from glassbox.errors import InvalidData, InvalidValue
from glassbox.runtime import Runtime
from glassbox.server.sagemaker.invocations import (
    chosen_adapter,
    invocation,
    invocation_answered,
    read_invocation,
)
from glassbox.server.start import assemble
from glassbox.server.translation.speech import Speaker

JSON_TYPE = "application/json"
"""The only type that is read and written."""

_ACCEPTED = ("", "*/*", "application/*", JSON_TYPE)


@dataclass(frozen=True, eq=False)
class ShadowSelfModel:
    """A resident model as the container holds it."""

    speaker: Speaker
    """The model, its prompts and its adapters."""

    @property
    def engine(self) -> Engine:
        """The model."""
        return self.speaker.engine


def model_fn(model_dir: str) -> ShadowSelfModel:
    """Return the model of a folder, resident; with its adapters where the folder is a bundle.

    Raises:
        GlassboxError: It cannot be loaded.
    """
    folder = Path(model_dir)
    if (folder / BUNDLE_FILE).is_file():
        found = opened(folder)
        return ShadowSelfModel(assemble(Runtime.load(found.overrides), found.wanted).speaker)
    runtime = Runtime.load({"engine.model": model_dir})
    return shadow_self(runtime.open_engine(runtime.model_spec()))


def shadow_self(engine: Engine) -> ShadowSelfModel:
    """Return a model that is resident already, as the container holds it."""
    return ShadowSelfModel(Speaker(engine, short_name(engine.info.name)))


def input_fn(request_body: str | bytes, request_content_type: str | None) -> dict[str, Any]:
    """Return the request that a body holds, as parsed JSON.

    Raises:
        InvalidValue: The body is not said to be JSON.
        InvalidData: It is no JSON, or no object.
    """
    if (request_content_type or "").partition(";")[0].strip().lower() != JSON_TYPE:
        raise InvalidValue("content type", request_content_type, JSON_TYPE)
    try:
        content = orjson.loads(request_body)
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"The body is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InvalidData("The body is no JSON object with 'inputs'.")
    return content


def predict_fn(data: dict[str, Any], model: ShadowSelfModel) -> dict[str, Any]:
    """Return generated text, hidden states, entropies and probabilities as JSON values.

    Args:
        data: What ``input_fn`` returned.
        model: What ``model_fn`` returned.

    Raises:
        InvalidValue: A field is missing, unknown or wrong, or an answer in parts is wanted.
        InvalidHookPoint: A layer that the model does not have.
        UnknownName: An adapter that is not there.
        GlassboxError: As ``Engine.generate``.
    """
    read = read_invocation(data)
    if read.parameters.stream:
        raise InvalidValue("stream", True, "false: the toolkit's functions answer in one piece")
    speaker = model.speaker
    adapter = chosen_adapter(read, speaker, None)
    asked = invocation(read, speaker.prompter, model.engine.info, adapter=adapter)
    (answer,) = model.engine.generate([asked.request])
    return invocation_answered(asked, answer).model_dump(mode="json")


def output_fn(prediction: dict[str, Any], accept: str) -> str:
    """Return a prediction as JSON.

    Raises:
        InvalidValue: Another type is asked for.
    """
    types = {each.partition(";")[0].strip().lower() for each in accept.split(",")}
    if types.isdisjoint(_ACCEPTED):
        raise InvalidValue("accept", accept, JSON_TYPE)
    return orjson.dumps(prediction).decode()
