"""What a request says, as the tokens the model reads; the hidden system prompt goes in front.

Text of a conversation is data: special tokens written in it are read as plain characters wherever
the tokenizer can. A prompt for completions is the caller's own format, so there they count. Knows
nothing of HTTP and of what is done with the tokens.
"""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from glassbox.engine.text_codec import NO_THINKING, TemplateValue, TextCodec
from glassbox.errors import InvalidValue, UnsupportedModel
from glassbox.types import TokenIds
from glassbox.wire.openai_chat import ChatAsked

MAX_TOKEN_CHARACTERS = 256
"""No token of a vocabulary in use is longer; a text is refused by its length alone beyond it."""

LEAST_ROOM = 2
"""Tokens without which no request could be answered: one of a prompt and one of a text."""

BETWEEN = "\n\n"
"""Between a hidden system prompt and what follows, and between messages without a template."""

_MARK = re.compile("\ue000([0-9]+)\ue001")
"""Stands for a message's text while a chat template is rendered."""

_HIDDEN = 0
"""Number of the mark that stands for the hidden system prompt."""

Render = Callable[[Sequence[tuple[str, str]]], str]
"""Makes of (role, text) what the chat template makes of them."""


def template_variables(asked: ChatAsked) -> dict[str, TemplateValue]:
    """Return what a request tells the chat template beside its messages."""
    first = NO_THINKING if asked.reasoning_effort == "none" else {}
    return {**first, **(asked.chat_template_kwargs or {})}


@dataclass(frozen=True)
class BuiltPrompt:
    """One prompt, ready for the model."""

    ids: TokenIds
    """All tokens, the hidden ones first."""
    n_hidden: int = 0
    """How many leading tokens hold the hidden system prompt."""
    text: str = ""
    """What the caller wrote, as text; empty for a conversation."""

    @property
    def visible(self) -> TokenIds:
        """The tokens that the caller wrote."""
        return self.ids[self.n_hidden :]


class Prompter:
    """Turns texts and conversations into prompts for one resident model.

    Args:
        codec: Its tokenizer.
        context: Most tokens of prompt and text together.
        hidden: A system prompt that is put in front of every request and never shown.

    Raises:
        InvalidValue: The hidden system prompt leaves no room for anything else.
    """

    def __init__(self, codec: TextCodec, context: int, hidden: str | None = None) -> None:
        self._codec = codec
        self._context = context
        self._limit = context * MAX_TOKEN_CHARACTERS
        self._hidden = hidden
        self._hidden_ids: TokenIds = codec.encode([hidden + BETWEEN])[0] if hidden else ()
        if self.room < LEAST_ROOM:
            raise InvalidValue(
                "hidden_prompt",
                f"{len(self._hidden_ids):,} tokens long",
                f"at most {context - LEAST_ROOM:,} tokens, because the model's context of "
                f"{context:,} has to hold each request beside it",
            )

    @property
    def has_template(self) -> bool:
        """Whether a conversation is rendered by the model's own chat template."""
        return self._codec.has_chat_template

    @property
    def hides(self) -> bool:
        """Whether a system prompt that is never shown stands before every request."""
        return self._hidden is not None

    @property
    def room(self) -> int:
        """Most tokens of prompt and text together that a caller has."""
        return self._context - len(self._hidden_ids)

    def plain(self, prompt: str | Sequence[int], *, literal: bool = False) -> BuiltPrompt:
        """Return a prompt as it was given.

        Args:
            prompt: Text, or token ids, which are taken as they are.
            literal: Read special tokens in the text as plain characters.

        Raises:
            InvalidValue: The text is longer than any context would hold.
        """
        if not isinstance(prompt, str):
            text = self._text_of(prompt)
            return BuiltPrompt((*self._hidden_ids, *prompt), len(self._hidden_ids), text)
        self.check_length(prompt)
        if not self._hidden_ids:
            return BuiltPrompt(self._codec.encode([prompt], literal=literal)[0], 0, prompt)
        (ids,) = self._codec.encode_continuations([prompt], literal=literal)
        return BuiltPrompt((*self._hidden_ids, *ids), len(self._hidden_ids), prompt)

    def given_response(self, text: str) -> TokenIds:
        """Return somebody else's response as the tokens that follow a prompt.

        Raises:
            InvalidValue: The text is longer than any context would hold.
        """
        self.check_length(text)
        (ids,) = self._codec.encode_continuations([text], literal=True)
        return ids

    def chat(
        self,
        messages: Sequence[tuple[str, str]],
        *,
        variables: Mapping[str, TemplateValue] | None = None,
    ) -> BuiltPrompt:
        """Return a conversation as the model's chat template renders it, ready for the answer.

        A model without a template is a base model: it continues the messages' texts, joined by
        blank lines, without names of roles. A template may change a text (strip it, say); where
        texts are put in one by one, it does not, so that what was written is what is read.

        Args:
            messages: (role, text); ``developer`` is read as ``system``.
            variables: What the template is told beside them.

        Raises:
            InvalidValue: The template refuses the roles, their order or a variable; a text is too
                long.
            UnsupportedModel: The template shows the hidden system prompt after other text, or not
                at all.
        """
        for _, text in messages:
            self.check_length(text)
        spoken = [("system" if role == "developer" else role, text) for role, text in messages]
        if not self.has_template:
            joined = BETWEEN.join(text for _, text in spoken if text)
            return self.plain(joined, literal=True)
        texts = [text for _, text in spoken]
        as_read = self._codec.encode(texts, special=False)
        is_plain = as_read == self._codec.encode(texts, special=False, literal=True)
        if is_plain and self._hidden is None:
            rendered = self._codec.dialogue(spoken, variables=variables)
            return BuiltPrompt(self._codec.encode([rendered], special=False)[0])
        render = partial(self._codec.dialogue, variables=variables)
        return self._chat_in_pieces(spoken, render, is_plain=is_plain)

    def check_length(self, text: str) -> None:
        """Refuse a text that is too long to be worth reading.

        Raises:
            InvalidValue: It is longer than any context would hold.
        """
        if len(text) > self._limit:
            raise InvalidValue(
                "text",
                f"{len(text):,} characters long",
                f"at most {self._limit:,} characters, more than which the model's context cannot "
                "hold",
            )

    def _chat_in_pieces(
        self, spoken: list[tuple[str, str]], render: Render, *, is_plain: bool
    ) -> BuiltPrompt:
        """Return the prompt with every text encoded as it must be read, the hidden part apart."""
        pieces = _MARK.split(self._render_marks(spoken, render))
        # Odd places hold the numbers of the marks between the template's own text.
        rendered: list[tuple[str, bool]] = []
        n_hidden_pieces = 0
        for at, piece in enumerate(pieces):
            if at % 2 == 0:
                rendered.append((piece, False))
            elif int(piece) == _HIDDEN:
                rendered.append((self._hidden or "", True))
                n_hidden_pieces = len(rendered)
            else:
                rendered.append((spoken[int(piece) - 1][1], not is_plain))
        if self._hidden is not None and pieces[1:2] != [str(_HIDDEN)]:
            raise UnsupportedModel(
                "The chat template of this model shows a system prompt after other text or not at "
                "all, so it cannot be kept hidden. Serve the model without a hidden system prompt."
            )
        head = self._encode(rendered[:n_hidden_pieces])
        rest = self._encode(rendered[n_hidden_pieces:], behind=bool(head))
        return BuiltPrompt((*head, *rest), len(head))

    def _render_marks(self, spoken: list[tuple[str, str]], render: Render) -> str:
        marked = [(role, _mark(number)) for number, (role, _) in enumerate(spoken, start=1)]
        if self._hidden is None:
            return render(marked)
        if marked[0][0] == "system":
            first = ("system", _mark(_HIDDEN) + BETWEEN + marked[0][1])
            return render([first, *marked[1:]])
        with contextlib.suppress(InvalidValue):
            rendered = render([("system", _mark(_HIDDEN)), *marked])
            if _mark(_HIDDEN) in rendered:
                return rendered
        # Some templates know no system role, or drop it: the first message carries the prompt then.
        first = (marked[0][0], _mark(_HIDDEN) + BETWEEN + marked[0][1])
        return render([first, *marked[1:]])

    def _encode(self, pieces: list[tuple[str, bool]], *, behind: bool = False) -> TokenIds:
        """Return pieces one behind another; ``behind`` where other text stands before them.

        Spaces before a literal text go with it, where tokenizers join them to its first word.
        """
        parts: list[tuple[str, bool]] = []
        run = ""
        for text, literal in pieces:
            if not literal:
                run += text
            elif text:
                own = run.rstrip(" ")
                parts += [(own, False), (run[len(own) :] + text, True)]
                run = ""
        ids: list[int] = []
        for text, literal in [*parts, (run, False)]:
            if ids or behind:
                ids += self._codec.encode_continuations([text], literal=literal)[0]
            else:
                ids += self._codec.encode([text], special=False, literal=literal)[0]
        return tuple(ids)

    def _text_of(self, ids: Sequence[int]) -> str:
        """Return token ids as text; ids that there are not are the engine's to refuse."""
        try:
            return self._codec.decode(ids)
        except OverflowError:
            return ""


def _mark(number: int) -> str:
    return f"\ue000{number}\ue001"
