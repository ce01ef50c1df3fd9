"""What the client's methods return where the wire's own shape would be unhandy.

Knows nothing of HTTP; the wire's models are returned as they are elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassbox.types import FinishReason
from glassbox.wire.extension import GlassboxAnswered, ProbeAnswered, StatesAnswered, Timing
from glassbox.wire.openai_sampling import Usage


@dataclass(frozen=True, eq=False)
class Generated:
    """One text the model wrote, and what it showed of itself."""

    text: str
    """The text, without stop string and special tokens."""
    finish_reason: FinishReason
    """Why it ended."""
    model: str
    """Model that answered, by the name the request gave."""
    token_ids: tuple[int, ...]
    """Its tokens, the end-of-text token included."""
    logprobs: np.ndarray
    """Raw log-probability of each token, float32."""
    entropies: np.ndarray
    """Raw entropy before each token, nats, float32."""
    sampled_logprobs: np.ndarray
    """Log-probability of each under the distribution sampled from, float32."""
    sampled_entropies: np.ndarray
    """Entropy of that distribution, nats, float32."""
    mean_entropy: float
    """Mean of the raw entropies, nats."""
    tokens: tuple[str, ...]
    """Each token as text; empty without ``top_logprobs``."""
    top_logprobs: tuple[Mapping[str, float], ...]
    """Most probable tokens at each place; empty without ``top_logprobs``."""
    states: tuple[StatesAnswered, ...]
    """Hidden states, where captured."""
    probes: Mapping[str, ProbeAnswered]
    """Readings by the probe's name, where asked for."""
    adapter_digest: str | None
    """Digest of the adapter that answered; None is the base model."""
    n_prompt: int
    """Tokens of all prompts of the request."""
    n_cached: int
    """Prompt tokens that were not computed again."""
    timing: Timing
    """Where the time went."""
    request_id: str | None = None
    """Name of the request in the server's log."""


@dataclass(frozen=True, eq=False)
class StreamedPiece:
    """The next part of a text that is being written."""

    text: str
    """More text; may be empty while a character or stop string is unfinished."""
    token_ids: tuple[int, ...]
    """The tokens of this step."""
    logprobs: np.ndarray
    """Raw log-probability of each, float32."""
    entropies: np.ndarray
    """Raw entropy before each, nats, float32."""
    probe_logits: Mapping[str, np.ndarray]
    """Probes' log-odds at the positions computed in this step, by name."""
    whole: Generated | None
    """With the last piece: all of it."""


@dataclass(frozen=True)
class Change:
    """Something that changed in the service."""

    topic: str
    """``summary``, ``inference``, ``rollout``, ``drift``, ``alert`` or ``heartbeat``."""
    data: Any
    """What is to be known of it, as the HTTP reference has it."""


@dataclass(frozen=True)
class Health:
    """Whether a server can be asked."""

    live: bool
    """It answers at all."""
    ready: bool
    """Its model is loaded and it takes requests."""


def generated(
    text: str,
    model: str,
    shown: GlassboxAnswered,
    usage: Usage | None,
    *,
    tokens: tuple[str, ...] = (),
    tops: tuple[Mapping[str, float], ...] = (),
    request_id: str | None = None,
) -> Generated:
    """Return one text from the parts of an answer."""
    return Generated(
        text=text,
        finish_reason=shown.finish_reason,
        model=model,
        token_ids=tuple(shown.token_ids),
        logprobs=_array(shown.logprobs),
        entropies=_array(shown.entropies),
        sampled_logprobs=_array(shown.sampled_logprobs),
        sampled_entropies=_array(shown.sampled_entropies),
        mean_entropy=shown.mean_entropy,
        tokens=tokens,
        top_logprobs=tops,
        states=tuple(shown.states or ()),
        probes=shown.probes or {},
        adapter_digest=shown.adapter_digest,
        n_prompt=usage.prompt_tokens if usage is not None else 0,
        n_cached=shown.n_cached,
        timing=shown.timing,
        request_id=request_id,
    )


def _array(values: np.ndarray | None) -> np.ndarray:
    return np.zeros(0, dtype=np.float32) if values is None else values
