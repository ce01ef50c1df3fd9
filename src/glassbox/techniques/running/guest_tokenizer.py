"""A tokenizer that puts a hidden system prompt before every text, and reads it back from none.

It is a copy of the model's tokenizer, of a class derived from its own, so that whoever asks what it
is gets the same answer. The prompt's ids go behind a begin-of-text token, or where the chat
template puts the system prompt; there a mark stands for them in rendered text. What follows them
is encoded as it stands there, without the space that some tokenizers put before every text, as the
server does it; pairs, words and overflowing texts alone keep that space. Truncation leaves the
prompt whole. Offsets and masks have entries for them; what maps characters to tokens
(``char_to_token`` and its kin) is not there. Its backend, ``tokenizer.backend_tokenizer``, knows
nothing of the prompt.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glassbox.engine.model.codec import ANCHORS, TokenizerCodec

BETWEEN = "\n\n"
"""Between the hidden prompt and what follows, as where the server puts one before requests."""

MARK = "\ue000[hidden]\ue001"
"""Stands for the prompt in text that a chat template rendered."""

_FILLINGS: dict[str, Any] = {
    "attention_mask": 1,
    "special_tokens_mask": 1,
    "token_type_ids": 0,
    "offset_mapping": (0, 0),
}
"""What each list of a text has for a token of the hidden prompt."""

_PADDINGS: dict[str, Any] = {"offset_mapping": (0, 0)}
"""What each list has for padding where the library's own padding leaves it out."""


@dataclass(frozen=True, eq=False)
class HiddenTokens:
    """A hidden prompt as one tokenizer reads it."""

    text: str
    """The prompt."""
    front: tuple[int, ...]
    """Before a text that it does not stand in, with what is between them."""
    inner: tuple[int, ...]
    """In the place of a mark with text before it."""
    alone: tuple[int, ...]
    """In the place of a mark that a text begins with."""
    anchors: Mapping[str, tuple[int, ...]]
    """Texts behind which others are encoded to read as they do behind the prompt, with their ids;
    none where the tokenizer reads a text alike wherever it stands."""
    edit: Callable[[str], str]
    """Makes of a text one without the prompt."""

    @classmethod
    def of(cls, tokenizer: Any, text: str, edit: Callable[[str], str]) -> "HiddenTokens":
        """Return a hidden prompt as a tokenizer reads it."""
        codec = TokenizerCodec(tokenizer)
        front, alone, sample, *starts = codec.encode(
            [text + BETWEEN, text, "b", *ANCHORS], special=False
        )
        inner, sample_behind = codec.encode_continuations([text, "b"])
        anchors = dict(zip(ANCHORS, starts, strict=True)) if sample_behind != sample else {}
        return cls(text, front, inner, alone, anchors, edit)

    @property
    def runs(self) -> tuple[tuple[int, ...], ...]:
        """All that the prompt is read as."""
        return tuple(dict.fromkeys((self.front, self.inner, self.alone)))


def guest_of(tokenizer: Any, hidden: HiddenTokens) -> Any:
    """Return a copy of a tokenizer that puts a hidden prompt before every text.

    Args:
        tokenizer: Any tokenizer of the library; stays as it is, and shares its vocabulary.
        hidden: The prompt.
    """
    guest = copy.copy(tokenizer)
    for name, value in vars(guest).items():
        if isinstance(value, dict | list | set):
            vars(guest)[name] = copy.copy(value)
    kind = type(tokenizer)
    made = type(kind.__name__, (_Guest, kind), {"_hidden_tokens": lambda _: hidden})
    made.__module__, made.__qualname__ = kind.__module__, kind.__qualname__
    guest.__class__ = made
    return guest


class _Guest:
    """What differs from the library's tokenizer; comes before it among the bases."""

    _hidden_tokens: Callable[[], HiddenTokens]

    def _encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        hidden = self._hidden_tokens()
        return_tensors = options.pop("return_tensors", None)
        strategy = options.pop("padding_strategy", None)
        padding = {name: options.pop(name, None) for name in ("pad_to_multiple_of", "padding_side")}
        max_length = options.get("max_length")
        if max_length is not None:
            room = max_length - len(hidden.front)
            options["max_length"] = max(1, room)
        is_many = _is_many(text, is_split=bool(options.get("is_split_into_words")))
        texts = list(text) if is_many else [text]
        pairs = list(text_pair) if is_many and text_pair is not None else [text_pair] * len(texts)
        encode = super()._encode_plus  # type: ignore[misc]
        rows: dict[str, list[Any]] = {}
        for at, (each, pair) in enumerate(zip(texts, pairs, strict=True)):
            found = _rows_of(self, encode, each, pair, options, hidden)
            for name, values in found.items():
                rows.setdefault(name, []).extend(values)
            if options.get("return_overflowing_tokens"):
                n = len(found["input_ids"])
                rows.setdefault("overflow_to_sample_mapping", []).extend([at] * n)
        return self._finished(
            rows,
            strategy=strategy,
            max_length=max_length,
            return_tensors=return_tensors,
            is_one=not is_many and not options.get("return_overflowing_tokens"),
            **padding,
        )

    def _finished(
        self,
        rows: dict[str, list[Any]],
        *,
        strategy: Any,
        max_length: int | None,
        return_tensors: Any,
        is_one: bool,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
    ) -> Any:
        kept = {name: rows.pop(name) for name in list(rows) if name in _PADDINGS}
        pads = strategy is not None and strategy.value != "do_not_pad"
        has_mask = "attention_mask" in rows
        padded = self.pad(  # type: ignore[attr-defined]
            rows,
            padding=strategy if pads else False,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of if pads else None,
            padding_side=padding_side,
            return_attention_mask=has_mask,
        )
        side = padding_side or self.padding_side  # type: ignore[attr-defined]
        for name, values in kept.items():
            widths = [len(ids) for ids in padded["input_ids"]]
            padded[name] = [
                _padded(value, width, _PADDINGS[name], side)
                for value, width in zip(values, widths, strict=True)
            ]
        if return_tensors is not None:
            return type(padded)(dict(padded), tensor_type=return_tensors)
        if is_one:
            return type(padded)({name: value[0] for name, value in padded.items()})
        return padded

    def tokenize(self, text: str, pair: str | None = None, **options: Any) -> list[str]:
        """Return the tokens of a text, a mark for each of the hidden prompt's."""
        add = bool(options.pop("add_special_tokens", False))
        ids = self.encode(text, pair, add_special_tokens=add, **options)  # type: ignore[attr-defined]
        return list(self.convert_ids_to_tokens(ids))

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Return the tokens of some ids, a mark for each of the hidden prompt's."""
        convert = super().convert_ids_to_tokens  # type: ignore[misc]
        if isinstance(ids, int):
            return convert(ids, skip_special_tokens=skip_special_tokens)
        listed = [int(each) for each in ids]
        tokens: list[str] = []
        for part, is_hidden in _parts(listed, self._hidden_tokens()):
            tokens += (
                [MARK] * len(part)
                if is_hidden
                else convert(part, skip_special_tokens=skip_special_tokens)
            )
        return tokens

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Return the ids of some tokens; marks are those of the hidden prompt."""
        convert = super().convert_tokens_to_ids  # type: ignore[misc]
        if isinstance(tokens, str) or MARK not in tokens:
            return convert(tokens)
        hidden = self._hidden_tokens()
        n_marks = sum(token == MARK for token in tokens)
        ids = iter(next((run for run in hidden.runs[::-1] if len(run) == n_marks), hidden.front))
        unknown = self.unk_token_id  # type: ignore[attr-defined]
        return [next(ids, unknown) if token == MARK else convert(token) for token in tokens]

    def _decode(self, token_ids: Any, *args: Any, **options: Any) -> str:
        decode = super()._decode  # type: ignore[misc]
        hidden = self._hidden_tokens()
        first, *parts = (
            _split(list(token_ids), hidden.front)
            if isinstance(token_ids, Sequence)
            else [token_ids]
        )
        text = str(decode(first, *args, **options))
        if parts:
            # Read where they stand: a decoder may drop the space that a text begins with.
            n_known = len(decode(list(hidden.front), *args, **options))
            for part in parts:
                text += str(decode([*hidden.front, *part], *args, **options))[n_known:]
        # Marks again where they stood, so that what was encoded is what is decoded.
        return MARK.join(hidden.edit(part) for part in text.split(hidden.text))

    def apply_chat_template(self, conversation: Any, *args: Any, **options: Any) -> Any:
        """Return conversations as the template renders them, the hidden prompt their first."""
        render = super().apply_chat_template  # type: ignore[misc]
        plain = {**options, "tokenize": False}
        if hasattr(conversation, "messages"):
            conversation = conversation.messages
        if not isinstance(conversation, list | tuple) or not conversation:
            return render(conversation, *args, **options)
        is_many = isinstance(conversation[0], list | tuple) or hasattr(conversation[0], "messages")
        each: list[Any] = (
            [getattr(one, "messages", one) for one in conversation] if is_many else [conversation]
        )
        marked = [_marked(one, lambda form: render(form, *args, **plain)) for one in each]
        return render(marked if is_many else marked[0], *args, **options)


def _rows_of(
    tokenizer: Any,
    encode: Callable[..., Any],
    text: Any,
    pair: Any,
    options: Mapping[str, Any],
    hidden: HiddenTokens,
) -> dict[str, list[Any]]:
    """Return the lists of one text, the hidden prompt in them; several where it overflows."""
    if isinstance(text, str) and MARK in text and pair is None:
        head, _, tail = text.partition(MARK)
        before = encode([head], **options)
        after, anchor = _encoded_behind(
            encode, tail, {**options, "add_special_tokens": False}, hidden
        )
        inside = hidden.inner if head else hidden.alone
        return {
            name: [[*before[name][0], *_filled(name, inside, after[name][0], hidden, anchor)]]
            for name in before
            if name == "input_ids" or name in _FILLINGS
        }
    anchor = ""
    if isinstance(text, str) and pair is None and not options.get("return_overflowing_tokens"):
        found, anchor = _encoded_behind(encode, text, options, hidden)
    else:
        found = encode([text], [pair] if pair is not None else None, **options)
    first = getattr(tokenizer, "bos_token_id", None)
    n_before = [int(ids[:1] == [first]) for ids in found["input_ids"]]
    n_anchor = len(hidden.anchors.get(anchor, ()))
    rows: dict[str, list[Any]] = {}
    for name, values in found.items():
        if name == "length":
            rows[name] = [value + len(hidden.front) - n_anchor for value in values]
        elif name == "input_ids" or name in _FILLINGS:
            rows[name] = [
                [*value[:n], *_filled(name, hidden.front, value[n:], hidden, anchor)]
                for value, n in zip(values, n_before, strict=True)
            ]
    return rows


def _encoded_behind(
    encode: Callable[..., Any], text: str, options: Mapping[str, Any], hidden: HiddenTokens
) -> tuple[Any, str]:
    """Return a text's lists, and the anchor whose tokens stand before it there; often none.

    Source: ``TokenizerCodec.encode_continuations``, whose ids the text's are.
    """
    literal = options.get("split_special_tokens")
    for anchor, start in hidden.anchors.items():
        bare = encode([anchor + text], add_special_tokens=False, split_special_tokens=literal)
        if tuple(bare["input_ids"][0][: len(start)]) == start:
            room = options.get("max_length")
            longer = {"max_length": room + len(start)} if room is not None else {}
            return encode([anchor + text], **{**options, **longer}), anchor
    return encode([text], **options), ""


def _filled(
    name: str, ids: tuple[int, ...], values: list[Any], hidden: HiddenTokens, anchor: str
) -> list[Any]:
    """Return a list with the entries of the prompt's ids in the place of the anchor's."""
    rest = values[len(hidden.anchors.get(anchor, ())) :]
    if name == "offset_mapping" and anchor:
        rest = [(max(start - len(anchor), 0), max(end - len(anchor), 0)) for start, end in rest]
    return [*(ids if name == "input_ids" else [_FILLINGS[name]] * len(ids)), *rest]


def _padded(values: list[Any], width: int, by: Any, side: str) -> list[Any]:
    more = [by] * (width - len(values))
    return [*more, *values] if side == "left" else [*values, *more]


def _is_many(text: Any, *, is_split: bool) -> bool:
    if not isinstance(text, list | tuple):
        return False
    return not is_split or bool(text and isinstance(text[0], list | tuple))


def _parts(ids: list[int], hidden: HiddenTokens) -> list[tuple[list[int], bool]]:
    """Return the parts of a sequence of ids, and of each whether it is the hidden prompt."""
    for run in hidden.runs:
        at = _find(ids, run)
        if at is not None:
            end = at + len(run)
            return [(ids[:at], False), (ids[at:end], True), *_parts(ids[end:], hidden)]
    return [(ids, False)]


def _split(ids: list[int], run: tuple[int, ...]) -> list[list[int]]:
    """Return what stands before a run of ids and behind each time it is there."""
    at = _find(ids, run)
    return [ids] if at is None else [ids[:at], *_split(ids[at + len(run) :], run)]


def _find(ids: list[int], run: tuple[int, ...]) -> int | None:
    if not run:
        return None
    first, width = run[0], len(run)
    for at in range(len(ids) - width + 1):
        if ids[at] == first and tuple(ids[at : at + width]) == run:
            return at
    return None


def _marked(messages: Sequence[Any], render: Callable[[list[Any]], Any]) -> list[Any]:
    """Return messages with the mark where the hidden prompt goes, as the server puts one."""
    listed = [dict(each) for each in messages]
    first = listed[0]
    if first.get("role") == "system":
        return [{**first, "content": f"{MARK}{BETWEEN}{first.get('content') or ''}"}, *listed[1:]]
    with_system = [{"role": "system", "content": MARK}, *listed]
    if _shows(render, with_system):
        return with_system
    # Some templates know no system role, or drop it: the first message carries the prompt then.
    return [{**first, "content": f"{MARK}{BETWEEN}{first.get('content') or ''}"}, *listed[1:]]


def _shows(render: Callable[[list[Any]], Any], messages: list[Any]) -> bool:
    from jinja2 import TemplateError

    try:
        return MARK in str(render(messages))
    except TemplateError:
        return False
