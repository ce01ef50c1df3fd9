"""What was decided in the study's trials, and the prompts at whose end its decisions are made.

Both come from the response logs, so that whatever study there is, its own prompts are used.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from glassbox.errors import InvalidData
from glassbox.pathways.integration.values import ConditionRate
from glassbox.pathways.study.conditions import (
    CONDITIONS,
    CONTINUE,
    RISKY_BASELINE,
    SAFE_BASELINE,
    STOP,
    decision_outcome,
)
from glassbox.pathways.study.log_records import LogRecord
from glassbox.stats.intervals import wilson
from glassbox.types import TokenIds

_KINDS: Final[dict[str, Literal["safe", "risky"]]] = {
    SAFE_BASELINE: "safe",
    RISKY_BASELINE: "risky",
}


class Encoder(Protocol):
    """The part of an engine's codec that turns texts into tokens."""

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[TokenIds]:
        """Return token ids of each text; ``special`` adds what the tokenizer adds (BOS)."""
        ...


@dataclass(frozen=True)
class LoggedPrompt:
    """A prompt that a trial without any patch was made with."""

    text: str
    kind: Literal["safe", "risky"]
    pair: int
    """Trials of the same number share it."""


@dataclass(frozen=True)
class LoggedDecisions:
    """What the logs say of decisions and prompts."""

    rates: Mapping[str, tuple[ConditionRate, ...]]
    """Of each latent, by name, in the order of the six conditions."""
    prompts: tuple[LoggedPrompt, ...]
    """Every distinct pair of a safe and a risky prompt, safe ones first."""
    n_unread: int
    """Trials whose decision could not be read."""


def read_decisions(records: Iterable[LogRecord]) -> LoggedDecisions:
    """Return what the logs' records say, read once."""
    stopped: dict[str, dict[str, list[int]]] = {}
    prompts: dict[Literal["safe", "risky"], dict[int, str]] = {"safe": {}, "risky": {}}
    n_unread = 0
    for record in records:
        outcome = decision_outcome(record.decision)
        counts = stopped.setdefault(record.feature, {}).setdefault(record.condition, [0, 0])
        if outcome is None:
            n_unread += 1
        else:
            counts[0] += 1
            counts[1] += int(outcome)
        kind = _KINDS.get(record.condition)
        if kind is not None and record.prompt and record.trial is not None:
            prompts[kind].setdefault(record.trial, record.prompt)
    return LoggedDecisions(
        rates={name: _rates(conditions) for name, conditions in stopped.items()},
        prompts=_pairs(prompts["safe"], prompts["risky"]),
        n_unread=n_unread,
    )


def _rates(conditions: Mapping[str, Sequence[int]]) -> tuple[ConditionRate, ...]:
    found = []
    for condition in CONDITIONS:
        n_trials, n_stop = conditions.get(condition, (0, 0))
        if not n_trials:
            if condition in conditions:
                found.append(ConditionRate(condition, 0, 0, None, None, None))
            continue
        low, high = wilson(n_stop, n_trials)
        found.append(
            ConditionRate(condition, n_trials, n_stop, n_stop / n_trials, float(low), float(high))
        )
    return tuple(found)


def _pairs(safe: Mapping[int, str], risky: Mapping[int, str]) -> tuple[LoggedPrompt, ...]:
    """Return distinct pairs: trials that repeat a pair are the same prompts once more."""
    seen: dict[tuple[str, str], int] = {}
    for trial in sorted(safe.keys() & risky.keys()):
        seen.setdefault((safe[trial], risky[trial]), trial)
    return (
        *(LoggedPrompt(texts[0], "safe", trial) for texts, trial in seen.items()),
        *(LoggedPrompt(texts[1], "risky", trial) for texts, trial in seen.items()),
    )


def answer_tokens(encoder: Encoder, prompt: str) -> tuple[int, int]:
    """Return the first token of stopping and of going on, as they follow a prompt.

    Raises:
        InvalidData: Both answers begin with the same token, so that one logit cannot tell them.
    """
    bare, *answered = encoder.encode([prompt, f"{prompt} {STOP}", f"{prompt} {CONTINUE}"])
    first = [_first_new(bare, each) for each in answered]
    if first[0] is None or first[1] is None or first[0] == first[1]:
        raise InvalidData(
            f"{STOP!r} and {CONTINUE!r} do not begin with different tokens after the study's "
            "prompts, so that the decision cannot be read from one logit difference"
        )
    return first[0], first[1]


def _first_new(before: Sequence[int], after: Sequence[int]) -> int | None:
    for place, token in enumerate(after):
        if place >= len(before) or before[place] != token:
            return token
    return None


def spread(prompts: Sequence[LoggedPrompt], n_pairs: int) -> tuple[LoggedPrompt, ...]:
    """Return the prompts of at most so many pairs, spread evenly over all."""
    pairs = sorted({each.pair for each in prompts})
    if len(pairs) > n_pairs:
        places = np.linspace(0, len(pairs) - 1, n_pairs).round().astype(int)
        pairs = [pairs[place] for place in places]
    wanted = set(pairs)
    return tuple(each for each in prompts if each.pair in wanted)
