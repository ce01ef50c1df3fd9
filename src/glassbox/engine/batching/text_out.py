"""The text of a response as its tokens come, at a cost per token that does not grow with it.

Only a short tail is decoded anew at each token: from the last place where the text was whole, with
a few ids before it as context. Text that may still change, an unfinished character or what may
begin a stop string, is held back; bytes that can no longer become a character are not. Knows the
codec; knows nothing of models.
"""

from collections.abc import Sequence

from glassbox.engine.model.codec import CONTEXT_IDS, TokenizerCodec

CHARACTER_IDS = 4
"""Most ids of one character: each of them gives at least one byte.

Source: RFC 3629, section 3: UTF-8 takes one to four bytes.
"""

MOST_TAIL = 64
"""Ids after which a tail is given up; ids without text, such as padding, may stand in it."""

UNFINISHED = "\ufffd"
"""What stands for bytes that are no whole character (yet)."""


class TextOut:
    """The text of one response.

    Args:
        codec: The model's tokenizer.
        before: Ids before the response.
        stop: Strings that end it.
    """

    def __init__(self, codec: TokenizerCodec, before: Sequence[int], stop: tuple[str, ...]) -> None:
        self._codec = codec
        self._stop = stop
        self._most = max((len(each) for each in stop), default=1) - 1
        self._context = list(before[-CONTEXT_IDS:])
        self._tail: list[int] = []
        self._sent: list[str] = []
        self._unsent = ""
        """Text that stays as it is, but may begin a stop string."""
        self._pending = ""
        """Text of the tail, whose last character is unfinished."""

    @property
    def sent(self) -> str:
        """The text that was certain so far."""
        return "".join(self._sent)

    def add(self, token: int) -> tuple[str, bool]:
        """Take one more token; return the text that is now certain, and whether it has ended.

        It has ended where it holds a stop string, of which nothing is sent.
        """
        self._tail.append(token)
        self._pending = self._codec.continuation(self._context, self._tail)
        text = self._unsent + self._pending
        found = [at for at in (text.find(each) for each in self._stop) if at >= 0]
        if found:
            self._unsent, self._pending = text[: min(found)], ""
            return self.rest(), True
        if not self._pending.endswith(UNFINISHED):
            self._settle(len(self._tail), self._pending)
        elif len(self._tail) > CHARACTER_IDS:
            self._settle(*self._settled())
        # The tail is decoded again next time: only what stands before it can go.
        text = self._unsent + self._pending.rstrip(UNFINISHED)
        ready = text[: len(text) - self._n_held(text)][: len(self._unsent)]
        self._unsent = self._unsent[len(ready) :]
        self._sent.append(ready)
        return ready, False

    def _settled(self) -> tuple[int, str]:
        """Return how many ids of the tail give text that no later id can change, and that text."""
        n = len(self._tail)
        for at in range(n - 1, max(0, n - CHARACTER_IDS), -1):
            head, rest = self._tail[:at], self._tail[at:]
            text = self._codec.continuation(self._context, head)
            after = self._codec.continuation(self._context + head, rest)
            # Bytes of one character read otherwise together than apart; no bytes decide nothing.
            if after and text + after == self._pending:
                return at, text
        return (n, self._pending) if n > MOST_TAIL else (0, "")

    def _settle(self, n: int, text: str) -> None:
        """Move the tail's first ids, and the text they give, out of it."""
        self._unsent += text
        self._pending = self._pending[len(text) :]
        self._context = (self._context + self._tail[:n])[-CONTEXT_IDS:]
        self._tail = self._tail[n:]

    def rest(self) -> str:
        """Return all that has not been sent yet, at the end of the response."""
        text = self._unsent + self._pending
        self._unsent, self._pending, self._tail = "", "", []
        self._sent.append(text)
        return text

    def _n_held(self, text: str) -> int:
        for n in range(min(self._most, len(text)), 0, -1):
            if any(each.startswith(text[-n:]) for each in self._stop):
                return n
        return 0
