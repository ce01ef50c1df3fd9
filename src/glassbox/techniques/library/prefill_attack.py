"""Prefill attack: the assistant's answer is begun for it, and it goes on from there."""

from dataclasses import dataclass
from typing import Any

from glassbox.techniques.measures.views import Passages, View
from glassbox.techniques.technique import technique


@dataclass(frozen=True)
class PrefillAttack:
    """What a model writes after words that were put into its mouth."""

    user_prompt: str
    """What the user asked."""
    prefill_text: str
    """How the answer was begun."""
    completion: str
    """How the model went on."""
    plain: str
    """What it answers when nothing was begun for it."""
    is_chat: bool
    """Whether a chat template was used; a base model reads the raw text."""

    def view(self) -> View:
        """Return both answers."""
        names = ("by itself", "after the prefill")
        texts = (self.plain, self.prefill_text + self.completion)
        panel = Passages("Answers", names, texts, self.user_prompt)
        note = "" if self.is_chat else "This model has no chat template: it read the raw text."
        return View("Prefill attack", (panel,), note)


@technique(title="Prefill attack", paper="Andriushchenko et al. 2024, Jailbreaking leading models")
def prefill_attack(
    model: Any, tokenizer: Any, user_prompt: str, prefill_text: str, max_new_tokens: int = 50
) -> PrefillAttack:
    """How the model goes on when the beginning of its answer is given, beside its own answer.

    Args:
        user_prompt: The user's message; the raw text where there is no chat template.
        prefill_text: Beginning of the answer, with its space where one stands before it.
        max_new_tokens: Most tokens written, greedily.
    """
    from glassbox.techniques.measures.encoding import encode
    from glassbox.techniques.measures.generation import continuation, write_on

    is_chat, start = bool(getattr(tokenizer, "chat_template", None)), user_prompt
    if is_chat:
        talk = [{"role": "user", "content": user_prompt}]
        start = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    written = []
    for text in (start + prefill_text, start):
        # A template writes the special tokens itself.
        batch = encode(model, tokenizer, [text], special=not is_chat)
        (ids,) = write_on(model, tokenizer, batch, max_new_tokens=max_new_tokens)
        written.append(continuation(tokenizer, batch.ids[0].tolist(), ids))
    return PrefillAttack(user_prompt, prefill_text, written[0], written[1], is_chat)
