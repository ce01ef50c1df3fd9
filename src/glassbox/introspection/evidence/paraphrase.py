"""Other wordings of a prompt, made by rule: the same question, asked differently.

Two sources: rewrites (pattern and replacements, kept with a verifier for its kind of prompt) and,
where none of them fits, changes of the frame that fit any question. A rule knows words, not
meaning: whoever has better paraphrases gives them instead.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from glassbox.errors import InvalidValue

_FRAMES: Final = (("Question:", "\nAnswer:"), ("Q:", "\nA:"))
"""What stands before and after a question."""


@dataclass(frozen=True)
class Rewrite:
    """One pattern of prompts and the other wordings of what it matches."""

    pattern: str
    """Regular expression that must match the whole prompt."""
    wordings: tuple[str, ...]
    """Replacements; ``\\1`` is the first group."""

    def __post_init__(self) -> None:
        try:
            n_groups = re.compile(self.pattern).groups
        except re.error as error:
            raise InvalidValue(
                "rewrite", self.pattern, f"a regular expression ({error})"
            ) from error
        asked = {int(n) for wording in self.wordings for n in re.findall(r"\\(\d+)", wording)}
        if max(asked, default=0) > n_groups:
            raise InvalidValue(
                "rewrite", self.wordings, f"wordings that use the {n_groups} groups of the pattern"
            )

    def apply(self, prompt: str) -> tuple[str, ...]:
        """Return the other wordings of a prompt; none where the pattern does not match."""
        match = re.fullmatch(self.pattern, prompt)
        return () if match is None else tuple(match.expand(each) for each in self.wordings)


def paraphrases_by_rule(prompt: str, rewrites: Sequence[Rewrite] = ()) -> tuple[str, ...]:
    """Return other wordings of a prompt, distinct and none equal to it; there may be none.

    Args:
        prompt: The prompt.
        rewrites: Rules for this kind of prompt; the first that matches is used alone.
    """
    for rewrite in rewrites:
        found = rewrite.apply(prompt)
        if found:
            return _distinct(found, prompt)
    return _distinct(_frames(prompt), prompt)


def _frames(prompt: str) -> tuple[str, ...]:
    question = next(filter(None, (_question(prompt, *each) for each in _FRAMES)), "")
    if question:
        return (
            f"Question: {question}\nAnswer:",
            f"Q: {question}\nA:",
            f"Question: Tell me, {question[:1].lower()}{question[1:]}\nAnswer:",
        )
    asked = prompt.strip()
    if asked.endswith("?"):
        return (
            f"Question: {asked}\nAnswer:",
            f"Tell me, {asked[:1].lower()}{asked[1:]}",
            f"{asked} Answer briefly.",
        )
    return ()


def _question(prompt: str, before: str, after: str) -> str:
    """Return the question inside a frame; empty where the prompt has another one, or none.

    Not a pattern: with blanks before, in and after the question it would try all their shares.
    """
    asked = prompt.rstrip()
    is_framed = asked.startswith(before) and asked.endswith(after)
    return asked[len(before) : -len(after)].strip() if is_framed else ""


def _distinct(wordings: Sequence[str], prompt: str) -> tuple[str, ...]:
    return tuple(each for each in dict.fromkeys(wordings) if each != prompt)
