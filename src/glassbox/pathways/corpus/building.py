"""From logged responses to a corpus: distinct texts, encoded, cut to the context, all counted.

Prompt and response are encoded apart, so that the border between them is exact. What is read is
the text as the clean model sees it: a response that was written under a patch is read without it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol

from glassbox.errors import InvalidValue, NotEnoughData, TextTooLong
from glassbox.pathways.corpus.documents import Corpus, CorpusCounts, corpus_of
from glassbox.types import OverlongPolicy, TokenIds

ENCODE_BATCH = 1024
"""Texts handed to the tokenizer at once."""


class LoggedText(Protocol):
    """One entry of a response log, as far as the corpus needs it."""

    @property
    def condition(self) -> str:
        """Under which condition it was written."""
        ...

    @property
    def prompt(self) -> str | None:
        """What the model was given; empty or None where the log does not say."""
        ...

    @property
    def response(self) -> str:
        """What the model wrote."""
        ...


class Encoder(Protocol):
    """The part of an engine's codec that turns texts into tokens."""

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[TokenIds]:
        """Return token ids of each text; ``special`` adds what the tokenizer adds (BOS)."""
        ...

    def encode_continuations(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return token ids of each text as it reads right behind other text."""
        ...


def build_corpus(
    entries: Iterable[LoggedText],
    encoder: Encoder,
    *,
    context: int,
    special_ids: Collection[int],
    overlong: OverlongPolicy = "truncate",
) -> Corpus:
    """Return the distinct texts of some response logs.

    Args:
        entries: All logs' entries, in any order; read once.
        encoder: The resident model's codec.
        context: Most tokens the model can read.
        special_ids: The tokenizer's special tokens, which are nobody's evidence.
        overlong: ``truncate`` cuts the end off, which leaves what comes before it unchanged;
            ``skip`` leaves the document out; both are counted.

    Raises:
        TextTooLong: A text is longer than the context, under the policy ``error``.
        InvalidValue: A context under two tokens.
        NotEnoughData: No entry gave a document.
    """
    if context < 2:
        raise InvalidValue("context", context, "two tokens or more")
    tally = _Tally(context, overlong)
    logged = _distinct(entries, tally)
    known: dict[tuple[TokenIds, TokenIds], Counter[str]] = {}
    for chunk in _chunks(logged, ENCODE_BATCH):
        prompts = encoder.encode([prompt for (prompt, _), _ in chunk])
        responses = encoder.encode_continuations([response for (_, response), _ in chunk])
        for prompt, response, (_, conditions) in zip(prompts, responses, chunk, strict=True):
            text = tally.fitted(tuple(prompt), tuple(response))
            if text is None:
                continue
            if text in known:
                tally.n_duplicates += 1
            known.setdefault(text, Counter()).update(conditions)
    if not known:
        raise NotEnoughData(
            "A corpus", 0, 1, unit="text", remedy="The logs hold no text that can be read."
        )
    return corpus_of(
        list(known), list(known.values()), special_ids=sorted(special_ids), counts=tally.counts()
    )


class _Tally:
    """Cuts texts to the context and counts what becomes of them."""

    def __init__(self, context: int, overlong: OverlongPolicy) -> None:
        self._context = context
        self._overlong = overlong
        self.n_logged = self.n_duplicates = self.n_empty = self.n_without_prompt = 0
        self._n_skipped = self._n_cut = self._n_prompts_cut = self._n_cut_tokens = 0

    def fitted(self, prompt: TokenIds, response: TokenIds) -> tuple[TokenIds, TokenIds] | None:
        """Return a text's tokens as far as they fit, or None if it is left out."""
        excess = len(prompt) + len(response) - self._context
        if not prompt and not response:
            self._n_skipped += 1
            return None
        if excess <= 0:
            return prompt, response
        if self._overlong == "error":
            raise TextTooLong(len(prompt) + len(response), self._context, which="logged text")
        if self._overlong == "skip":
            self._n_skipped += 1
            return None
        self._n_cut += 1
        self._n_prompts_cut += len(prompt) > self._context
        self._n_cut_tokens += excess
        return prompt[: self._context], response[: max(0, self._context - len(prompt))]

    def counts(self) -> CorpusCounts:
        """Return the counts as values."""
        return CorpusCounts(
            n_logged=self.n_logged,
            n_duplicates=self.n_duplicates,
            n_empty=self.n_empty,
            n_without_prompt=self.n_without_prompt,
            n_skipped=self._n_skipped,
            n_cut=self._n_cut,
            n_prompts_cut=self._n_prompts_cut,
            n_cut_tokens=self._n_cut_tokens,
        )


def _distinct(
    entries: Iterable[LoggedText], tally: _Tally
) -> Mapping[tuple[str, str], Counter[str]]:
    """Return the distinct texts in the order they come, with how often each condition has them."""
    known: dict[tuple[str, str], Counter[str]] = {}
    for entry in entries:
        text = (entry.prompt or "", entry.response or "")
        tally.n_logged += 1
        tally.n_empty += not text[1]
        tally.n_without_prompt += not text[0]
        tally.n_duplicates += text in known
        known.setdefault(text, Counter())[entry.condition] += 1
    return known


def _chunks(
    logged: Mapping[tuple[str, str], Counter[str]], size: int
) -> Iterable[list[tuple[tuple[str, str], Counter[str]]]]:
    items = iter(logged.items())
    while chunk := list(islice(items, size)):
        yield chunk
