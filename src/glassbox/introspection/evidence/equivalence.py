"""When two answers count as the same: pluggable, with two rules that need no model.

An equivalence is any function of (prompt, one answer, other answer). Knows nothing of engines.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from glassbox.errors import UnknownName

Equivalence = Callable[[str, str, str], bool]
"""Whether two answers to a prompt mean the same: (prompt, one, other)."""

_ARTICLES = re.compile(r"^(the|a|an)\s+")
_GAPS = re.compile(r"\s+")


def exact(prompt: str, one: str, other: str) -> bool:
    """Whether two answers are the same characters, white space around them aside."""
    del prompt
    return one.strip() == other.strip()


def normalised(prompt: str, one: str, other: str) -> bool:
    """Whether two answers are the same words.

    Case, punctuation, Unicode forms, a leading article and white space do not count.
    """
    del prompt
    return normal_form(one) == normal_form(other)


def normal_form(text: str) -> str:
    """Return the words of an answer: lower case, no punctuation, no leading article.

    A text that is nothing but punctuation is kept as it is, so that it equals only itself.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(" " if unicodedata.category(c)[0] in "PZC" else c for c in folded)
    words = _ARTICLES.sub("", _GAPS.sub(" ", kept).strip())
    return words or text.strip()


EQUIVALENCES: Mapping[str, Equivalence] = MappingProxyType(
    {"exact": exact, "normalised": normalised}
)
"""Rules by the names that commands and files use."""


def equivalence(name: str) -> Equivalence:
    """Return the rule of a name.

    Raises:
        UnknownName: No such rule.
    """
    if name not in EQUIVALENCES:
        raise UnknownName("equivalence", name, EQUIVALENCES)
    return EQUIVALENCES[name]


def clusters(prompt: str, answers: Sequence[str], same: Equivalence) -> list[int]:
    """Return the size of each group of equivalent answers, in the order they first appear.

    An answer joins the first group whose first member it equals.

    Source: Farquhar et al. 2024, Nature 630, algorithm 1 (greedy clustering by equivalence).
    """
    firsts: list[str] = []
    sizes: list[int] = []
    for answer in answers:
        for number, first in enumerate(firsts):
            if same(prompt, first, answer):
                sizes[number] += 1
                break
        else:
            firsts.append(answer)
            sizes.append(1)
    return sizes
