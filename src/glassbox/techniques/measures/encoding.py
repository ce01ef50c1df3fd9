"""Texts as tokens for a technique: padded on the right, so that positions and masks stay right.

Padding stands after the text, where no causal model sees it; absolute positions then need no
correction and a row of a batch answers what it would alone. Knows tokenizers; runs no model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from glassbox.engine.model.codec import TokenizerCodec, token_text
from glassbox.errors import InvalidValue, TextTooLong


@dataclass(frozen=True, eq=False)
class Batch:
    """Token ids of some texts, on the model's device."""

    ids: Int[Tensor, "batch pos"]
    """Vocabulary ids; any id where the mask is 0."""
    mask: Int[Tensor, "batch pos"]
    """1 where there is a token, 0 in the padding after it."""
    shown: tuple[tuple[int, ...], ...]
    """Positions of each text that a result may show: all but a hidden system prompt's."""
    tokens: tuple[tuple[str, ...], ...]
    """The tokens there as text."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each text, hidden ones included."""
        return tuple(self.mask.sum(dim=1).tolist())

    def repeated(self, n_rows: int) -> "Batch":
        """Return a single text as so many rows."""
        ids, mask = self.ids.expand(n_rows, -1), self.mask.expand(n_rows, -1)
        return Batch(ids, mask, self.shown * n_rows, self.tokens * n_rows)

    @property
    def last(self) -> Int[Tensor, " batch"]:
        """Position of each text's last token."""
        return self.mask.sum(dim=1) - 1


def encode(model: Any, tokenizer: Any, texts: Sequence[str], *, special: bool = True) -> Batch:
    """Return the tokens of some texts, without an end of text that some tokenizers add.

    Args:
        model: Says the device and the longest input.
        tokenizer: The model's own.
        texts: One or more.
        special: Whether the tokenizer adds what it adds in front of a text.

    Raises:
        InvalidValue: No texts, one without any token, or something else than a text.
        TextTooLong: A text over the model's context.
    """
    require_texts(texts)
    rows = TokenizerCodec(tokenizer).encode(texts, special=special)
    return batch_of(model, tokenizer, rows)


def require_texts(texts: Sequence[str]) -> None:
    """Refuse what is no list of texts; a text by itself would be read letter by letter.

    Raises:
        InvalidValue: One text, or a list with something else in it.
    """
    if isinstance(texts, str):
        raise InvalidValue("texts", texts[:80], "a list of texts, even of one")
    others = [each for each in texts if not isinstance(each, str)]
    if others:
        raise InvalidValue("text", f"a {type(others[0]).__name__}", "one text")


def batch_of(model: Any, tokenizer: Any, rows: Sequence[Sequence[int]]) -> Batch:
    """Return token ids as a batch.

    Raises:
        InvalidValue: No rows, or one without any token.
        TextTooLong: A row over the model's context.
    """
    if not rows or not all(rows):
        raise InvalidValue("texts", list(map(len, rows)), "one or more, each at least one token")
    longest = max(map(len, rows))
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and longest > limit:
        raise TextTooLong(longest, int(limit))
    padded = [[*row, *[row[0]] * (longest - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    shown = tuple(_shown(tokenizer, row) for row in rows)
    texts = zip(rows, shown, strict=True)
    return Batch(
        torch.tensor(padded, device=model.device),
        torch.tensor(mask, device=model.device),
        shown,
        tuple(pieces(tokenizer, [row[place] for place in places]) for row, places in texts),
    )


def _shown(tokenizer: Any, row: Sequence[int]) -> tuple[int, ...]:
    """Return the positions of a text outside the hidden prompt that a guest's tokenizer puts in."""
    hidden = getattr(tokenizer, "_hidden_tokens", None)
    places = list(range(len(row)))
    for run in (hidden().front, hidden().inner) if hidden is not None else ():
        for start in range(len(row) - len(run) + 1):
            if run and tuple(row[start : start + len(run)]) == tuple(run):
                covered = range(start, start + len(run))
                places = [place for place in places if place not in covered]
                break
    return tuple(places)


def pieces(tokenizer: Any, ids: Iterable[int]) -> tuple[str, ...]:
    """Return each token as text; one that is only part of a character by its bytes, as in ⟨E6⟩."""
    texts = []
    for number in map(int, ids):
        text = token_text(tokenizer, number)
        if "\ufffd" in text:
            entry = str(tokenizer.convert_ids_to_tokens(number))
            known = all(letter in _BYTES for letter in entry)
            text = f"⟨{' '.join(_BYTES[letter] for letter in entry)}⟩" if known else entry
        texts.append(text)
    return tuple(texts)


def _byte_letters() -> dict[str, str]:
    """Return the byte, in hexadecimal, that each letter of a byte-level vocabulary stands for.

    Source: Radford et al. 2019 (GPT-2): printable Latin-1 letters stand for themselves, the other
    bytes in order for the letters from 256 on.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    letters |= {chr(256 + place): byte for place, byte in enumerate(others)}
    return {letter: f"{byte:02X}" for letter, byte in letters.items()}


_BYTES = _byte_letters()


def next_token(tokenizer: Any, prompt: str, answer: str) -> int:
    """Return the id of an answer's first token where the answer stands right after a prompt.

    Raises:
        InvalidValue: The answer adds no token, or melts into the prompt's last one.
    """
    before, after = TokenizerCodec(tokenizer).encode([prompt, prompt + answer])
    if after[: len(before)] != before or len(after) == len(before):
        raise InvalidValue(
            "answer", answer, "text that begins a new token after the prompt",
            remedy="Begin it with a space, or leave the space at the prompt's end out.",
        )  # fmt: skip
    return int(after[len(before)])
