"""What a tokenizer was like before it was lent: its attributes, padding, truncation, added tokens.

Knows the library's tokenizers, fast and slow; knows nothing of models.
"""

import copy
import json
from typing import Any

from transformers import PreTrainedTokenizerBase

from glassbox.wording import counted


class TokenizerRecord:
    """What a tokenizer was like.

    Args:
        tokenizer: In the state that is to be kept.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._own = vars(tokenizer)
        self._saved = {
            name: copy.copy(value) if isinstance(value, dict | list | set) else value
            for name, value in self._own.items()
        }
        self._kind = type(tokenizer)
        self._backend: Any = getattr(tokenizer, "_tokenizer", None)
        self._padding: Any = getattr(self._backend, "padding", None)
        self._truncation: Any = getattr(self._backend, "truncation", None)
        self._n_tokens = self._size()
        self._added = set(tokenizer.added_tokens_decoder)

    def restore(self) -> tuple[str, ...]:
        """Put everything back and return what was, in words."""
        notes = []
        if type(self._tokenizer) is not self._kind:
            self._tokenizer.__class__ = self._kind
            notes.append("class of the tokenizer put back")
        names = [
            name
            for name in {**self._saved, **self._own}
            if name not in self._saved
            or name not in self._own
            or not _equal(self._own[name], self._saved[name])
        ]
        if names:
            for name in names:
                self._put_back(name)
            words = ", ".join(sorted(name.lstrip("_") for name in names))
            notes.append(f"tokenizer put back ({words})")
        if self._backend is not None:
            # The library sets these on every call and nobody wonders at what was left.
            if self._backend.padding != self._padding:
                _set_padding(self._backend, self._padding)
            if self._backend.truncation != self._truncation:
                _set_truncation(self._backend, self._truncation)
        n_more = self._size() - self._n_tokens
        if n_more:
            self._forget_tokens()
            notes.append(f"{counted(n_more, 'added token')} forgotten")
        return tuple(notes)

    def _put_back(self, name: str) -> None:
        if name not in self._saved:
            del self._own[name]
            return
        before, now = self._saved[name], self._own.get(name)
        if isinstance(before, list | dict | set):
            before = copy.copy(before)
            if type(now) is type(before):
                # Others may hold the container itself.
                held: Any = now
                held.clear()
                put: Any = held.extend if isinstance(held, list) else held.update
                put(before)
                return
        self._own[name] = before

    def _size(self) -> int:
        if self._backend is None:
            return len(self._tokenizer)
        return int(self._backend.get_vocab_size(with_added_tokens=True))

    def _forget_tokens(self) -> None:
        if self._backend is None:
            # Slow tokenizers hold added tokens in their own attributes, which are back already.
            return
        described = json.loads(self._backend.to_str())
        described["added_tokens"] = [
            token for token in described["added_tokens"] if token["id"] in self._added
        ]
        self._backend = type(self._backend).from_str(json.dumps(described))
        self._saved["_tokenizer"] = self._own["_tokenizer"] = self._backend


def _equal(now: Any, before: Any) -> bool:
    if now is before:
        return True
    try:
        return type(now) is type(before) and bool(now == before)
    except (RuntimeError, ValueError, TypeError):
        return False


def _set_padding(backend: Any, padding: Any) -> None:
    if padding is None:
        backend.no_padding()
    else:
        backend.enable_padding(**padding)


def _set_truncation(backend: Any, truncation: Any) -> None:
    if truncation is None:
        backend.no_truncation()
    else:
        backend.enable_truncation(**truncation)
