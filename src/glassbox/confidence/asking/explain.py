"""How one confidence comes about: every log-probability behind it, in order.

The learn mode of the command line prints this value; it computes nothing that classification does
not, it only keeps the parts.
"""

from dataclasses import dataclass

import numpy as np

from glassbox.confidence.asking.classify import Classification, Labeller
from glassbox.engine.protocol import Engine


@dataclass(frozen=True)
class TokenProb:
    """One candidate for the next token."""

    rank: int
    """1 is the most probable."""
    text: str
    """The token as text."""
    token_id: int
    """Vocabulary id."""
    logprob: float
    """Natural log, nats."""

    @property
    def prob(self) -> float:
        """Probability, [0, 1]."""
        return float(np.exp(self.logprob))


@dataclass(frozen=True)
class VerbaliserProb:
    """One way of saying a class."""

    label: str
    """The class it counts for."""
    text: str
    """What the model would say."""
    n_tokens: int
    """Tokens it takes."""
    logprob: float
    """Natural log of the probability that exactly this follows, nats."""

    @property
    def prob(self) -> float:
        """Probability, [0, 1]."""
        return float(np.exp(self.logprob))


@dataclass(frozen=True)
class ClassSum:
    """A class's total and what became of it."""

    label: str
    """The class."""
    total: float
    """Sum of its verbalisers' probabilities, [0, 1]."""
    share: float
    """Divided by the label mass; over all classes these sum to 1."""
    calibrated: float
    """After the calibrator, [0, 1]; equal to ``share`` without one."""


@dataclass(frozen=True)
class NextTokens:
    """What the model would say after a prompt."""

    prompt: str
    """The prompt as the model reads it, special tokens included."""
    tokens: tuple[TokenProb, ...]
    """Most probable first."""
    entropy: float
    """Of the whole next-token distribution, nats."""


@dataclass(frozen=True)
class Explanation:
    """One classification with everything it is made of."""

    text: str
    """The text that was classified."""
    next_tokens: NextTokens
    """What the model would say after the prompt."""
    verbalisers: tuple[VerbaliserProb, ...]
    """Every way of saying every class, most probable first."""
    classes: tuple[ClassSum, ...]
    """How they add up."""
    label_mass: float
    """Probability of saying any label at all, [0, 1]."""
    answer: Classification
    """The classification."""
    threshold: float | None
    """Confidence from which the answer may be automated; None without a safe threshold."""


def next_tokens(
    engine: Engine, prompt: str, *, top_k: int, adapter: str | None = None
) -> NextTokens:
    """Return the most probable next tokens after a raw prompt."""
    (ids,) = engine.codec.encode([prompt])
    return _next_tokens(engine, ids, top_k, adapter)


def explain(labeller: Labeller, text: str, *, top_k: int = 10) -> Explanation:
    """Return a classification with every number behind it.

    Raises:
        TextTooLong: The text does not fit the context, and the policy is not to cut it.
    """
    model = labeller.model
    (answer,) = labeller.classify([text])
    if answer is None:
        raise labeller.too_long(text)
    prompt = model.prompt(text)
    verbalisers = model.verbalisers
    values = model.engine.logprobs(
        [prompt], verbalisers.continuations, adapter=model.adapter
    ).values
    owner = {
        i: name
        for name, own in zip(model.labels.classes, verbalisers.groups, strict=True)
        for i in own
    }
    said = [
        VerbaliserProb(owner[i], verbalisers.texts[i], len(ids), float(values[0, i]))
        for i, ids in enumerate(verbalisers.continuations)
    ]
    raw = model.label_probs([text])
    classes = [
        ClassSum(
            name,
            float(np.exp(raw.class_logprobs[0, i])),
            float(raw.probs[0, i]),
            answer.label_probs[name],
        )
        for i, name in enumerate(model.labels.classes)
    ]
    return Explanation(
        text=text,
        next_tokens=_next_tokens(model.engine, prompt, top_k, model.adapter),
        verbalisers=tuple(sorted(said, key=lambda each: -each.logprob)),
        classes=tuple(sorted(classes, key=lambda each: -each.total)),
        label_mass=answer.label_mass,
        answer=answer,
        threshold=labeller.threshold,
    )


def _next_tokens(
    engine: Engine, ids: tuple[int, ...], top_k: int, adapter: str | None
) -> NextTokens:
    likeliest = engine.logprobs([ids], [(0,)], top_k=top_k, adapter=adapter)
    tokens = tuple(
        TokenProb(rank, engine.codec.token(int(token)), int(token), float(logprob))
        for rank, (token, logprob) in enumerate(
            zip(likeliest.top_ids[0], likeliest.top_logprobs[0], strict=True), start=1
        )
    )
    return NextTokens(engine.codec.decode(ids), tokens, float(likeliest.entropy[0]))
