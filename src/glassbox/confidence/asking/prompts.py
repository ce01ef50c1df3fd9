"""Prompts: one function turns texts into token ids, for training and for inference.

The text is data: braces in it mean nothing, and special tokens written in it are read as plain
characters wherever the tokenizer can do that. Knows nothing of models beyond their tokenizer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from glassbox.confidence.asking.verbalisers import Verbalisers, tokenise_verbalisers
from glassbox.confidence.labels import LabelSet, split_template
from glassbox.engine.text_codec import TextCodec
from glassbox.errors import InvalidData, TextTooLong, UnsupportedModel
from glassbox.types import OverlongPolicy, TokenIds

_SAMPLE = "A text."
"""Stands for the text where only the end of the prompt matters."""

_SHORTEN = (
    "Shorten it, or evaluate with --overlong truncate (keeps the beginning) or --overlong skip."
)
"""What to do about a text that does not fit."""

_BEGINNING = 40
"""Characters by which a text that does not fit can be found in the data."""

_MARK = "\ue000text\ue001"
"""Stands for the text while a chat template is rendered; texts have no private-use characters."""


@dataclass(frozen=True)
class BuiltPrompts:
    """Token ids of some texts' prompts."""

    prompts: tuple[TokenIds, ...]
    """One prompt for each kept text, in order."""
    kept: tuple[int, ...]
    """Index of the text that each prompt belongs to."""
    truncated: tuple[int, ...]
    """Index of each text whose end was cut to fit the context."""
    n_skipped: int
    """Texts left out because they did not fit."""


class PromptBuilder:
    """Turns texts into prompts for one label set and tokenizer.

    Args:
        labels: Instruction, templates and verbalisers.
        codec: The resident model's tokenizer.
        context: Most tokens of prompt and answer together.
        overlong: What happens to a text that does not fit: ``error``, ``truncate`` (cuts the end
            of the text, never the instruction or the answer cue) or ``skip``.

    Raises:
        InvalidLabels: The tokenizer cannot tell the classes apart.
        TextTooLong: The prompt does not fit even without any text.
        UnsupportedModel: Chat is asked for and the tokenizer has no usable chat template.
    """

    def __init__(
        self,
        labels: LabelSet,
        codec: TextCodec,
        context: int,
        *,
        overlong: OverlongPolicy = "error",
    ) -> None:
        self.overlong = overlong
        self._codec = codec
        self.uses_chat = codec.has_chat_template if labels.chat is None else labels.chat
        if self.uses_chat:
            self._head, self._tail = _chat_sides(labels, codec)
        else:
            self._head, self._tail = split_template(labels.template, labels.instruction)
        self._plain_sides = self._reads_plainly(self._head + _SAMPLE + self._tail)
        self.verbalisers: Verbalisers = tokenise_verbalisers(labels, self, codec)
        self.limit = context - self.verbalisers.n_longest
        """Most tokens of a prompt, so that the longest verbaliser still fits after it."""
        n_empty = self.n_tokens("")
        if n_empty > self.limit:
            raise TextTooLong(n_empty, self.limit, which="prompt without any text")

    @property
    def anchor(self) -> str:
        """A whole prompt of a short text, as it is sent to the model."""
        return self.render(_SAMPLE)

    @property
    def adds_special(self) -> bool:
        """Whether the tokenizer adds its special tokens; a chat template holds them already."""
        return not self.uses_chat

    def render(self, text: str) -> str:
        """Return the prompt of one text as characters; surrounding white space is taken off it."""
        return self._head + text.strip() + self._tail

    def n_tokens(self, text: str) -> int:
        """Return the tokens of one text's whole prompt, however long."""
        return len(self._encode([text])[0])

    def n_overlong(self, texts: Sequence[str]) -> int:
        """Return how many of some texts do not fit the context whole."""
        return sum(len(ids) > self.limit for ids in self._encode(texts))

    def build(self, texts: Sequence[str]) -> BuiltPrompts:
        """Return the prompts of some texts.

        Raises:
            TextTooLong: A text does not fit and the policy is ``error``.
            InvalidData: A text holds half a character (a lone surrogate).
        """
        _check_characters(texts)
        prompts = self._encode(texts)
        overlong = [i for i, ids in enumerate(prompts) if len(ids) > self.limit]
        if not overlong:
            return BuiltPrompts(tuple(prompts), tuple(range(len(texts))), (), 0)
        if self.overlong == "error":
            first = overlong[0]
            begins = texts[first].strip()[:_BEGINNING]
            which = f"prompt of text {first + 1:,} of {len(texts):,} ({begins!r} …)"
            raise TextTooLong(len(prompts[first]), self.limit, which=which, remedy=_SHORTEN)
        if self.overlong == "skip":
            left_out = set(overlong)
            kept = tuple(i for i in range(len(texts)) if i not in left_out)
            return BuiltPrompts(tuple(prompts[i] for i in kept), kept, (), len(overlong))
        for i, ids in zip(overlong, self._truncate([texts[i] for i in overlong]), strict=True):
            prompts[i] = ids
        return BuiltPrompts(tuple(prompts), tuple(range(len(texts))), tuple(overlong), 0)

    def _truncate(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the prompts of the longest beginnings that fit, by bisection over all at once."""
        texts = [text.strip() for text in texts]
        fits = [0] * len(texts)
        fails = [len(text) for text in texts]
        best = self._encode([""] * len(texts))
        active = list(range(len(texts)))
        while active:
            middle = {i: (fits[i] + fails[i]) // 2 for i in active}
            found = self._encode([texts[i][: middle[i]] for i in active])
            for i, ids in zip(active, found, strict=True):
                if len(ids) <= self.limit:
                    fits[i], best[i] = middle[i], ids
                else:
                    fails[i] = middle[i]
            active = [i for i in active if fails[i] - fits[i] > 1]
        return best

    def _encode(self, texts: Sequence[str]) -> list[TokenIds]:
        rendered = [self.render(text) for text in texts]
        special = self.adds_special
        if self._plain_sides:
            return self._codec.encode(rendered, special=special, literal=True)
        prompts = self._codec.encode(rendered, special=special)
        as_read = self._codec.encode(texts, special=False)
        as_written = self._codec.encode(texts, special=False, literal=True)
        for i, (read, written) in enumerate(zip(as_read, as_written, strict=True)):
            if read != written:
                prompts[i] = self._encode_in_pieces(texts[i].strip())
        return prompts

    def _encode_in_pieces(self, text: str) -> TokenIds:
        """Return a prompt whose sides hold special tokens and whose text must not.

        The space before the text goes with the text, where tokenizers join it to the first word.
        """
        head = self._head.rstrip(" ")
        text = self._head[len(head) :] + text
        (start,) = self._codec.encode([head], special=self.adds_special)
        (middle,) = self._codec.encode_continuations([text], literal=True)
        (end,) = self._codec.encode_continuations([self._tail])
        return start + middle + end

    def _reads_plainly(self, prompt: str) -> bool:
        read = self._codec.encode([prompt], special=False)
        return read == self._codec.encode([prompt], special=False, literal=True)


def _chat_sides(labels: LabelSet, codec: TextCodec) -> tuple[str, str]:
    if not codec.has_chat_template:
        raise UnsupportedModel(
            "The label set asks for chat = true, but this model's tokenizer has no chat template. "
            "Remove the key, or choose an instruction-tuned model."
        )
    before, after = split_template(labels.chat_message, labels.instruction)
    sides = codec.chat(before + _MARK + after).split(_MARK)
    if len(sides) != 2:
        raise UnsupportedModel(
            f"The chat template shows the user's message {len(sides) - 1} times; once is needed. "
            "Set chat = false in labels.toml to prompt without it."
        )
    return sides[0], sides[1] + labels.chat_prefill


def _check_characters(texts: Sequence[str]) -> None:
    for i, text in enumerate(texts):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidData(
                f"text {i + 1} of {len(texts)} has half a character (a lone surrogate) at position "
                f"{error.start + 1}; it was probably read with the wrong encoding"
            ) from error
