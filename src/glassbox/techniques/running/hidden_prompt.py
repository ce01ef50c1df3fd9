"""A system prompt that every technique's texts begin with and none of its answers shows.

The prompt's text, long pieces of it, runs of its token ids and its tokens one by one are taken out
of results, printed lines and errors. That keeps an honest technique from showing what it did not
mean to show. It is no barrier to a dishonest one: code that runs beside the model can spell the
prompt backwards, ask the model to repeat it in other words, read it off the hidden states, or find
it in this process's memory. Knows values; the tokenizer that puts the prompt in is
``guest_tokenizer``'s.
"""

import copy
import dataclasses
from collections import UserDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glassbox.techniques.running.guest_tokenizer import BETWEEN, MARK, HiddenTokens, guest_of

SHOWN = "[hidden]"
"""What stands where the prompt would be."""

HIDDEN_ID = -1
"""What stands where one of its token ids would be."""

PIECE_CHARACTERS = 40
"""Pieces of the prompt from this length on are hidden like the whole."""

PIECE_TOKENS = 8
"""Runs of its tokens from this length on are hidden like the whole."""


class HiddenPrompt:
    """A hidden system prompt.

    Args:
        text: The prompt.
    """

    def __init__(self, text: str) -> None:
        self._secret = text
        width = min(len(text), PIECE_CHARACTERS)
        self._pieces = frozenset(_windows(text, width))
        self._tokens: HiddenTokens | None = None
        self._runs: tuple[_Runs, ...] = ()
        self._id_runs: _Runs | None = None

    def guest(self, tokenizer: Any) -> Any:
        """Return a tokenizer of the same class that puts the prompt before every text."""
        if self._tokens is None:
            self._tokens = HiddenTokens.of(tokenizer, self._secret, self.text)
            front = self._tokens.front
            self._id_runs = _Runs([front, self._tokens.inner])
            self._runs = (
                _Runs([[tokenizer.decode([each]) for each in front]]),
                _Runs([tokenizer.convert_ids_to_tokens(list(front))]),
            )
        return guest_of(tokenizer, self._tokens)

    def text(self, text: str) -> str:
        """Return a text without the prompt."""
        if self._secret in text:
            text = text.replace(self._secret + BETWEEN, "").replace(self._secret, SHOWN)
        text = text.replace(MARK, SHOWN)
        width = min(len(self._secret), PIECE_CHARACTERS)
        hits = [at for at in range(len(text) - width + 1) if text[at : at + width] in self._pieces]
        if not hits:
            return text
        parts, until = [], 0
        for at in hits:
            if at >= until:
                parts += [text[until:at], SHOWN]
            until = at + width
        return "".join([*parts, text[until:]])

    def redacted(self, value: Any) -> Any:
        """Return a value without the prompt; the same object where there is nothing of it."""
        for kinds, redact in self._ways:
            if isinstance(value, kinds):
                return redact(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {
                field.name: getattr(value, field.name)
                for field in dataclasses.fields(value)
                if hasattr(value, field.name)
            }
            return self._with_changes(value, fields, _set_fields)
        return value

    @property
    def _ways(self) -> tuple[tuple[Any, Callable[[Any], Any]], ...]:
        """How values of some kinds are redacted, the more special kind first."""
        return (
            (str, lambda value: _same_or(value, self.text(value))),
            (bytes, lambda value: value.replace(self._secret.encode(), SHOWN.encode())),
            (Tensor, self._redacted_tensor),
            (np.ndarray, self._redacted_array),
            (UserDict, lambda value: self._with_changes(value, value.data, _set_data)),
            (dict, lambda value: self._with_changes(value, value, _set_items)),
            ((list, tuple), self._redacted_sequence),
            ((set, frozenset), self._redacted_set),
        )

    def _redacted_set(self, value: Any) -> Any:
        done = {self.redacted(each) for each in value}
        return value if done == value else type(value)(done)

    def _with_changes(
        self, value: Any, fields: dict[Any, Any], put: Callable[[Any, dict[Any, Any]], None]
    ) -> Any:
        done = {self.redacted(name): self.redacted(each) for name, each in fields.items()}
        if list(done) == list(fields) and all(done[name] is fields[name] for name in fields):
            return value
        made = copy.copy(value)
        put(made, done)
        return made

    def _redacted_sequence(self, value: Sequence[Any]) -> Any:
        done = [self.redacted(each) for each in value]
        if done and all(type(each) is int for each in done) and self._id_runs is not None:
            done = self._id_runs.replaced(done, HIDDEN_ID)
        elif done and all(isinstance(each, str) for each in done):
            for runs in self._runs:
                done = runs.replaced(done, SHOWN)
        if all(new is old for new, old in zip(done, value, strict=True)):
            return value
        kind: Any = type(value)
        return kind(*done) if hasattr(value, "_fields") else kind(done)

    def _redacted_tensor(self, value: Tensor) -> Tensor:
        if value.dtype not in (torch.int64, torch.int32) or value.dim() == 0:
            return value
        done = self._redacted_array(value.detach().cpu().numpy())
        made = torch.from_numpy(done).to(value.device)
        return value if torch.equal(made, value) else made

    def _redacted_array(self, value: np.ndarray) -> np.ndarray:
        if value.dtype.kind == "U":
            made = np.array([self.text(str(each)) for each in value.flat]).reshape(value.shape)
            return value if np.array_equal(made, value) else made
        if value.dtype.kind not in "iu" or value.ndim == 0 or self._id_runs is None:
            return value
        rows = value.reshape(-1, value.shape[-1]) if value.size else value
        places = [(at, self._id_runs.places(row.tolist())) for at, row in enumerate(rows)]
        if not any(found for _, found in places):
            return value
        done = rows.copy()
        for at, found in places:
            done[at, sorted(found)] = HIDDEN_ID
        return done.reshape(value.shape)


class _Runs:
    """Sequences whose pieces are looked for in others.

    Args:
        sequences: What is to be hidden.
    """

    def __init__(self, sequences: Sequence[Sequence[Hashable]]) -> None:
        shortest = min(len(each) for each in sequences)
        self._width = max(1, min(PIECE_TOKENS, shortest))
        self._known = {
            window for each in sequences for window in _windows(tuple(each), self._width)
        }
        self._firsts = {window[0] for window in self._known}

    def places(self, sequence: Sequence[Any]) -> set[int]:
        """Return where in a sequence there are pieces."""
        found: set[int] = set()
        for at, first in enumerate(sequence):
            window = tuple(sequence[at : at + self._width]) if first in self._firsts else ()
            if window in self._known:
                found.update(range(at, at + self._width))
        return found

    def replaced(self, sequence: list[Any], by: Any) -> list[Any]:
        """Return a sequence with something else in the place of pieces."""
        found = self.places(sequence)
        return [by if at in found else each for at, each in enumerate(sequence)]


def _windows(sequence: Any, width: int) -> list[Any]:
    return [sequence[at : at + width] for at in range(len(sequence) - width + 1)]


def _same_or(value: str, done: str) -> str:
    return value if done == value else done


def _set_data(made: Any, done: dict[Any, Any]) -> None:
    made.data = done


def _set_items(made: Any, done: dict[Any, Any]) -> None:
    for name in [name for name in made if name not in done]:
        del made[name]
    for name, each in done.items():
        made[name] = each


def _set_fields(made: Any, done: dict[Any, Any]) -> None:
    for name, each in done.items():
        object.__setattr__(made, name, each)
