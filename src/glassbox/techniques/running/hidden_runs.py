"""Runs of a hidden prompt's tokens: found in sequences, over a whole value, and from line to line.

Knows sequences, and in which order the parts of a value are met; knows nothing of tokenizers.
"""

import dataclasses
import re
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

PIECE_TOKENS: Final = 8
"""Runs of its tokens from this length on are hidden like the whole."""

LEAST_TOKENS: Final = 3
"""Shorter prompts are not looked for over a whole value: their tokens are met by chance."""

STRIDES: Final = (1, 2, 3, 4)
"""Numbers are read one by one, and as columns of so many: ids beside positions or counts."""

_LETTER = re.compile(r"[^\W\d_]")
_OWN_LETTER = re.compile(r"[^\W\d_Ġ]")
"""A letter that is no tokenizer's sign for a blank."""


class Runs:
    """Sequences whose pieces are looked for in others.

    Args:
        sequences: What is to be hidden.
    """

    def __init__(self, sequences: Sequence[Sequence[Hashable]]) -> None:
        self.shortest: Final = min(len(each) for each in sequences)
        self.width: Final = max(1, min(PIECE_TOKENS, self.shortest))
        self._known = {
            tuple(each[at : at + self.width])
            for each in sequences
            for at in range(len(each) - self.width + 1)
        }
        self.firsts: Final = frozenset(window[0] for window in self._known)

    def places(self, sequence: Sequence[Any]) -> set[int]:
        """Return where in a sequence there are pieces."""
        found: set[int] = set()
        for at, first in enumerate(sequence):
            window = tuple(sequence[at : at + self.width]) if first in self.firsts else ()
            if window in self._known:
                found.update(range(at, at + self.width))
        return found

    def places_in_columns(self, sequence: Sequence[Any]) -> set[int]:
        """Return where there are pieces whose parts are equally far from one another."""
        return {
            start + stride * at
            for stride in STRIDES
            for start in range(stride)
            for at in self.places(sequence[start::stride])
        }

    def replaced(self, sequence: list[Any], by: Any) -> list[Any]:
        """Return a sequence with something else in the place of pieces."""
        found = self.places(sequence)
        return [by if at in found else each for at, each in enumerate(sequence)]


def letters(text: str) -> str:
    """Return a text without what stands around its letters: blanks, quotes, numbers, marks."""
    first = _OWN_LETTER.search(text)
    # From behind: a pattern that ends with the text would be tried at every place of it.
    last = _LETTER.search(text[::-1])
    return "" if first is None or last is None else text[first.start() : len(text) - last.start()]


def runs_of_letters(sequences: Sequence[Sequence[str]]) -> Runs | None:
    """Return the runs of tokens as far as they have letters; None where these are too few."""
    spelt = [[word for word in map(letters, each) if word] for each in sequences]
    runs = Runs(spelt)
    return runs if runs.shortest >= LEAST_TOKENS else None


def whole_number(value: Any) -> int | None:
    """Return a number that may be a token's id, whatever type it has; None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Tensor | np.ndarray):
        if value.ndim or value.dtype in (torch.bool, torch.complex64, torch.complex128):
            return None
        value = value.item()
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value):
        return int(value)
    return None


def leaves(value: Any) -> Iterator[Any]:
    """Yield the texts and numbers of a value in the order in which they are met.

    Those of sets are left out: they have no order.
    """
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from leaves(name)
            yield from leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name, None))
    elif isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim:
        yield from value.flat
    elif isinstance(value, str) or whole_number(value) is not None:
        yield value


class LineRuns:
    """Looks for runs in lines as they are printed, one token a line.

    Whoever watches has seen the first ones of a run before it is known for one; these are fewer
    than a run.
    """

    def __init__(self) -> None:
        self._texts: deque[tuple[int, str]] = deque(maxlen=PIECE_TOKENS)
        self._numbers: deque[tuple[int, int]] = deque(maxlen=PIECE_TOKENS)

    def found(self, at: int, line: str, texts: Runs | None, ids: Runs | None) -> set[int]:
        """Return which lines make a run with this one, and are to be hidden.

        Args:
            at: Its number.
            line: The line as it was printed.
            texts: Tokens of the prompt.
            ids: Their ids.
        """
        word, number = letters(line), line.strip().rstrip(",")
        found: set[int] = set()
        if word:
            self._texts.append((at, word))
            found |= _last_run(self._texts, texts)
        elif number.removesuffix(".0").isdecimal():
            self._numbers.append((at, int(number.removesuffix(".0"))))
            found |= _last_run(self._numbers, ids)
        return found


def _last_run(seen: "deque[tuple[int, Any]]", runs: Runs | None) -> set[int]:
    if runs is None or runs.shortest < LEAST_TOKENS:
        return set()
    last = list(seen)[-runs.width :]
    places = runs.places([each for _, each in last])
    return {last[at][0] for at in places}
