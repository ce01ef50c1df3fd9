"""The resident model's tokenizer behind the few verbs that the rooms above need.

Knows no model and no prompt format beyond the tokenizer's own chat template.
"""

import inspect
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from glassbox.engine.text_codec import NO_THINKING, TemplateValue
from glassbox.errors import InvalidValue, UnsupportedModel
from glassbox.types import TokenIds

CONTEXT_IDS = 4
"""Ids before a continuation that decide how its first characters read; enough for any UTF-8
character split into bytes."""
ANCHORS = ("\n", ".", "a")
"""Texts behind which others are encoded, the first whose own tokens stay as they are."""


def token_text(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """Return one token as it reads behind other text, special tokens by their names.

    Tokenizers that drop the space at the start of a text would drop that of a token, and two
    tokens would read the same: it is decoded twice in a row, and the second one is returned.
    """
    alone, twice = (
        tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        for ids in ([token_id], [token_id, token_id])
    )
    assert isinstance(alone, str)
    assert isinstance(twice, str)
    # A part of a character may end one with itself.
    return alone if "\ufffd" in alone else twice[len(alone) :]


class TokenizerCodec:
    """Text to token ids and back through a tokenizer of the library.

    Args:
        tokenizer: The model's own.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._lock = threading.Lock()

    @cached_property
    def n_tokens(self) -> int:
        """Number above all ids that mean something; a model may have room for more."""
        return 1 + max(self.tokenizer.get_vocab().values())

    def encode(
        self, texts: Sequence[str], *, special: bool = True, literal: bool = False
    ) -> list[TokenIds]:
        """Return token ids of each text; ``special`` adds what the tokenizer adds (BOS).

        What the tokenizer adds behind a text (an end of text, as some do) is left out: whatever is
        encoded here, the model is to go on from it. ``literal`` reads special tokens that are
        written in the text as plain characters.
        """
        if not texts:
            return []
        # Reading literally is a state of the library's tokenizer: two threads would share it.
        # ``verbose`` would warn of texts over the model's length; the engine raises for those.
        with self._lock:
            batch = self.tokenizer(
                list(texts), add_special_tokens=special, split_special_tokens=literal, verbose=False
            )
            n_behind = len(self._behind) if special else 0
        return [
            tuple(ids[:-n_behind] if n_behind and ids[-n_behind:] == self._behind else ids)
            for ids in batch["input_ids"]
        ]

    def encode_continuations(
        self, texts: Sequence[str], *, literal: bool = False
    ) -> list[TokenIds]:
        """Return token ids of each text as it reads right behind other text.

        Many tokenizers (Llama 2's, Mistral's, Phi-3's) put a space before every text. Where one
        does, the texts are encoded behind an anchor whose tokens are left out, so that the ids add
        exactly the text's own characters.
        """
        alone = self.encode(texts, special=False, literal=literal)
        return self._anchored(texts, alone, literal=literal) if self._puts_a_space else alone

    @cached_property
    def _puts_a_space(self) -> bool:
        """Whether the start of a text is encoded otherwise than what stands behind other text."""
        alone = self.encode(["b"], special=False)
        return self._anchored(["b"], alone, literal=False) != alone

    def _anchored(
        self, texts: Sequence[str], alone: Sequence[TokenIds], *, literal: bool
    ) -> list[TokenIds]:
        """Return the tokens of texts behind an anchor; where each grows into one, those alone."""
        found = list(alone)
        left = list(range(len(texts)))
        for anchor in ANCHORS:
            joined = [anchor + texts[at] for at in left]
            start, *whole = self.encode([anchor, *joined], special=False, literal=literal)
            grown = []
            for at, ids in zip(left, whole, strict=True):
                if ids[: len(start)] == start:
                    found[at] = ids[len(start) :]
                else:
                    grown.append(at)
            left = grown
        return found

    @cached_property
    def _behind(self) -> list[int]:
        """Ids that the tokenizer adds behind a text."""
        bare, whole = (
            self.tokenizer("a", add_special_tokens=special)["input_ids"]
            for special in (False, True)
        )
        n = len(bare)
        starts = (at for at in range(len(whole) - n + 1) if n and whole[at : at + n] == bare)
        return list(whole[next(starts, len(whole)) + n :])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, special tokens included."""
        text = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def token(self, token_id: int) -> str:
        """Return one token as it reads behind other text, special tokens by their names."""
        return token_text(self.tokenizer, token_id)

    def continuation(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """Return the text that some ids add after others, special tokens left out.

        Tokenizers that drop a leading space at the start of a text keep it here, because the ids
        are read where they stand.
        """
        context = list(before[-CONTEXT_IDS:])
        whole, known = (
            self.tokenizer.decode(
                part, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            for part in (context + list(ids), context)
        )
        assert isinstance(whole, str)
        assert isinstance(known, str)
        return whole[len(known) :]

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer carries a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    @cached_property
    def before_answer(self) -> str:
        """White space that the chat template puts between its prompt and an answer; often none.

        A model that was trained on such a template writes it before its answers.
        """
        if not self.has_chat_template:
            return ""
        from jinja2 import TemplateError

        asked = [{"role": "user", "content": "u"}]
        answered = [*asked, {"role": "assistant", "content": "a"}]
        try:
            prompt, whole = (
                self._rendered(messages, NO_THINKING, ready=messages is asked)
                for messages in (asked, answered)
            )
        except TemplateError:
            return ""
        behind = whole.removeprefix(prompt) if whole.startswith(prompt) else ""
        return behind[: len(behind) - len(behind.lstrip())]

    def chat(self, user: str, *, system: str | None = None) -> str:
        """Return one user message as the chat template renders it, ready for the answer itself.

        Raises:
            UnsupportedModel: The tokenizer carries no chat template.
        """
        messages = [("user", user)]
        if system is not None:
            messages.insert(0, ("system", system))
        return self.dialogue(messages, variables=NO_THINKING)

    def dialogue(
        self,
        messages: Sequence[tuple[str, str]],
        *,
        variables: Mapping[str, TemplateValue] | None = None,
    ) -> str:
        """Return (role, content) messages as the chat template renders them, for the answer.

        Raises:
            UnsupportedModel: The tokenizer carries no chat template.
            InvalidValue: The template refuses these roles, or their order; or a variable has the
                name of something that is the library's.
        """
        if not self.has_chat_template:
            raise UnsupportedModel(
                "This model's tokenizer has no chat template: it is a base model. Use a plain "
                "prompt."
            )
        from jinja2 import TemplateError

        given = dict(variables or {})
        for name in given.keys() & self._taken_names:
            raise InvalidValue("chat_template_kwargs", name, "variables of the chat template's own")
        listed = [{"role": role, "content": content} for role, content in messages]
        try:
            return self._rendered(listed, given, ready=True)
        except TemplateError as error:
            roles = ", ".join(role for role, _ in messages)
            raise InvalidValue(
                "messages", roles, f"what the model's chat template takes ({error})"
            ) from error

    @cached_property
    def _taken_names(self) -> frozenset[str]:
        """Names that the library itself gives to a template, or takes as its own."""
        library = inspect.signature(self.tokenizer.apply_chat_template).parameters
        special = self.tokenizer.special_tokens_map
        return frozenset(library) | frozenset(special) | {"messages"}

    def _rendered(
        self,
        messages: list[dict[str, str]],
        variables: Mapping[str, TemplateValue],
        *,
        ready: bool,
    ) -> str:
        others: dict[str, Any] = dict(variables)
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=ready, **others
        )
        assert isinstance(text, str)
        return text
