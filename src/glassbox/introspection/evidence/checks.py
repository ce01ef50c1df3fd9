"""The checks that judge a response: what each reads, and how it enters the fusion.

A check's value is a number whose meaning stands in one table here. Values come from ``gathering``;
what they are worth is learned by ``fusion``. Knows nothing of engines.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from glassbox.errors import UnknownName

Way = Literal["reading", "asking", "rewording", "swapping", "probe"]
"""How the numbers are got: one pass over the response; samples of the model's own answers; the
response read after other wordings; after prompts with single tokens swapped; a linear probe."""

PROBE_PREFIX: Final = "probe:"
"""Checks of probes are named by it and the probe's name."""

LOGPROB_FLOOR: Final = -20.0
"""Log-probabilities below this count as this, nats: e**-20 is never, for all purposes."""


@dataclass(frozen=True)
class CheckInfo:
    """What a check is."""

    name: str
    """Stable key (kebab-case)."""
    way: Way
    """How it is got."""
    unit: Literal["nats", "fraction", "logit"]
    """Unit of its value."""
    meaning: str
    """One sentence for a newcomer, short enough for a table."""
    is_logprob: bool = False
    """Whether the value is a log-probability: it then enters a fusion as probability too."""
    sign: int = 1
    """1 where a higher value speaks for the response, -1 where it speaks against it."""


_ALL: Final = (
    CheckInfo(
        "mean-logprob", "reading", "nats",
        "How probable the response's tokens are; 0 is certain.", True,
    ),
    CheckInfo(
        "min-logprob", "reading", "nats", "How probable its least probable token is.", True,
    ),
    CheckInfo(
        "mean-prob",
        "reading",
        "fraction",
        "Mean probability of the response's tokens.",
    ),
    CheckInfo(
        "margin", "reading", "nats",
        "How far the response falls behind the model's own choice.",
        True,
    ),
    CheckInfo(
        "mean-entropy", "reading", "nats",
        "How open each next token was; 0 is no choice at all.",
        sign=-1,
    ),
    CheckInfo(
        "agreement", "asking", "fraction",
        "Share of the model's own answers that mean the same.",
    ),
    CheckInfo(
        "answer-entropy", "asking", "nats",
        "How scattered the model's answers are; 0 is all the same.",
        sign=-1,
    ),
    CheckInfo(
        "paraphrase-logprob", "rewording", "nats",
        "How probable the response is after other wordings.", True,
    ),
    CheckInfo(
        "swap-mean", "swapping", "nats",
        "The same with one token of the question swapped.",
        True,
    ),
    CheckInfo(
        "swap-least", "swapping", "nats",
        "That for the token on which it depends most.", True,
    ),
    CheckInfo(
        "swap-most", "swapping", "nats",
        "That for the token on which it depends least.", True,
    ),
)  # fmt: skip

CHECKS: Final[Mapping[str, CheckInfo]] = MappingProxyType({each.name: each for each in _ALL})
"""Every check but those of probes, in the order in which they run."""

READING: Final = tuple(name for name, each in CHECKS.items() if each.way == "reading")
"""Checks that cost one pass over the response."""


def check_info(name: str) -> CheckInfo:
    """Return what is known of a check, a probe's included.

    Raises:
        UnknownName: No such check.
    """
    if name.startswith(PROBE_PREFIX):
        probe = name.removeprefix(PROBE_PREFIX)
        return CheckInfo(
            name, "probe", "logit", f"What the probe {probe!r} reads in the model's states."
        )
    if name not in CHECKS:
        raise UnknownName("check", name, CHECKS)
    return CHECKS[name]


def features(
    rows: Sequence[Mapping[str, float]], checks: Sequence[str]
) -> Float[np.ndarray, "n d"]:
    """Return what a fusion reads of some rows: each value, log-probabilities also as probability.

    Args:
        rows: Values by check; every named check must be there.
        checks: Names, in order; ``owners`` says which column belongs to which.
    """
    columns: list[list[float]] = []
    for name in checks:
        values = [row[name] for row in rows]
        if check_info(name).is_logprob:
            values = [max(LOGPROB_FLOOR, value) for value in values]
            columns += [values, [math.exp(value) for value in values]]
        else:
            columns.append(values)
    return np.asarray(columns, dtype=np.float64).T.reshape(len(rows), len(columns))


def owners(checks: Sequence[str]) -> list[int]:
    """Return, for each column of ``features``, which of the checks it belongs to."""
    return [
        number for number, name in enumerate(checks) for _ in range(1 + check_info(name).is_logprob)
    ]
