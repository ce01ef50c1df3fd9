"""What a verification says: values only, for the command line, the server and Python alike.

Knows nothing of engines, files or HTTP, and needs no torch.
"""

from dataclasses import dataclass
from typing import Literal

Origin = Literal["given", "written"]
"""``given``: somebody else's response was read; ``written``: the verifying model drew it
itself, because none was given. The two have different error rates at the same checks: a model
picks what it finds probable, so its own responses always look good to it."""

Decision = Literal["accept", "review"]
"""``accept``: uncertainty is at or below the threshold; ``review``: show it to a person."""

Method = Literal["fusion", "heuristic"]
"""``fusion``: checks weighed by a verifier that was trained on graded responses; ``heuristic``:
the untrained formula of entropy and mean probability, which nobody validated."""


@dataclass(frozen=True)
class Check:
    """One reading of the response, and what it did to the uncertainty."""

    name: str
    """Stable key (kebab-case)."""
    value: float | None
    """What was read, in ``unit``; None where it could not be (``note`` says why)."""
    unit: str
    """Unit of the value: ``nats``, ``fraction`` or ``logit``."""
    meaning: str
    """What the value is, as a sentence for a newcomer."""
    contribution: float
    """What it added to the log-odds of being right, against an average response; 0 where the
    method does not use it."""
    weight: float
    """Its share of all contributions by size, [0, 1]; the shares of one verdict sum to 1 (or are
    all 0)."""
    n_tokens: int
    """Tokens the model ran for this check alone; the shared reading is counted at the first."""
    seconds: float
    """Time spent on this check alone, seconds; runs of one batch are shared out by tokens."""
    note: str = ""
    """Why the value is missing, or what to know about it."""


@dataclass(frozen=True)
class TokenReading:
    """One token of the response as the model saw it."""

    text: str
    """The token as text."""
    start: int
    """First character in the response."""
    end: int
    """Character after its last; equal to ``start`` for a token without text of its own."""
    logprob: float
    """Natural log of its probability under the model's raw distribution."""
    entropy: float
    """Entropy of that distribution over the whole vocabulary, nats."""
    surprising: bool
    """Whether it belongs to a span of surprise."""


@dataclass(frozen=True)
class Span:
    """Consecutive tokens that surprised the model."""

    start: int
    """First character in the response."""
    end: int
    """Character after its last."""
    text: str
    """That part of the response."""
    n_tokens: int
    """How many tokens it holds."""
    logprob: float
    """Lowest log-probability among them, nats."""


@dataclass(frozen=True)
class Sample:
    """One answer the model gave when asked again."""

    prompt: str
    """What was asked: the prompt, or a paraphrase."""
    text: str
    """What it answered."""
    agrees: bool
    """Whether that means the same as the response, by the equivalence in use."""


@dataclass(frozen=True)
class Verdict:
    """Whether a response can be believed, and why."""

    prompt: str
    """The question."""
    response: str
    """The response that was judged."""
    origin: Origin
    """Whose response it is."""
    uncertainty: float
    """Probability of being wrong in [0, 1] where ``validated``, else an index; higher is worse."""
    decision: Decision
    """What to do with it."""
    threshold: float | None
    """Greatest uncertainty that is accepted; None where no level keeps the promise."""
    promise: str
    """What the threshold promises, as a sentence."""
    method: Method
    """How the checks became one number."""
    validated: bool
    """Whether the uncertainty was calibrated on graded responses."""
    checks: tuple[Check, ...]
    """Every check, in the order they were run."""
    tokens: tuple[TokenReading, ...]
    """The response token by token."""
    spans: tuple[Span, ...]
    """Where the response surprised the model, in order."""
    samples: tuple[Sample, ...]
    """What it answered when asked again."""
    paraphrases: tuple[str, ...]
    """Other wordings of the prompt that were used."""
    notes: tuple[str, ...]
    """What a reader should know: no verifier, truncated samples, a missing check."""
    model: str
    """Name of the model that judged."""
    model_digest: str
    """Its digest (hex)."""
    adapter_digest: str | None
    """Digest of the adapter that judged (hex); None is the base model."""
    verifier_digest: str | None
    """Content hash of the verifier's parameters (hex); None for the heuristic."""
    n_tokens: int
    """Tokens the model ran in all."""
    seconds: float
    """Time it took, seconds."""

    @property
    def confidence(self) -> float:
        """``1 - uncertainty``, [0, 1]."""
        return 1.0 - self.uncertainty
