"""The ``glassbox`` object in requests and answers: what hosted models do not show.

Requests for text take it beside OpenAI's fields; ``/v1/states`` uses the same parts. ``layer`` is a
block, counted from 0, negative from the end; ``hidden_state_index`` is Hugging Face's tuple index.
"""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from glassbox.types import FinishReason, Pooling, Scope, Site
from glassbox.wire.shapes import Absent, Answered, Asked, Matrix, Vector

DEFAULT_LAYERS = (-1, -4, -8)
"""Layers captured where a request names none. Source: ``target_layers`` of ADR-008."""

DEFAULT_POOLING: tuple[Pooling, ...] = ("mean", "last", "norm")
"""Forms captured where a request names none. Source: ADR-008."""

MAX_POINTS = 1024
"""Most places in one capture: more than any model has."""


class PointAsked(Asked):
    """A place in the model."""

    layer: int
    """Block, 0-based; negative counts from the end."""
    site: Site = "resid_post"
    """Where inside the block."""


class CaptureAsked(Asked):
    """Hidden states wanted back: name the places in one of three ways."""

    layers: list[int] | Literal["all"] | None = Field(default=None, max_length=MAX_POINTS)
    """Blocks whose output is read (`resid_post`), or `all`; without any place, [-1, -4, -8]."""
    points: list[PointAsked] | None = Field(default=None, max_length=MAX_POINTS)
    """Places with their site."""
    hidden_state_indices: list[int] | None = Field(default=None, max_length=MAX_POINTS)
    """Indices into Hugging Face's `hidden_states`: 0 the embeddings, -1 after the final norm."""
    pooling: list[Pooling] = Field(default=list(DEFAULT_POOLING), min_length=1, max_length=4)
    """Forms wanted: `mean`, `last`, `norm`, or `none` for every position's vector."""
    scope: Scope = "prompt"
    """Positions covered: `prompt`, `generated` or `all`; a hidden system prompt never."""

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        given = [
            name
            for name in ("layers", "points", "hidden_state_indices")
            if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise PydanticCustomError(
                "places", "{names} are given; allowed: one of them", {"names": " and ".join(given)}
            )
        if given and not getattr(self, given[0]):
            raise PydanticCustomError("places", "{name} is empty; name a place", {"name": given[0]})
        if len(set(self.pooling)) < len(self.pooling):
            raise PydanticCustomError("pooling", "pooling names a form twice")
        return self


class GlassboxAsked(Asked):
    """What a request for text wants beyond OpenAI's fields."""

    capture: CaptureAsked | None = None
    """Hidden states to send back."""
    probes: bool | list[str] = False
    """`true` reads every probe made for the model that answers, a list those named; where there is
    none, `true` gives the unvalidated heuristic `norm_proxy`."""
    entropies: bool = False
    """Whether to send entropy and log-probability of each token, raw and as sampled from."""
    deadline_s: float | None = Field(default=None, gt=0)
    """Seconds after which the request ends with what it has."""
    top_k: int | None = Field(default=None, ge=1)
    """Sample among so many of the most probable tokens only."""
    stop_at_end: bool = True
    """Whether the model's end-of-text token ends the text."""


class StatesAnswered(Answered):
    """Hidden states of one place."""

    layer: int
    """Block, counted from 0."""
    site: Site
    """Where inside the block."""
    hidden_state_index: int | None
    """The same place as an index into Hugging Face's `hidden_states`, where it is in there."""
    scope: Scope
    """Positions covered."""
    n_positions: int
    """How many those were."""
    mean: Vector | None = Absent
    """Mean vector over the positions."""
    last: Vector | None = Absent
    """Vector of the last position."""
    norm: float | None = Absent
    """Mean over the positions of the L2 norm."""
    none: Matrix | None = Absent
    """Every position's vector."""


class ProbeAnswered(Answered):
    """What one probe read on this request."""

    probe_logit: float | None
    """Log-odds of the probe's target over the positions it covers; null where there were none."""
    probe_prob: float | None
    """The same, calibrated, in [0, 1]."""
    threshold: float | None = None
    """Probability from which the probe flags."""
    flagged: bool | None = None
    """Whether `probe_prob` reaches the threshold; null without one."""
    token_logits: Vector | None = Absent
    """Log-odds at each covered position; a token drawn last is never run and has none."""
    validated: bool = True
    """False for a heuristic that no data stand behind."""
    uncertainty: float | None = Absent
    """In (0, 1], higher is said to be worse; only of the heuristic `norm_proxy`."""
    note: str | None = Absent
    """What to know about a reading that is not validated."""


class Timing(Answered):
    """Where the time went, in seconds."""

    queued_s: float
    """Until the model began with the request."""
    first_token_s: float
    """From its arrival at the model to its first token."""
    total_s: float
    """From its arrival at the model to its end."""


class GlassboxAnswered(Answered):
    """What the model shows of itself beside one text; natural logarithms throughout."""

    finish_reason: FinishReason
    """Why the text ended; OpenAI's field calls a passed deadline and a full context `length`."""
    token_ids: list[int]
    """The tokens, the end-of-text token included."""
    mean_entropy: float
    """Mean over the tokens of the raw entropy, nats."""
    entropies: Vector | None = Absent
    """Entropy before each token, over the whole vocabulary, nats."""
    logprobs: Vector | None = Absent
    """Log-probability of each token under the model's raw distribution."""
    sampled_entropies: Vector | None = Absent
    """As `entropies`, of the distribution sampled from (temperature, top_p, top_k)."""
    sampled_logprobs: Vector | None = Absent
    """As `logprobs`, under the distribution sampled from."""
    states: list[StatesAnswered] | None = Absent
    """Hidden states, in the order of the places asked for."""
    probes: dict[str, ProbeAnswered] | None = Absent
    """Readings by the probe's name."""
    adapter_digest: str | None = None
    """Digest of the adapter that answered; null is the base model."""
    n_cached: int = 0
    """Prompt tokens that were not computed again."""
    timing: Timing
    """Where the time went."""


class GlassboxChunk(Answered):
    """What one step of a stream shows: the tokens it added, and what was read at them."""

    token_ids: list[int]
    """The tokens of this step."""
    entropies: Vector | None = Absent
    """Raw entropy before each of them, nats."""
    logprobs: Vector | None = Absent
    """Raw log-probability of each."""
    sampled_entropies: Vector | None = Absent
    """Entropy of the distribution sampled from."""
    sampled_logprobs: Vector | None = Absent
    """Log-probability under the distribution sampled from."""
    probe_logits: dict[str, Vector] | None = Absent
    """Log-odds by the probe's name, at the positions computed in this step: one token behind the
    text; with the first one those of the prompt, unless all probes asked for read the written text
    alone. With a hidden system prompt, only where they do."""
    final: GlassboxAnswered | None = Absent
    """With the last step of a text: all of it, states and pooled readings included."""
