"""The resident model's tokenizer behind the few verbs that the rooms above need.

Knows no model and no prompt format beyond the tokenizer's own chat template.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from glassbox.errors import UnsupportedModel
from glassbox.types import TokenIds


class TokenizerCodec:
    """Text to token ids and back through a tokenizer of the library.

    Args:
        tokenizer: The model's own.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def encode(
        self, texts: Sequence[str], *, special: bool = True, literal: bool = False
    ) -> list[TokenIds]:
        """Return token ids of each text; ``special`` adds what the tokenizer adds (BOS).

        ``literal`` reads special tokens that are written in the text as plain characters.
        """
        if not texts:
            return []
        # ``verbose`` would warn of texts over the model's length; the engine raises for those.
        batch = self.tokenizer(
            list(texts), add_special_tokens=special, split_special_tokens=literal, verbose=False
        )
        return [tuple(ids) for ids in batch["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, special tokens included."""
        text = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer carries a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    def chat(self, user: str, *, system: str | None = None) -> str:
        """Return one user message as the chat template renders it, ready for the answer.

        Raises:
            UnsupportedModel: The tokenizer carries no chat template.
        """
        if not self.has_chat_template:
            raise UnsupportedModel(
                "This model's tokenizer has no chat template: it is a base model. Use a plain "
                "prompt."
            )
        messages = [{"role": "user", "content": user}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        assert isinstance(text, str)
        return text
