"""A column of texts as columns that can be compared: length, and how words spread.

Needs no tokenizer, so that files and kept features can be compared without a model. Knows no files.
"""

import math
import re
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from glassbox.rollout.drift.report import Group
from glassbox.rollout.drift.windows import Column, column, number_column

N_GROUPS: Final = 8
"""Groups into which words are hashed."""

LEAST_LENGTH: Final = 20
"""Mean characters from which values that hardly repeat are texts and not names."""

MOST_REPEATED: Final = 0.5
"""Share of distinct values below which a column is categories, however long their names are."""

_WORD: Final = re.compile(r"\w+")


def is_text(values: Sequence[Any]) -> bool:
    """Return whether values are texts: strings that are long and hardly repeat."""
    words = [each for each in values if isinstance(each, str)]
    if not words or len(words) < sum(each is not None for each in values):
        return False
    if len(set(words)) < MOST_REPEATED * len(words):
        return False
    return sum(map(len, words)) >= LEAST_LENGTH * len(words)


def columns_of(name: str, values: Sequence[Any], group: Group = "feature") -> list[Column]:
    """Return the columns that stand for some values: of texts ten, else the one."""
    return text_columns(name, values) if is_text(values) else [column(name, values, group)]


def text_columns(name: str, texts: Sequence[str | None]) -> list[Column]:
    """Return length in characters and words, and the share of words in each of eight groups.

    The groups are drawn once and for all by a hash of the word in small letters.
    """
    n_chars = [math.nan if each is None else float(len(each)) for each in texts]
    shares = np.full((len(texts), N_GROUPS), np.nan)
    n_words = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        if text is None:
            continue
        words = _WORD.findall(text.lower())
        groups = [zlib.crc32(word.encode()) % N_GROUPS for word in words]
        shares[row] = np.bincount(groups, minlength=N_GROUPS) / max(1, len(words))
        n_words[row] = len(words)
    return [
        number_column(f"{name}.n_chars", n_chars, "text"),
        Column(f"{name}.n_words", "numeric", "text", n_words),
        *(
            Column(f"{name}.words_{index}", "numeric", "text", shares[:, index])
            for index in range(N_GROUPS)
        ),
    ]
