"""Who is asked about responses, how, and for how long: the model with a plan, and its patience.

A plan belongs to a verifier, because another one gives other values. Knows requests; knows nothing
of what is made of the answers.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from glassbox.engine.protocol import Engine
from glassbox.engine.requests import Generation, Request, Sampling
from glassbox.engine.text_codec import TextCodec
from glassbox.errors import DeadlineExceeded, InvalidValue
from glassbox.introspection.evidence.equivalence import Equivalence, equivalence
from glassbox.introspection.evidence.paraphrase import Rewrite
from glassbox.introspection.evidence.readable import ReadableProbe
from glassbox.introspection.evidence.swaps import Swaps
from glassbox.types import TokenIds

STEP_REQUESTS: Final = 32
"""Requests in one step where somebody may give up between steps: others find room in the line."""


@dataclass(frozen=True)
class Asked:
    """A prompt as tokens."""

    ids: TokenIds
    """All of them."""
    n_hidden: int = 0
    """Leading ones that are a hidden system prompt."""


Encode = Callable[[str], Asked]
"""How a prompt becomes tokens: plain text, a chat template, a hidden system prompt in front."""


@dataclass(frozen=True)
class Plan:
    """How the model is asked; part of a verifier, because another plan gives other values."""

    k: int = 10
    """Times the model is asked again; 0 does not ask."""
    temperature: float = 1.0
    """At which it then answers, and writes a response where none is given."""
    equivalence: str = "normalised"
    """Rule by which two answers are the same."""
    rewrites: tuple[Rewrite, ...] = ()
    """Paraphrases by rule for this kind of prompt."""
    swaps: Swaps | None = None
    """Which tokens of a prompt are swapped; None swaps none."""
    stop: tuple[str, ...] = ("\n",)
    """Strings that end an answer."""
    max_tokens: int = 64
    """Most tokens of an answer."""
    seed: int = 0
    """Of the samples."""
    frame: str = "{prompt}"
    """What stands around a prompt, ``{prompt}`` in its midst; what is there already stays."""

    def __post_init__(self) -> None:
        if self.frame.count("{prompt}") != 1:
            raise InvalidValue("frame", self.frame, "a text that holds {prompt} once")
        if not 0 <= self.k <= 1000:
            raise InvalidValue("k", self.k, "0 to 1000 samples")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InvalidValue("temperature", self.temperature, "a number above 0")
        equivalence(self.equivalence)

    def framed(self, prompt: str) -> str:
        """Return a prompt with the frame around it."""
        head, _, tail = self.frame.partition("{prompt}")
        if not head and not tail:
            return prompt
        text = prompt.strip()
        text = text if text.startswith(head.strip()) else head + text
        return text if text.endswith(tail.strip()) else text + tail


@dataclass(frozen=True)
class Witness:
    """A resident model with everything it takes to ask it about responses."""

    engine: Engine
    """The model."""
    encode: Encode
    """How prompts become tokens."""
    plan: Plan
    """How it is asked."""
    probes: tuple[ReadableProbe, ...] = ()
    """Probes that read along."""
    same: Equivalence | None = None
    """A rule of the caller's own in place of the plan's."""
    adapter: str | None = None
    """Adapter that answers."""
    client: str = ""
    """For whom: clients take turns."""
    until_s: float | None = None
    """Moment of ``time.monotonic`` at which nobody waits any more; None waits for ever."""
    between: Callable[[], None] | None = None
    """Called before each step, which then is a small one; raises to give up."""

    def look_up(self) -> None:
        """Do nothing while somebody waits.

        Raises:
            DeadlineExceeded: The time is over.
            GlassboxError: What ``between`` raises.
        """
        if self.between is not None:
            self.between()
        if self.until_s is not None and time.monotonic() >= self.until_s:
            raise DeadlineExceeded("Time ran out before the response was judged. Allow more of it.")

    def answers(self, requests: Sequence[Request]) -> list[Generation]:
        """Return the engine's answers, every one of them whole.

        Raises:
            DeadlineExceeded: Time ran out on the way.
            CapacityError: The engine is shutting down.
            GlassboxError: As the engine.
        """
        found: list[Generation] = []
        step = max(1, len(requests)) if self.between is None else STEP_REQUESTS
        for start in range(0, len(requests), step):
            self.look_up()
            left_s = None if self.until_s is None else self.until_s - time.monotonic()
            part = [replace(each, deadline_s=left_s) for each in requests[start : start + step]]
            found += [answer.whole() for answer in self.engine.generate(part)]
        return found


def plain_encode(codec: TextCodec) -> Encode:
    """Return the usual way of encoding: the chat template where there is one, else plain text."""

    def encode(prompt: str) -> Asked:
        if codec.has_chat_template:
            return Asked(codec.encode([codec.chat(prompt)], special=False)[0])
        return Asked(codec.encode([prompt])[0])

    return encode


def own_answer(witness: Witness, prompt: str, number: int) -> Request:
    """Return the request for one answer of the model's own; its seed follows from its number."""
    plan, asked = witness.plan, witness.encode(prompt)
    name = repr((plan.seed, prompt, number)).encode()
    return Request(
        prompt=asked.ids,
        sampling=Sampling(
            max_tokens=plan.max_tokens,
            temperature=plan.temperature,
            seed=int.from_bytes(hashlib.sha256(name).digest()[:4]),
            stop=plan.stop,
        ),
        n_hidden=asked.n_hidden,
        adapter=witness.adapter,
        client=witness.client,
    )


def n_run(answer: Generation, request: Request) -> int:
    """Return how many tokens the model ran, those of a hidden system prompt not counted."""
    return answer.n_prompt - request.n_hidden + len(answer.tokens.token_ids)
