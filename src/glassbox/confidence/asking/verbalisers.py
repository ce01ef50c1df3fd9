"""From verbaliser strings to token sequences, and from their log-probabilities to classes.

Two verbalisers may overlap: after "sport" the model may go on to "sports". Adding both would count
the longer one twice, so a sequence stands for the event "this, and not on to a longer verbaliser of
another class"; those events are disjoint and their probabilities add up to at most 1.
Knows nothing of models beyond their tokenizer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from glassbox.confidence.labels import LabelSet
from glassbox.engine.text_codec import TextCodec
from glassbox.errors import InvalidLabels, InvalidValue, NonFiniteOutput
from glassbox.types import TokenIds

SMALLEST_REMAINDER = 2.0**-20
"""Least share of a sequence's probability left to it after longer ones are taken off.

Log-probabilities arrive as float32, whose rounding near -10 is about 1e-6: a smaller difference is
noise and would turn a class impossible.
"""


class Anchored(Protocol):
    """A prompt's end, after which the answer begins."""

    @property
    def anchor(self) -> str:
        """A whole prompt of a short text, as it is sent to the model."""
        ...

    @property
    def adds_special(self) -> bool:
        """Whether the tokenizer adds its special tokens to prompts (chat templates hold them)."""
        ...


@dataclass(frozen=True)
class Verbalisers:
    """Token sequences that mean the classes, and how they overlap."""

    continuations: tuple[TokenIds, ...]
    """Distinct token sequences that may follow the prompt."""
    groups: tuple[tuple[int, ...], ...]
    """For each class, the indices of its continuations."""
    nested: Mapping[int, tuple[int, ...]]
    """For a continuation, the shortest longer ones that begin with it (all of other classes)."""
    texts: tuple[str, ...] = ()
    """The verbaliser that each continuation came from first."""
    set_aside: tuple[str, ...] = ()
    """Verbalisers that cannot follow the prompt, because the tokenizer joins the two."""

    @property
    def n_longest(self) -> int:
        """Tokens of the longest continuation."""
        return max(len(each) for each in self.continuations)


def tokenise_verbalisers(labels: LabelSet, prompts: Anchored, codec: TextCodec) -> Verbalisers:
    """Return the token sequences of a label set in the context of the prompt's end.

    A verbaliser's tokens are those of prompt and verbaliser together, less those of the prompt.
    Where the tokenizer joins characters across the border, no token sequence after the prompt
    spells the verbaliser: it is set aside, and named in the result.

    Raises:
        InvalidLabels: A class is left without tokens, or two classes have the same tokens.
    """
    anchor, special = prompts.anchor, prompts.adds_special
    strings = [each for own in labels.verbalisers for each in own]
    start, *whole = codec.encode([anchor, *(anchor + each for each in strings)], special=special)
    ids = dict(zip(strings, whole, strict=True))
    own_ids: list[list[TokenIds]] = []
    spelled: dict[TokenIds, str] = {}
    set_aside: list[str] = []
    for name, own in zip(labels.classes, labels.verbalisers, strict=True):
        found: list[TokenIds] = []
        for each in own:
            if ids[each][: len(start)] != start:
                set_aside.append(each)
            elif len(ids[each]) > len(start):
                found.append(ids[each][len(start) :])
                spelled.setdefault(found[-1], each)
        if not found:
            raise InvalidLabels(
                f"Class {name!r} has no verbaliser that the model can answer with: after the "
                f"prompt, {', '.join(map(repr, own))} gives no tokens of its own. "
                "Choose other verbalisers in labels.toml."
            )
        own_ids.append(found)
    return group_continuations(labels.classes, own_ids, spelled, tuple(set_aside))


def group_continuations(
    classes: Sequence[str],
    own_ids: Sequence[Sequence[TokenIds]],
    spelled: Mapping[TokenIds, str] | None = None,
    set_aside: tuple[str, ...] = (),
) -> Verbalisers:
    """Return distinct continuations, grouped by class, with their overlaps.

    A sequence that begins with a shorter one of its own class is dropped: the shorter covers it.

    Args:
        classes: Class names, for messages.
        own_ids: Token sequences of each class; repeats are allowed within a class.
        spelled: The string that a sequence came from, for messages and tables.
        set_aside: Handed on to the result.

    Raises:
        InvalidLabels: Two classes share a token sequence.
    """
    owner: dict[TokenIds, int] = {}
    for position, sequences in enumerate(own_ids):
        for ids in sequences:
            if owner.setdefault(ids, position) != position:
                raise InvalidLabels(
                    f"Classes {classes[owner[ids]]!r} and {classes[position]!r} have a verbaliser "
                    f"of the same tokens, {list(ids)} {(spelled or {}).get(ids, '')!r}: the "
                    "model cannot tell them apart. Change one of them in labels.toml."
                )
    kept: dict[TokenIds, int] = {}
    parents: dict[TokenIds, TokenIds] = {}
    for ids in sorted(owner, key=len):
        parent = next((ids[:n] for n in range(len(ids) - 1, 0, -1) if ids[:n] in kept), None)
        if parent is not None and owner[parent] == owner[ids]:
            continue
        kept[ids] = owner[ids]
        if parent is not None:
            parents[ids] = parent
    continuations = tuple(ids for ids in owner if ids in kept)
    index = {ids: i for i, ids in enumerate(continuations)}
    nested: dict[int, tuple[int, ...]] = {}
    for ids in continuations:
        if ids in parents:
            outer = index[parents[ids]]
            nested[outer] = (*nested.get(outer, ()), index[ids])
    return Verbalisers(
        continuations=continuations,
        groups=tuple(
            tuple(i for i, ids in enumerate(continuations) if owner[ids] == position)
            for position in range(len(classes))
        ),
        nested=nested,
        texts=tuple((spelled or {}).get(ids, "") for ids in continuations),
        set_aside=set_aside,
    )


def class_logprobs(
    values: Float[np.ndarray, "n n_continuations"], verbalisers: Verbalisers
) -> Float[np.ndarray, "n n_classes"]:
    """Natural log of each class's total probability after the prompt, float64.

    The log-sum-exp over a class's disjoint events, log(P(shorter) - sum of P(longer)).

    Args:
        values: Log-probabilities of the continuations, nats.
        verbalisers: What the columns mean.

    Raises:
        InvalidValue: The number of columns is not the number of continuations.
        NonFiniteOutput: A value is NaN or positive infinity, or no class has any probability.
    """
    if values.shape[1] != len(verbalisers.continuations):
        raise InvalidValue(
            "the number of columns", values.shape[1], f"{len(verbalisers.continuations)}, one each"
        )
    events = values.astype(np.float64)
    if np.isnan(events).any() or (events == np.inf).any():
        row = int(np.flatnonzero((np.isnan(events) | (events == np.inf)).any(axis=1))[0])
        raise NonFiniteOutput(
            f"Row {row} has a log-probability that is NaN or infinite: the model's output "
            "overflowed. Load it with dtype float32."
        )
    events = _disjoint(events, verbalisers.nested)
    with np.errstate(divide="ignore"):
        classes = np.stack(
            [logsumexp(events[:, list(group)], axis=1) for group in verbalisers.groups], axis=1
        )
    dead = np.flatnonzero(~np.isfinite(classes).any(axis=1))
    if dead.size:
        raise NonFiniteOutput(
            f"Row {int(dead[0])}: the model gives no class any probability. 'glassbox logprobs' "
            "shows what it would say: choose verbalisers among that, or load it in float32."
        )
    return classes


def _disjoint(
    values: Float[np.ndarray, "n n_continuations"], nested: Mapping[int, Sequence[int]]
) -> Float[np.ndarray, "n n_continuations"]:
    events = values.copy()
    for outer, inner in nested.items():
        total = logsumexp(values[:, list(inner)], axis=1)
        possible = np.isfinite(values[:, outer])
        ratio = np.exp(total[possible] - values[possible, outer])
        events[possible, outer] += np.log1p(-np.minimum(ratio, 1.0 - SMALLEST_REMAINDER))
    return events


def label_probs(
    class_logprobs: Float[np.ndarray, "n n_classes"],
) -> Float[np.ndarray, "n n_classes"]:
    """Probabilities of the classes given that one of them is said; rows sum to 1.

    Args:
        class_logprobs: Natural logs, as ``class_logprobs`` gives them.
    """
    total = logsumexp(class_logprobs, axis=1, keepdims=True)
    probs: Float[np.ndarray, "n n_classes"] = np.exp(class_logprobs - total)
    return probs


def label_mass(class_logprobs: Float[np.ndarray, "n n_classes"]) -> Float[np.ndarray, " n"]:
    """Probability that any label follows the prompt, [0, 1] up to rounding; low means off task."""
    mass: Float[np.ndarray, " n"] = np.exp(logsumexp(class_logprobs, axis=1))
    return mass
