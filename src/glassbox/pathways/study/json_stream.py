"""Records of large JSON files, one at a time, with every fault of the file told instead of raised.

A file is an array of records, or an object with such an array under one key. It is read in pieces,
so memory does not grow with the file. A damaged record is told and passed over: reading goes on at
the next place that looks like the start of a record. Knows nothing of what records mean.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

PIECE_BYTES: Final = 1 << 20
"""Bytes read at a time."""

LARGEST_RECORD: Final = 1 << 26
"""Characters after which an unfinished record is given up: 67 million."""

_SPACE = re.compile(r"[ \t\n\r]*")
_NEXT_RECORD = re.compile(r"\}\s*,\s*(?=\{)")
_ENDS = frozenset(" \t\n\r,:]}")
_CUT_NUMBER = re.compile(r"[eE.][+-]?|-")
_WORDS = ("null", "true", "false", "NaN", "Infinity", "-Infinity")
_RAW_BYTE = re.compile("[\udc80-\udcff]")
_DECODER = json.JSONDecoder()

Tell = Callable[[str, str], None]
"""Takes a fault's code and its words."""


def stream_records(path: Path, tell: Tell, *, key: str | None = None) -> Iterator[tuple[int, Any]]:
    """Yield ``(number, value)`` for each element of the file's array, numbers 0-based.

    NaN and infinities, which JSON does not have but Python writes, come through as floats.

    Args:
        path: The file, UTF-8.
        tell: Called with ``unreadable``, ``not-utf8``, ``truncated``, ``damaged``,
            ``no-records`` or ``trailing`` and a sentence.
        key: The object's key that holds the array; None takes a file that is an array itself.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        tell("unreadable", f"it cannot be opened ({error.strerror})")
        return
    with file:
        window = _Window(file, tell)
        if _enter(window, tell, key):
            yield from _elements(window, tell)
            if window.closed:
                _leave(window, tell, key)


class _Window:
    """A piece of the file that moves forward; ``start`` is where reading stands in it."""

    def __init__(self, file: BinaryIO, tell: Tell) -> None:
        self._file = file
        self._tell = tell
        # Bytes that are no UTF-8 come through as surrogates, so that one does not end the reading.
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._told_encoding = False
        self._passed = 0
        self.text = ""
        self.start = 0
        self.at_end = False
        self.closed = False
        """Whether the array's end was reached."""
        self.more()
        if self.text.startswith("\ufeff"):
            self.start = 1

    def more(self) -> bool:
        """Read on and drop what is passed; False at the end of the file."""
        if self.at_end:
            return False
        # A window that holds one long record doubles, so that it is not parsed too often.
        wanted = max(PIECE_BYTES, len(self.text) - self.start)
        try:
            piece = self._file.read(wanted)
        except OSError as error:
            self._tell("unreadable", f"reading stopped at {self.place()} ({error.strerror})")
            piece = b""
        self.at_end = not piece
        text = self._decode(piece, final=self.at_end)
        if not self._told_encoding and _RAW_BYTE.search(text):
            self._told_encoding = True
            self._tell("not-utf8", "it holds bytes that are not UTF-8; they were kept as marks")
        self._passed += self.start
        self.text, self.start = self.text[self.start :] + text, 0
        # A piece may hold no more than the first bytes of a character.
        return bool(text) or not self.at_end

    def place(self, ahead: int = 0) -> str:
        """Where reading stands, in words."""
        return f"character {self._passed + self.start + ahead:,}"

    def next_character(self) -> str:
        """Skip white space and return what follows, empty at the end."""
        while True:
            match = _SPACE.match(self.text, self.start)
            self.start = match.end() if match else self.start
            if self.start < len(self.text):
                return self.text[self.start]
            if not self.more():
                return ""

    def value(self) -> Any:
        """Parse the value that starts here and pass it.

        Raises:
            json.JSONDecodeError: It is damaged or the file ends within it.
        """
        while True:
            try:
                value, stop = _DECODER.raw_decode(self.text, self.start)
            except json.JSONDecodeError as error:
                if not self._may_go_on(error) or not self.more():
                    raise
            except ValueError as error:
                # A whole number of thousands of digits is refused by Python, not by the parser.
                raise json.JSONDecodeError(str(error), self.text, self.start) from error
            else:
                # A number near the end of the window may go on in the next piece: 1 of 1e+16.
                is_over = self.text[stop : stop + 1] in _ENDS or len(self.text) - stop > 3
                if is_over or not self.more():
                    self.start = stop
                    return value

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether the fault may be no more than the window's end within the value."""
        if len(self.text) - self.start > LARGEST_RECORD:
            return False
        # A string is told by where it starts; all else by where it stopped, give or take a word.
        return error.msg.startswith("Unterminated") or error.pos >= len(self.text) - 16

    def ends_within(self, error: Exception | None) -> bool:
        """Whether the file ends where reading stands, or within the value that failed there."""
        if not self.at_end:
            return False
        if not isinstance(error, json.JSONDecodeError):
            return error is None and self.start >= len(self.text)
        rest = error.doc[error.pos :].rstrip()
        return (
            not rest
            or error.msg.startswith(("Unterminated", "Invalid \\uXXXX"))
            or _CUT_NUMBER.fullmatch(rest) is not None
            or any(word.startswith(rest) for word in _WORDS)
        )

    def skip_damaged(self) -> bool:
        """Go to the next place that looks like the start of a record; False if there is none."""
        while True:
            match = _NEXT_RECORD.search(self.text, self.start)
            if match:
                self.start = match.end()
                return True
            # The pattern may straddle two pieces; white space between records is short.
            self.start = max(self.start, len(self.text) - 4096)
            if not self.more():
                return False


def _enter(window: _Window, tell: Tell, key: str | None) -> bool:
    """Go to the array's first element; False where there is none to be found."""
    first = window.next_character()
    if key is None:
        if first == "[":
            window.start += 1
            return True
        tell(*_no_array(first, "a list of records"))
        return False
    if first != "{":
        tell(*_no_array(first, f"an object with a list {key!r}"))
        return False
    window.start += 1
    error = None
    while window.next_character() == '"':
        try:
            name = window.value()
            if window.next_character() != ":":
                break
            window.start += 1
            if name == key:
                return _open_array(window, tell, key)
            window.next_character()
            window.value()
        except (json.JSONDecodeError, RecursionError) as found:
            error = found
            break
        if window.next_character() != ",":
            break
        window.start += 1
    if window.next_character() == "}":
        tell("no-records", f"it has no {key!r}")
    else:
        tell(*_broken(window, f"before {key!r} was reached", error))
    return False


def _open_array(window: _Window, tell: Tell, key: str) -> bool:
    first = window.next_character()
    if not first:
        tell("truncated", f"it ends before the list of {key!r}")
    elif first != "[":
        tell("no-records", f"its {key!r} is not a list")
    if first != "[":
        return False
    window.start += 1
    return True


def _elements(window: _Window, tell: Tell) -> Iterator[tuple[int, Any]]:
    number = 0
    if window.next_character() == "]":
        window.start, window.closed = window.start + 1, True
        return
    while True:
        window.next_character()
        began = window.place()
        try:
            value = window.value()
        except (json.JSONDecodeError, RecursionError) as error:
            if _gave_up(window, tell, began, error):
                return
            number += 1
            continue
        yield number, value
        number += 1
        following = window.next_character()
        if following == ",":
            window.start += 1
        elif following == "]":
            window.start, window.closed = window.start + 1, True
            return
        else:
            words = f"after record {number - 1} at {window.place()} neither ',' nor ']' follows"
            tell("truncated" if not following else "damaged", words)
            if not following or not window.skip_damaged():
                return
            number += 1


def _gave_up(window: _Window, tell: Tell, began: str, error: Exception) -> bool:
    """Tell of a record that cannot be parsed; True if nothing readable follows it."""
    cut = window.ends_within(error)
    reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
    if window.skip_damaged():
        tell("damaged", f"the record that starts at {began} cannot be read ({reason})")
        return False
    if cut:
        tell("truncated", f"it ends within the record that starts at {began}")
    else:
        words = f"the record that starts at {began} cannot be read, nor what follows ({reason})"
        tell("damaged", words)
    return True


def _leave(window: _Window, tell: Tell, key: str | None) -> None:
    """Check what follows the array."""
    following = window.next_character()
    if key is None:
        if following:
            tell("trailing", f"something follows the list at {window.place()}")
        return
    while following == ",":
        window.start += 1
        window.next_character()
        try:
            name = window.value()
            if window.next_character() == ":":
                window.start += 1
                window.next_character()
                window.value()
        except (json.JSONDecodeError, RecursionError) as error:
            tell(*_broken(window, f"after {key!r}", error))
            return
        if name == key:
            tell("trailing", f"it has {key!r} twice; the second list was not read")
        following = window.next_character()
    if following != "}":
        tell(*_broken(window, f"after {key!r}"))


def _no_array(first: str, wanted: str) -> tuple[str, str]:
    if not first:
        return "no-records", "it is empty"
    return "no-records", f"it starts with {first!r}; {wanted} is expected"


def _broken(window: _Window, where: str, error: Exception | None = None) -> tuple[str, str]:
    if window.ends_within(error):
        return "truncated", f"it ends {where}"
    return "damaged", f"it cannot be read any further at {window.place()}, {where}"
