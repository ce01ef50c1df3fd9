"""From SageMaker's request to the engine's and back: the source document's fields and defaults.

Where the document's own code skips a layer that the model does not have, this refuses it. Knows
nothing of HTTP, so the container's functions and the server's route answer alike.
"""

import base64
import importlib.metadata
import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pydantic import ValidationError

from glassbox.engine.protocol import EngineInfo
from glassbox.engine.requests import (
    CapturedStates,
    Generation,
    Request,
    Sampling,
    TokenReadings,
)
from glassbox.engine.states.places import point_of_hidden_state
from glassbox.errors import InvalidValue, NonFiniteOutput, UnsupportedModel
from glassbox.server.translation.hiding import REASON
from glassbox.server.translation.prompting import Prompter
from glassbox.server.translation.speech import Speaker
from glassbox.types import Capture, HookPoint
from glassbox.wire.invocation_attributes import ADAPTER, BUNDLE, VERSION, write_attributes
from glassbox.wire.sagemaker import (
    InvocationAnswered,
    InvocationAsked,
    PackedStates,
    PooledStates,
)

MAX_INPUT_TOKENS = 2048
"""Longer prompts keep their beginning. Source: the source document's tokenizer call."""

MOST_HALF = float(np.finfo(np.float16).max)
"""Largest number of half precision. Source: IEEE 754, binary16."""

MOST_SHOWN = 40
"""Characters of a wrong text that an error repeats."""


@dataclass(frozen=True)
class Invocation:
    """A request to the engine, and what its answer needs to say."""

    asked: InvocationAsked
    """As it came."""
    request: Request
    """What the engine is asked."""
    points: dict[str, HookPoint]
    """Place of each key of the answer."""
    truncated: bool
    """Whether the prompt's end was cut off."""


def read_invocation(content: object) -> InvocationAsked:
    """Return the request that some parsed JSON holds.

    Raises:
        InvalidValue: A field is missing, unknown or wrong; the message names it.
    """
    try:
        return InvocationAsked.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the body"
        is_missing = first["type"] == "missing"
        given = "missing" if is_missing else _short(first["input"])
        raise InvalidValue(field, given, f"what the reference says ({first['msg']})") from error


def chosen_adapter(asked: InvocationAsked, speaker: Speaker, attribute: str | None) -> str | None:
    """Return the adapter that is to answer; None is the base model.

    Args:
        asked: The request, which may name one.
        speaker: The resident model and its adapters.
        attribute: What stands beside the request.

    Raises:
        UnknownName: No such adapter: the base model never answers in its stead.
        InvalidValue: Two are named.
    """
    named = asked.parameters.adapter
    if None not in (named, attribute) and named != attribute:
        raise InvalidValue("adapter", named, f"{attribute!r}, which the custom attributes name")
    return speaker.adapter_of(named or attribute)


def invocation(
    asked: InvocationAsked,
    prompter: Prompter,
    info: EngineInfo,
    *,
    adapter: str | None = None,
    client: str = "",
    deadline_s: float | None = None,
) -> Invocation:
    """Return what the engine is to be asked.

    Args:
        asked: The request.
        prompter: The model's prompts.
        info: The model.
        adapter: Adapter that answers, as ``chosen_adapter`` found it.
        client: Whose turn it is in the queue.
        deadline_s: Seconds after which it ends with what it has.

    Raises:
        InvalidHookPoint: A layer that the model does not have; the message names the range.
        InvalidValue: Layers, and a hidden system prompt stands before the prompt.
        UnsupportedModel: Layers of a model whose states cannot be captured.
    """
    wanted = asked.parameters
    if wanted.target_layers and not info.states:
        raise UnsupportedModel(
            f"The layers of {info.architecture} are not known by name, so it has no hidden states "
            "to show. Send target_layers: []."
        )
    points = {
        f"layer_{index}": point_of_hidden_state(index, info.n_layers)
        for index in wanted.target_layers
    }
    prompt = prompter.plain(asked.inputs)
    if prompt.n_hidden and points:
        raise InvalidValue("target_layers", wanted.target_layers, "[], no layers", remedy=REASON)
    # One place at least stays for the text.
    most = prompt.n_hidden + min(MAX_INPUT_TOKENS, info.context - 1 - prompt.n_hidden)
    distinct = tuple(dict.fromkeys(points.values()))
    request = Request(
        prompt=prompt.ids[:most],
        sampling=Sampling(max_tokens=wanted.max_new_tokens, temperature=wanted.temperature),
        n_hidden=prompt.n_hidden,
        adapter=adapter,
        capture=Capture(distinct, ("mean", "last", "norm"), "prompt") if distinct else None,
        client=client,
        deadline_s=deadline_s,
    )
    return Invocation(asked, request, points, truncated=len(prompt.ids) > most)


def invocation_answered(asked: Invocation, answer: Generation) -> InvocationAnswered:
    """Return an engine's answer with the source document's fields.

    Raises:
        NonFiniteOutput: A state does not fit half precision, which was asked for.
    """
    tokens = answer.tokens
    states = {each.point: each for each in answer.states}
    wanted = asked.asked.parameters
    shown = _packed if wanted.encoding == "float16" else _pooled
    return InvocationAnswered(
        generated_text=answer.text,
        hidden_states={key: shown(states[point]) for key, point in asked.points.items()},
        logits_entropy=_mean(tokens.sampled_entropies),
        generation_probs=sampled_probs(tokens) if wanted.return_probs else [],
        logits_entropy_raw=answer.mean_entropy,
        truncated=asked.truncated,
        adapter_digest=answer.adapter_digest,
    )


def echoed(bundle_digest: str, adapter_digest: str | None = None) -> str:
    """Return the custom attributes of an answer: what answered, by version and digests.

    Args:
        bundle_digest: Of the bundle that is served (hex); empty without one.
        adapter_digest: Of the adapter that answered (hex); None is the base model.
    """
    said = {VERSION: importlib.metadata.version("glassbox-llm")}
    said |= {BUNDLE: bundle_digest} if bundle_digest else {}
    said |= {ADAPTER: adapter_digest} if adapter_digest is not None else {}
    return write_attributes(said)


def sampled_probs(tokens: TokenReadings) -> list[float]:
    """Return the probability of each token under the distribution that it was drawn from."""
    probs: list[float] = np.exp(tokens.sampled_logprobs.astype(np.float64)).tolist()
    return probs


def _short(value: object) -> object:
    """Return a value as an error shows it: a large one by its kind alone."""
    is_small = value is None or isinstance(value, bool | int | float)
    if is_small or (isinstance(value, str) and len(value) <= MOST_SHOWN):
        return value
    return f"a {type(value).__name__}"


def _pooled(states: CapturedStates) -> PooledStates:
    assert states.mean is not None
    assert states.last is not None
    assert states.norm is not None
    return PooledStates(mean=states.mean, last_token=states.last, norm=states.norm)


def _packed(states: CapturedStates) -> PackedStates:
    assert states.mean is not None
    assert states.last is not None
    assert states.norm is not None
    return PackedStates(mean=_half(states.mean), last_token=_half(states.last), norm=states.norm)


def _half(vector: Float[np.ndarray, " d_model"]) -> str:
    """Return a vector as a ``.npy`` file of float16, in base64."""
    largest = float(np.abs(vector).max(initial=0.0))
    if largest > MOST_HALF:
        raise NonFiniteOutput(
            f"A hidden state has an entry of size {largest:,.0f}; half precision ends at "
            f"{MOST_HALF:,.0f}. Ask with encoding 'json'."
        )
    file = io.BytesIO()
    np.save(file, vector.astype("<f2"), allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode()


def _mean(values: Float[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else 0.0
