"""What the Shadow Self's own request sends, and its estimate of uncertainty: pure functions.

Names, fields and defaults are those of the source document's client. Sends nothing.
"""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Literal, TypedDict

import httpx
import numpy as np

from glassbox.client import given
from glassbox.client.calls import Call
from glassbox.stats.uncertainty import heuristic
from glassbox.wire.invocation_attributes import INVOCATIONS
from glassbox.wire.sagemaker import InvocationAnswered, PackedStates, PooledStates


class InvocationOptions(TypedDict, total=False):
    """How a text is written, and which states are shown; all of them may be left out."""

    target_layers: Sequence[int]
    """Indices of hidden states, where 0 is the embeddings; -1, -4 and -8."""
    max_new_tokens: int
    """Most tokens to write; 256."""
    temperature: float
    """0 is greedy; 0.7."""
    return_probs: bool
    """Whether the probability of each token comes back; True."""
    adapter: str
    """Adapter that is to answer; the base model without one."""
    encoding: Literal["json", "float16"]
    """How vectors travel: as numbers, or as a tenth of that in half precision; ``json``."""


def invoke(text: str, options: InvocationOptions) -> Call[InvocationAnswered]:
    """Return the request for a text with the hidden states of its prompt."""
    given.known_options(options, InvocationOptions)
    parameters: dict[str, Any] = dict(options)
    if "target_layers" in parameters:
        parameters["target_layers"] = given.many("target_layers", parameters["target_layers"])
    body = {"inputs": text, "parameters": parameters}
    return Call("POST", INVOCATIONS, _read, body)


def _read(response: httpx.Response) -> InvocationAnswered:
    answer = InvocationAnswered.from_json(response.content)
    states = {
        key: _unpacked(each) if isinstance(each, PackedStates) else each
        for key, each in answer.hidden_states.items()
    }
    return answer.model_copy(update={"hidden_states": states})


def _unpacked(packed: PackedStates) -> PooledStates:
    vectors = [
        np.load(BytesIO(base64.b64decode(text)), allow_pickle=False).astype(np.float32)
        for text in (packed.mean, packed.last_token)
    ]
    return PooledStates(mean=vectors[0], last_token=vectors[1], norm=packed.norm)


def estimate_uncertainty(answer: InvocationAnswered) -> float:
    """Return how unsure the model sounds, in [0, 1]: from entropy and mean probability.

    Nobody validated it; ``Client.verify`` has a verdict that was.

    Args:
        answer: What ``invoke_with_hidden_states`` returned, with its probabilities.

    Source: the Shadow Self's client, method estimateUncertainty.
    """
    return heuristic.estimate_uncertainty(answer.logits_entropy, answer.generation_probs)
