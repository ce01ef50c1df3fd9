"""How a server's answers are read: pure functions, and the reader of a stream.

An answer that a Glassbox server would not give is an error of ours, whatever is wrong with it.
Knows the wire; sends nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import httpx
import numpy as np
import orjson

from glassbox.client.problems import broken_off, foreign, stream_error
from glassbox.client.results import Change, Generated, StreamedPiece, generated
from glassbox.wire.classify import ClassifyAnswered
from glassbox.wire.extension import GlassboxAnswered, GlassboxChunk
from glassbox.wire.headers import ID_HEADER
from glassbox.wire.openai_chat import ChatChunk, ChatCompletion
from glassbox.wire.openai_completions import Completion
from glassbox.wire.shapes import Answered
from glassbox.wire.states import DETAILS_KEY, StatesListAnswered, TextStates, tensor_name
from glassbox.wire.tensors import from_safetensors

T = TypeVar("T")
M = TypeVar("M", bound=Answered)


def reader(model: type[M]) -> Callable[[httpx.Response], M]:
    """Return what reads an answer of one shape."""
    return lambda response: model.from_json(response.content)


def request_id_of(response: httpx.Response) -> str | None:
    """Return the name of a request in the server's log."""
    named: str | None = response.headers.get(ID_HEADER)
    return named


def read_any(response: httpx.Response) -> Any:
    """Return an answer of any route: JSON as Python's values, text as text, anything else as bytes.

    None where it says nothing.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not response.content:
        return None
    if kind.endswith("json"):
        return orjson.loads(response.content)
    return response.text if kind.startswith("text/") else response.content


def read_nothing(_response: httpx.Response) -> None:
    """Take an answer that says nothing."""


def read_completion(n_prompts: int) -> Callable[[httpx.Response], list[Generated]]:
    """Return what reads the texts of a completion, one to each prompt.

    Args:
        n_prompts: Prompts that were sent.
    """
    return partial(_read_completion, n_prompts)


def _read_completion(n_prompts: int, response: httpx.Response) -> list[Generated]:
    answer = Completion.from_json(response.content)
    found = []
    for choice in _as_many("texts", answer.choices, n_prompts):
        logprobs = choice.logprobs
        found.append(
            generated(
                choice.text,
                answer.model,
                _whole(choice.glassbox),
                answer.usage,
                tokens=() if logprobs is None else tuple(logprobs.tokens),
                tops=()
                if logprobs is None
                else tuple(each or {} for each in logprobs.top_logprobs or ()),
                request_id=request_id_of(response),
            )
        )
    return found


def read_chat(response: httpx.Response) -> Generated:
    """Return the answer to a conversation."""
    answer = ChatCompletion.from_json(response.content)
    (choice,) = _as_many("answers", answer.choices, 1)
    content = [] if choice.logprobs is None else choice.logprobs.content
    return generated(
        choice.message.content,
        answer.model,
        _whole(choice.glassbox),
        answer.usage,
        tokens=tuple(each.token for each in content),
        tops=tuple({top.token: top.logprob for top in each.top_logprobs} for each in content),
        request_id=request_id_of(response),
    )


def read_states(n_texts: int) -> Callable[[httpx.Response], list[TextStates]]:
    """Return what reads the hidden states of some texts, sent as safetensors.

    Args:
        n_texts: Texts that were sent.
    """
    return partial(_read_states, n_texts)


def _read_states(n_texts: int, response: httpx.Response) -> list[TextStates]:
    arrays, metadata = from_safetensors(response.content)
    if DETAILS_KEY not in metadata:
        raise foreign(f"its metadata has no {DETAILS_KEY!r}")
    details = StatesListAnswered.from_json(metadata[DETAILS_KEY].encode())
    return [_with_arrays(text, arrays) for text in _as_many("texts", details.data, n_texts)]


def _with_arrays(text: TextStates, arrays: Mapping[str, np.ndarray]) -> TextStates:
    whole = []
    for each in text.states:
        forms = {
            form: arrays[name]
            for form in ("mean", "last", "none")
            if (name := tensor_name(text.index, each, form)) in arrays
        }
        whole.append(each.model_copy(update=forms))
    return text.model_copy(update={"states": whole})


def read_labels(n_texts: int) -> Callable[[httpx.Response], ClassifyAnswered]:
    """Return what reads the labels of some texts.

    Args:
        n_texts: Texts that were sent.
    """

    def read(response: httpx.Response) -> ClassifyAnswered:
        answer = ClassifyAnswered.from_json(response.content)
        _as_many("labels", answer.data, n_texts)
        return answer

    return read


class Lines:
    """Cuts a stream's bytes into lines, at line feeds alone.

    httpx cuts at whatever Unicode calls the end of a line, and JSON holds some of that as it is: a
    text with U+2028 in it would come apart in the middle of an event.
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []

    def cut(self, part: bytes) -> list[str]:
        """Return the lines that came to their end with a part."""
        first, *others = part.split(b"\n")
        self._begun.append(first)
        if not others:
            return []
        whole = [b"".join(self._begun), *others[:-1]]
        self._begun = others[-1:]
        return [line.removesuffix(b"\r").decode() for line in whole]


class ChangeReader:
    """Puts the events of the service together again, line by line.

    Source: WHATWG HTML, section 9.2.6.
    """

    def __init__(self) -> None:
        self._topic = ""
        self._data: list[str] = []

    def read(self, line: str) -> Change | None:
        """Return the change that a line ends, or None.

        Raises:
            ValueError: What it says is no JSON.
        """
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._topic = value
        elif name == "data":
            self._data.append(value)
        elif not line and self._data:
            change = Change(self._topic or "message", orjson.loads("\n".join(self._data)))
            self._topic, self._data = "", []
            return change
        return None


class StreamReader:
    """Puts the events of a stream together again, line by line.

    Args:
        request_id: Name of the request in the server's log.
    """

    def __init__(self, request_id: str | None = None) -> None:
        self._request_id = request_id
        self._text = ""
        self._waiting: tuple[str, str, GlassboxChunk] | None = None
        self._is_whole = False

    def read(self, line: str) -> StreamedPiece | None:
        """Return what a line brought: a piece, or None.

        Raises:
            GlassboxError: The server ended the stream with an error.
            IntegrityError: The line is none of a Glassbox server.
        """
        if not line.startswith("data: ") or line == "data: [DONE]":
            return None
        content = orjson.loads(line.removeprefix("data: "))
        if not isinstance(content, dict):
            raise foreign("an event of the stream is no object")
        if "error" in content:
            raise stream_error(content["error"])
        if content.get("object") == "chat.completion.chunk":
            return self._chat(ChatChunk.model_validate(content))
        return self._completion(Completion.model_validate(content))

    def check_whole(self) -> None:
        """Do nothing if the stream came to its end.

        Raises:
            Unreachable: It stopped before.
        """
        if not self._is_whole:
            raise broken_off("it ended before the text did")

    def _completion(self, chunk: Completion) -> StreamedPiece | None:
        if not chunk.choices:
            return self._finish(chunk)
        (choice,) = _as_many("texts", chunk.choices, 1)
        if not isinstance(choice.glassbox, GlassboxChunk):
            raise foreign("it has no 'glassbox' object")
        return self._piece(choice.text, chunk.model, choice.glassbox)

    def _chat(self, chunk: ChatChunk) -> StreamedPiece | None:
        if not chunk.choices:
            return self._finish(chunk)
        (choice,) = _as_many("answers", chunk.choices, 1)
        if choice.glassbox is None:
            if choice.delta.content or choice.finish_reason:
                raise foreign("it has no 'glassbox' object")
            return None
        return self._piece(choice.delta.content or "", chunk.model, choice.glassbox)

    def _piece(self, text: str, model: str, shown: GlassboxChunk) -> StreamedPiece | None:
        self._text += text
        if shown.final is not None:
            # The last piece waits for the tokens' count, which comes after it.
            self._waiting = text, model, shown
            return None
        return _streamed(text, shown, None)

    def _finish(self, chunk: Completion | ChatChunk) -> StreamedPiece | None:
        if self._waiting is None:
            return None
        text, model, shown = self._waiting
        self._is_whole = True
        whole = generated(
            self._text,
            model,
            _whole(shown.final),
            chunk.usage,
            request_id=self._request_id,
        )
        return _streamed(text, shown, whole)


def _streamed(text: str, shown: GlassboxChunk, whole: Generated | None) -> StreamedPiece:
    empty = np.zeros(0, dtype=np.float32)
    return StreamedPiece(
        text=text,
        token_ids=tuple(shown.token_ids),
        logprobs=empty if shown.logprobs is None else shown.logprobs,
        entropies=empty if shown.entropies is None else shown.entropies,
        probe_logits=shown.probe_logits or {},
        whole=whole,
    )


def _whole(shown: GlassboxAnswered | GlassboxChunk | None) -> GlassboxAnswered:
    """Return what the model showed of itself; a server of another kind shows nothing."""
    if not isinstance(shown, GlassboxAnswered):
        raise foreign("it has no 'glassbox' object")
    return shown


def _as_many(what: str, found: Sequence[T], n: int) -> Sequence[T]:
    if len(found) != n:
        raise foreign(f"it has {len(found)} {what}; {n} were asked for")
    return found
