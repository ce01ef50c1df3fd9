"""The corpus: every distinct text of a study once, as tokens, with what may be counted in it.

A text is a prompt and the response to it. Thirty trials share a prompt, and some share a
response: each is kept once, because copies are no evidence. A prompt's positions count in the
first document that has it and in no other. Knows nothing of models or latents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from glassbox.artifacts import digest_contents
from glassbox.errors import InvalidValue, UnknownName
from glassbox.types import TokenIds

Part = Literal["prompt", "response"]
"""The two parts of a document."""


@dataclass(frozen=True)
class CorpusCounts:
    """What became of the logged responses and of their positions; nothing is dropped unseen."""

    n_logged: int
    """Logged responses read."""
    n_duplicates: int
    """Of these, the ones whose prompt and response another one had already."""
    n_empty: int
    """Of these, the ones with no response: their prompts stay."""
    n_without_prompt: int
    """Of these, the ones with no prompt: their responses stay, read on their own."""
    n_skipped: int
    """Left out: too long for the model's context (under the policy ``skip``), or no token."""
    n_cut: int
    """Documents whose end was cut off at the context; what was kept is unchanged by that."""
    n_prompts_cut: int
    """Of these, the ones whose prompt alone is longer than the context: no response is left."""
    n_cut_tokens: int
    """Tokens cut off."""


@dataclass(frozen=True)
class Span:
    """A run of positions that belong together: one prompt, or one response."""

    document_id: int
    """Document it stands in."""
    start: int
    """First position."""
    stop: int
    """One past the last."""
    part: Part
    """Which part of the document it is."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Distinct texts as tokens; documents are numbered in the order they were first seen."""

    tokens: Int[np.ndarray, " n_tokens"]
    """All documents' token ids, one after the other; int32."""
    offsets: Int[np.ndarray, " n_documents_and_1"]
    """Where each document begins; the last entry is the number of tokens; int64."""
    n_prompt: Int[np.ndarray, " n_documents"]
    """Tokens of each that belong to the prompt; int32."""
    prompt_owner: Int[np.ndarray, " n_documents"]
    """The first document with the same prompt: where its positions are counted; int32."""
    conditions: tuple[str, ...]
    """Names of the conditions, sorted."""
    n_logged: Int[np.ndarray, "n_documents n_conditions"]
    """How many logged responses of each condition are this document; int32."""
    special_ids: tuple[int, ...]
    """Token ids that are nobody's evidence (BOS, EOS, padding); sorted."""
    counts: CorpusCounts
    """What became of the logged responses."""

    def __len__(self) -> int:
        return len(self.n_prompt)

    def token_ids(self, document_id: int) -> TokenIds:
        """Return a document's tokens, prompt and response."""
        start, stop = self.offsets[document_id], self.offsets[document_id + 1]
        return tuple(self.tokens[start:stop].tolist())

    @cached_property
    def lengths(self) -> Int[np.ndarray, " n_documents"]:
        """Tokens of each document; int64."""
        return np.diff(self.offsets)

    @cached_property
    def document_of(self) -> Int[np.ndarray, " n_tokens"]:
        """The document of each token; int32."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.lengths)

    @cached_property
    def position_of(self) -> Int[np.ndarray, " n_tokens"]:
        """The position of each token in its document; int32."""
        starts = np.repeat(self.offsets[:-1], self.lengths)
        positions: Int[np.ndarray, " n_tokens"] = np.arange(len(self.tokens)) - starts
        return positions.astype(np.int32)

    @cached_property
    def is_first(self) -> Bool[np.ndarray, " n_tokens"]:
        """Which tokens stand at position 0, whose residuals are unlike all others' in any model."""
        first: Bool[np.ndarray, " n_tokens"] = self.position_of == 0
        return first

    @cached_property
    def is_special(self) -> Bool[np.ndarray, " n_tokens"]:
        """Which tokens are special, wherever they stand."""
        return np.isin(self.tokens, np.asarray(self.special_ids, dtype=self.tokens.dtype))

    @cached_property
    def is_shared(self) -> Bool[np.ndarray, " n_tokens"]:
        """Which tokens belong to a prompt that an earlier document has already."""
        is_copy = self.prompt_owner != np.arange(len(self))
        in_prompt = self.position_of < np.repeat(self.n_prompt, self.lengths)
        shared: Bool[np.ndarray, " n_tokens"] = in_prompt & np.repeat(is_copy, self.lengths)
        return shared

    @cached_property
    def is_counted(self) -> Bool[np.ndarray, " n_tokens"]:
        """Which tokens count: not first, not special, not a copy of a prompt."""
        left: Bool[np.ndarray, " n_tokens"] = self.is_first | self.is_special | self.is_shared
        return ~left

    def excluded(self, document_id: int) -> tuple[int, ...]:
        """Return the positions of a document that are nobody's source: first and special ones."""
        start, stop = self.offsets[document_id], self.offsets[document_id + 1]
        is_excluded = (self.is_first | self.is_special)[start:stop]
        return tuple(np.flatnonzero(is_excluded).tolist())

    def spans(self) -> Iterator[Span]:
        """Yield each distinct prompt once and each response once; empty ones are left out."""
        for number in range(len(self)):
            n_prompt, length = int(self.n_prompt[number]), int(self.lengths[number])
            if n_prompt and self.prompt_owner[number] == number:
                yield Span(number, 0, n_prompt, "prompt")
            if length > n_prompt:
                yield Span(number, n_prompt, length, "response")

    def in_condition(self, condition: str) -> Bool[np.ndarray, " n_tokens"]:
        """Return which counted tokens were seen under a condition.

        A prompt was seen under every condition that any response to it was logged for.

        Raises:
            UnknownName: No response of that condition is in the corpus.
        """
        if condition not in self.conditions:
            raise UnknownName("condition", condition, self.conditions)
        response = self.n_logged[:, self.conditions.index(condition)] > 0
        prompt = np.zeros(len(self), dtype=bool)
        np.logical_or.at(prompt, self.prompt_owner, response)
        in_prompt = self.position_of < np.repeat(self.n_prompt, self.lengths)
        where = np.where(in_prompt, prompt[self.document_of], response[self.document_of])
        counted: Bool[np.ndarray, " n_tokens"] = where & self.is_counted
        return counted

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the tokens and of what is counted in them."""
        parts = {
            name: np.ascontiguousarray(getattr(self, name)).tobytes()
            for name in ("tokens", "offsets", "n_prompt", "prompt_owner", "n_logged")
        }
        names = "\0".join(self.conditions).encode()
        special = np.asarray(self.special_ids, dtype=np.int64).tobytes()
        return digest_contents(parts | {"conditions": names, "special_ids": special})

    def summary(self) -> dict[str, int]:
        """Return the counts of texts and of positions, in the names that the results carry."""
        return asdict(self.counts) | {
            "n_documents": len(self),
            "n_prompts": int((self.prompt_owner == np.arange(len(self))).sum()),
            "n_positions": len(self.tokens),
            "n_positions_counted": int(self.is_counted.sum()),
            "n_positions_first": int(self.is_first.sum()),
            "n_positions_special": int((self.is_special & ~self.is_first).sum()),
            "n_positions_shared": int((self.is_shared & ~self.is_first & ~self.is_special).sum()),
        }


def corpus_of(
    texts: Sequence[tuple[Sequence[int], Sequence[int]]],
    logged: Sequence[Mapping[str, int]],
    *,
    special_ids: Sequence[int],
    counts: CorpusCounts,
) -> Corpus:
    """Return a corpus of texts that are distinct already.

    Args:
        texts: Prompt tokens and response tokens of each document.
        logged: How many logged responses of each condition each document is.
        special_ids: Token ids that are nobody's evidence.
        counts: What became of the logged responses.

    Raises:
        InvalidValue: A document without tokens, or not as many counts as documents.
    """
    if len(texts) != len(logged):
        raise InvalidValue("n documents counted", len(logged), f"{len(texts)}, one a document")
    names = tuple(sorted({name for each in logged for name in each}))
    lengths = np.array([len(prompt) + len(response) for prompt, response in texts], dtype=np.int64)
    if (lengths == 0).any():
        raise InvalidValue("The tokens of a document", (), "at least one token")
    owners: dict[tuple[int, ...], int] = {}
    owner = [owners.setdefault(tuple(prompt), number) for number, (prompt, _) in enumerate(texts)]
    flat = [token for prompt, response in texts for part in (prompt, response) for token in part]
    return Corpus(
        tokens=np.array(flat, dtype=np.int32),
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
        n_prompt=np.array([len(prompt) for prompt, _ in texts], dtype=np.int32),
        prompt_owner=np.array(owner, dtype=np.int32),
        conditions=names,
        n_logged=np.array(
            [[each.get(name, 0) for name in names] for each in logged], dtype=np.int32
        ).reshape(len(logged), len(names)),
        special_ids=tuple(sorted({int(each) for each in special_ids})),
        counts=counts,
    )
