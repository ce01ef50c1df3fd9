"""Bytes to text: which encoding a file is in, and where it breaks.

UTF-8 is tried first and a byte-order mark believed. Bytes that are not UTF-8 are either damage in a
UTF-8 file, reported by line, or another encoding, chosen by a fixed rule and stated in the result.
Knows nothing of formats or labels.
"""

import codecs
from collections.abc import Iterable
from dataclasses import dataclass

from charset_normalizer import from_bytes

from glassbox.errors import InvalidData, UnknownName

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_SHEET = "save the sheet as CSV (UTF-8)"

_PACKED = (
    (b"\x1f\x8b", "is packed with gzip: unpack it first"),
    (b"BZh91AY&SY", "is packed with bzip2: unpack it first"),
    (b"\xfd7zXZ\0", "is packed with xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd: unpack it first"),
    (b"PK\x03\x04", f"is a zip archive or a workbook (xlsx, ods): unpack it, or {_SHEET}"),
    (b"\xd0\xcf\x11\xe0", f"is a file of an office program (xls, doc): {_SHEET}"),
    (b"%PDF-", "is a PDF: give its text as a table or as lines"),
    (b"SQLite format 3\0", "is a database of SQLite: write the table as CSV"),
    (b"ARROW1", "is an Arrow file: write it as Parquet"),
)
"""What files begin with that hold no text, and what to do about them."""

LATIN_FRACTION = 0.06
"""Up to this share of bytes over 127, text is taken for a Western European language in cp1252.

French has about 4 %; Polish 8 %, Czech 12 %, Russian and Greek most of their bytes.
"""

UNLIKELY = frozenset("ÂÃÐÞðþÿ×÷¤¦¨¬¯¸¹ƒˆ˜†‡‰\xa0\xad")
"""Characters of cp1252 that damaged or other bytes often decode to, and text seldom holds."""

UNLIKELY_FRACTION = 0.25
"""Largest share of them among the characters over 127 for a text to pass as cp1252."""

_SAMPLE_BYTES = 1 << 16

_CONTROL = bytes(i for i in range(32) if i not in b"\t\n\v\f\r\x1b")


GUESSED = "guessed from the bytes"
"""How an encoding is known that is neither given nor marked nor UTF-8."""


@dataclass(frozen=True)
class Encoding:
    """An encoding and how it is known."""

    name: str
    """Python's name of the codec."""
    reason: str
    """``given``, ``byte-order mark``, ``detected`` or ``GUESSED``."""

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


def as_text(value: object) -> object:
    """Return bytes that are UTF-8 as text, and any other value as it is.

    Programs write texts as bare bytes where a format lets them: Parquet's BINARY without its UTF8.
    """
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def detect_encoding(lines: Iterable[bytes], *, source: str) -> Encoding:
    """Return the encoding of a file from all its lines, in constant memory.

    Args:
        lines: The file, split after each line feed.
        source: The file, for messages.

    Raises:
        InvalidData: Binary content, a UTF-8 file with a bad byte, or no encoding fits.
    """
    n_bytes = n_high = n_good = 0
    bad: list[tuple[int, UnicodeDecodeError]] = []
    n_bad = 0
    sample = bytearray()
    for number, line in enumerate(lines, start=1):
        if number == 1:
            refuse_packed(line, source=source)
            if mark := _mark_of(line):
                return mark
        n_bytes += len(line)
        if b"\0" in line:
            raise InvalidData(
                "holds a zero byte, so it is not text (binary, or UTF-16 without a byte-order "
                "mark: then give the encoding)",
                source=source,
                line=number,
            )
        if line.isascii():
            continue
        n_high += len(line) - len(line.decode("ascii", "ignore"))
        try:
            line.decode("utf-8")
            n_good += 1
        except UnicodeDecodeError as error:
            n_bad += 1
            bad = bad or [(number, error)]
            sample += line[: max(0, _SAMPLE_BYTES - len(sample))]
    if not bad:
        return Encoding("utf-8", "detected")
    if n_good >= n_bad:
        raise bad_byte(bad[0][1], source, bad[0][0], "utf-8")
    return _guess(bytes(sample), n_high / n_bytes, source, bad[0])


def refuse_packed(start: bytes, *, source: str) -> None:
    """Refuse a file that begins as archives, workbooks and the like do.

    Raises:
        InvalidData: It does; says what the file is, and what to do.
    """
    for mark, what in _PACKED:
        if start.startswith(mark):
            raise InvalidData(what, source=source)


def _mark_of(line: bytes) -> Encoding | None:
    for mark, name in _MARKS:
        if line.startswith(mark):
            return Encoding(name, "byte-order mark")
    return None


def _guess(
    sample: bytes, high_fraction: float, source: str, first_bad: tuple[int, UnicodeDecodeError]
) -> Encoding:
    n_control = len(sample) - len(sample.translate(None, _CONTROL))
    if n_control > len(sample) // 100:
        raise InvalidData(
            "is not text: it holds control characters", source=source, line=first_bad[0]
        )
    if high_fraction <= LATIN_FRACTION:
        if _reads_as_cp1252(sample):
            return Encoding("cp1252", GUESSED)
        raise bad_byte(first_bad[1], source, first_bad[0], "utf-8")
    best = from_bytes(sample).best()
    if best is None:
        raise bad_byte(first_bad[1], source, first_bad[0], "utf-8")
    return Encoding(best.encoding, GUESSED)


def _reads_as_cp1252(sample: bytes) -> bool:
    try:
        high = [each for each in sample.decode("cp1252") if each > "\x7f"]
    except UnicodeDecodeError:
        return False
    return sum(each in UNLIKELY for each in high) <= UNLIKELY_FRACTION * len(high)


def known_encoding(name: str) -> Encoding:
    """Return an encoding that the caller named.

    Raises:
        UnknownName: Python has no such codec, or it is none of text (as base64 is not).
    """
    try:
        info = codecs.lookup(name)
        b"a".decode(name, "ignore")
    except (LookupError, UnicodeError):
        usual = (
            "utf-8",
            "utf-8-sig",
            "utf-16",
            "cp1252",
            "latin-1",
            "cp1251",
            "shift_jis",
            "gb18030",
        )
        raise UnknownName("encoding", name, usual) from None
    return Encoding(info.name, "given")


def decode(content: bytes, encoding: Encoding, *, source: str) -> str:
    """Return the text of a file's bytes, its byte-order mark taken off.

    Raises:
        InvalidData: A byte that the encoding does not have; says the line.
    """
    try:
        text = content.decode(encoding.name)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding.name, "ignore")
        raise bad_byte(error, source, before.count("\n") + 1, encoding.name) from error
    return text.removeprefix("\ufeff")


def bad_byte(error: UnicodeDecodeError, source: str, line: int, encoding: str) -> InvalidData:
    """Return the error that names a byte, its line and what to do about it."""
    return InvalidData(
        f"byte 0x{error.object[error.start]:02x} is not {encoding}. Mend the line, or name the "
        "encoding of the file (for instance --encoding cp1252)",
        source=source,
        line=line,
    )


def has_half_characters(text: str) -> bool:
    """Whether a text holds lone surrogates: bytes that could not be decoded, or broken escapes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
