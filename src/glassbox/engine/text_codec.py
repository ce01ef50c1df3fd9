"""What the rooms above ask of a resident model's tokenizer.

Needs no torch and no library of tokenizers. ``engine.model.codec`` is the real one.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from glassbox.types import TokenIds

TemplateValue = bool | int | float | str | None
"""Value of a variable of a chat template."""

NO_THINKING: Final[Mapping[str, TemplateValue]] = {"enable_thinking": False, "thinking": False}
"""Variables that ask for the answer without thoughts before it.

Source: the chat templates of Qwen 3, SmolLM 3 and GLM 4.5 (``enable_thinking``), of DeepSeek V3.1
and Granite 3.2 (``thinking``).
"""


@runtime_checkable
class TextCodec(Protocol):
    """Text to token ids and back, as the resident model's tokenizer does it."""

    def encode(
        self, texts: Sequence[str], *, special: bool = True, literal: bool = False
    ) -> list[TokenIds]:
        """Return token ids of each text; ``special`` adds what the tokenizer adds (BOS).

        ``literal`` reads special tokens that are written in the text as plain characters, where
        the tokenizer can (Hugging Face: ``split_special_tokens``), so that no text injects them.
        """
        ...

    def encode_continuations(
        self, texts: Sequence[str], *, literal: bool = False
    ) -> list[TokenIds]:
        """Return token ids of each text as it reads right behind other text.

        The ids add the text's own characters and nothing else; no space that the tokenizer puts at
        the start of a text.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, special tokens included."""
        ...

    def token(self, token_id: int) -> str:
        """Return one token as it reads behind other text, special tokens by their names."""
        ...

    def continuation(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """Return the text that some ids add after others, special tokens left out."""
        ...

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer carries a chat template."""
        ...

    @property
    def before_answer(self) -> str:
        """White space that the chat template puts between its prompt and an answer."""
        ...

    def chat(self, user: str, *, system: str | None = None) -> str:
        """Return one user message as the chat template renders it, ready for the answer itself.

        A model that may think before it answers is asked not to (``NO_THINKING``). The text already
        holds the special tokens: encode it with ``special=False``.

        Raises:
            As ``dialogue``.
        """
        ...

    def dialogue(
        self,
        messages: Sequence[tuple[str, str]],
        *,
        variables: Mapping[str, TemplateValue] | None = None,
    ) -> str:
        """Return (role, content) messages as the chat template renders them, for the answer.

        Args:
            messages: The conversation so far.
            variables: What the template is told beside them; one that does not know a name passes
                over it.

        Raises:
            UnsupportedModel: The tokenizer carries no chat template.
            InvalidValue: The template refuses these roles, or their order; or a variable has the
                name of something that is the library's.
        """
        ...
