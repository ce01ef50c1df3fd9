"""The resident model's tokenizer behind the few verbs that the rooms above need.

Knows no model and no prompt format beyond the tokenizer's own chat template.
"""

import threading
from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from glassbox.errors import InvalidValue, UnsupportedModel
from glassbox.types import TokenIds

CONTEXT_IDS = 4
"""Ids before a continuation that decide how its first characters read; enough for any UTF-8
character split into bytes."""


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

    def chat(self, user: str, *, system: str | None = None) -> str:
        """Return one user message as the chat template renders it, ready for the answer.

        Raises:
            UnsupportedModel: The tokenizer carries no chat template.
        """
        messages = [("user", user)]
        if system is not None:
            messages.insert(0, ("system", system))
        return self.dialogue(messages)

    def dialogue(self, messages: Sequence[tuple[str, str]]) -> str:
        """Return (role, content) messages as the chat template renders them, for the answer.

        Raises:
            UnsupportedModel: The tokenizer carries no chat template.
            InvalidValue: The template refuses these roles, or their order.
        """
        if not self.has_chat_template:
            raise UnsupportedModel(
                "This model's tokenizer has no chat template: it is a base model. Use a plain "
                "prompt."
            )
        from jinja2 import TemplateError

        listed = [{"role": role, "content": content} for role, content in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                listed, tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            roles = ", ".join(role for role, _ in messages)
            raise InvalidValue(
                "messages", roles, f"what the model's chat template takes ({error})"
            ) from error
        assert isinstance(text, str)
        return text
