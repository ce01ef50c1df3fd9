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
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glassbox.engine.model.codec import token_text
from glassbox.techniques.running.guest_tokenizer import BETWEEN, MARK, HiddenTokens, guest_of
from glassbox.techniques.running.hidden_runs import (
    LEAST_TOKENS,
    LineRuns,
    Runs,
    leaves,
    letters,
    runs_of_letters,
    whole_number,
)

SHOWN = "[hidden]"
"""What stands where the prompt would be."""

HIDDEN_ID = -1
"""What stands where one of its token ids would be."""

PIECE_CHARACTERS = 40
"""Pieces of the prompt from this length on are hidden like the whole."""


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
        self._runs: tuple[Runs, ...] = ()
        self._letter_runs: Runs | None = None
        self._id_runs: Runs | None = None

    def guest(self, tokenizer: Any) -> Any:
        """Return a tokenizer of the same class that puts the prompt before every text."""
        if self._tokens is None:
            self._tokens = HiddenTokens.of(tokenizer, self._secret, self.text)
            front = self._tokens.front
            decoded = [tokenizer.decode([each]) for each in front]
            shown = [token_text(tokenizer, each) for each in front]
            self._id_runs = Runs(self._tokens.runs)
            self._runs = (
                Runs([decoded, shown]),
                Runs([tokenizer.convert_ids_to_tokens(list(front))]),
            )
            self._letter_runs = runs_of_letters([decoded, shown])
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

    def lines(self) -> Callable[[list[str], str], None]:
        """Return what hides, of one run's lines, those that make a run of tokens with the last.

        It is given the lines as they are shown, the last one too, and the last as it was printed.
        """
        seen = LineRuns()

        def hide(shown: list[str], printed: str) -> None:
            found = seen.found(len(shown) - 1, printed, self._letter_runs, self._id_runs)
            for at in found:
                shown[at] = SHOWN

        return hide

    def redacted(self, value: Any) -> Any:
        """Return a value without the prompt; the same object where there is nothing of it.

        Runs of its tokens are hidden in whatever holds them: they are looked for in the texts of
        the whole value, in the order in which these are met, and likewise in its numbers.
        """
        done = self._redacted(value)
        scattered = self._scattered(done)
        return _with_hidden(done, scattered) if scattered else done

    def _scattered(self, value: Any) -> frozenset[int]:
        """Return which of a value's leaves make runs with others, counted as they are met."""
        texts: list[tuple[int, str]] = []
        numbers: list[tuple[int, int]] = []
        for at, leaf in enumerate(leaves(value)):
            if isinstance(leaf, str):
                word = letters(leaf)
                if word:
                    texts.append((at, word))
            else:
                number = whole_number(leaf)
                assert number is not None
                numbers.append((at, number))
        found: set[int] = set()
        if self._letter_runs is not None:
            places = self._letter_runs.places_in_columns([word for _, word in texts])
            found |= {texts[at][0] for at in places}
        if self._id_runs is not None and self._id_runs.shortest >= LEAST_TOKENS:
            places = self._id_runs.places_in_columns([number for _, number in numbers])
            found |= {numbers[at][0] for at in places}
        return frozenset(found)

    def _redacted(self, value: Any) -> Any:
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
        done = {self._redacted(each) for each in value}
        return value if done == value else type(value)(done)

    def _with_changes(
        self, value: Any, fields: dict[Any, Any], put: Callable[[Any, dict[Any, Any]], None]
    ) -> Any:
        done = {self._redacted(name): self._redacted(each) for name, each in fields.items()}
        if list(done) == list(fields) and all(done[name] is fields[name] for name in fields):
            return value
        made = copy.copy(value)
        put(made, done)
        return made

    def _redacted_sequence(self, value: Sequence[Any]) -> Any:
        done = [self._redacted(each) for each in value]
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
        is_float = value.dtype.is_floating_point
        if value.dim() == 0 or value.dtype == torch.bool or value.dtype.is_complex:
            return value
        if self._id_runs is None or (is_float and not _may_be_ids(value, self._id_runs.width)):
            return value
        plain = value.detach().cpu()
        # NumPy has no bfloat16; wider floats say the same numbers.
        array = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
        done = self._redacted_array(array)
        if done is array:
            return value
        return torch.from_numpy(done).to(value.device, value.dtype)

    def _redacted_array(self, value: np.ndarray) -> np.ndarray:
        if value.dtype.kind == "U":
            made = np.array([self.text(str(each)) for each in value.flat]).reshape(value.shape)
            return value if np.array_equal(made, value) else made
        runs = self._id_runs
        if value.dtype.kind not in "iuf" or value.ndim == 0 or not value.size or runs is None:
            return value
        if value.dtype.kind == "f" and runs.shortest < LEAST_TOKENS:
            return value
        firsts = np.array([*runs.firsts])
        done: np.ndarray | None = None
        # Along the last axis, and along the one before it, where each id has a row of its own.
        for axis in range(-1, -1 - min(2, value.ndim), -1):
            source = np.moveaxis(value, axis, -1)
            rows = source.reshape(-1, source.shape[-1])
            for at in np.flatnonzero(np.isin(rows, firsts).any(axis=-1)):
                found = sorted(runs.places(rows[at].tolist()))
                if found:
                    done = value.copy() if done is None else done
                    row: Any = np.unravel_index(at, source.shape[:-1])
                    np.moveaxis(done, axis, -1)[(*row, found)] = _hidden_id(value.dtype)
        return value if done is None else done


def _may_be_ids(value: Tensor, width: int) -> bool:
    """Return whether there are as many whole numbers in a tensor as a run has."""
    return int((value.detach() == value.detach().trunc()).sum()) >= width


def _hidden_id(dtype: Any) -> int:
    """Return what stands for an id in arrays that may have nothing below zero."""
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else HIDDEN_ID


def _with_hidden(value: Any, hidden: frozenset[int]) -> Any:
    """Return a value with some of its leaves hidden, counted as ``leaves`` yields them."""
    count = iter(range(2**62))

    def made(value: Any) -> Any:
        if isinstance(value, UserDict | dict):
            done = {made(name): made(each) for name, each in value.items()}
            other = copy.copy(value)
            (_set_data if isinstance(value, UserDict) else _set_items)(other, done)
            return other
        if isinstance(value, list | tuple):
            kind: Any = type(value)
            parts = [made(each) for each in value]
            return kind(*parts) if hasattr(value, "_fields") else kind(parts)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            done = {name: made(getattr(value, name)) for name in names if hasattr(value, name)}
            record: Any = copy.copy(value)
            _set_fields(record, done)
            return record
        if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim:
            shown = [SHOWN if next(count) in hidden else str(each) for each in value.flat]
            return np.array(shown).reshape(value.shape)
        is_leaf = isinstance(value, str) or whole_number(value) is not None
        return _hidden_leaf(value) if is_leaf and next(count) in hidden else value

    return made(value)


def _hidden_leaf(value: Any) -> Any:
    """Return what stands for a text or a number, of the same type."""
    if isinstance(value, str):
        return SHOWN
    if isinstance(value, Tensor):
        is_signed = value.dtype.is_floating_point or value.dtype.is_signed
        return torch.full_like(value, HIDDEN_ID if is_signed else torch.iinfo(value.dtype).max)
    if isinstance(value, np.ndarray | np.generic):
        return np.full_like(value, _hidden_id(value.dtype))[()]
    return type(value)(HIDDEN_ID)


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
