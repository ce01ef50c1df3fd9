import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.confidence.data.decoding import Encoding, decode, detect_encoding, known_encoding
from glassbox.errors import InvalidData, UnknownName


def detect(content: bytes) -> Encoding:
    return detect_encoding(io.BytesIO(content), source="x.txt")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1))
def test_utf8_is_always_utf8(text):
    content = text.encode()
    assert detect(content).name == "utf-8"
    assert decode(content, detect(content), source="x") == text


@pytest.mark.parametrize("name", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_believed(name):
    content = "Ünï\ncode".encode(name)
    found = detect(content)
    assert str(found) == f"{name} (byte-order mark)"
    assert decode(content, found, source="x") == "Ünï\ncode"


def test_western_text_is_cp1252():
    content = ("plain words\n" * 20 + "déjà vu — “crème brûlée” …\n").encode("cp1252")
    assert str(detect(content)) == "cp1252 (guessed from the bytes)"
    assert "“crème brûlée” …" in decode(content, detect(content), source="x")


def test_other_scripts_are_guessed():
    text = "Это хороший фильм, и мне он очень понравился.\n" * 20
    content = text.encode("cp1251")
    found = detect(content)
    assert found.reason == "guessed from the bytes"
    assert decode(content, found, source="x") == text


@pytest.mark.parametrize("bad", [b"\xff", b"\xfe\xff", b"\xc3(", b"\xe2\x28\xa1 \xff", b"\x81"])
def test_a_bad_byte_is_reported_by_line(bad):
    content = "première\nligne\n".encode() + b"third " + bad + b" here\nfourth\n"
    with pytest.raises(InvalidData, match=r"x\.txt, line 3: byte 0x.. is not utf-8.*cp1252"):
        detect(content)


def test_a_bad_byte_in_ascii():
    with pytest.raises(InvalidData, match=r"x\.txt, line 2: byte 0xff is not utf-8"):
        detect(b"one\ntwo \xff\xfe\nthree\n" * 1 + b"more\n" * 50)


@pytest.mark.parametrize("name", ["utf-8", "utf-16-le", "cp1252"])
def test_a_bad_byte_in_a_given_encoding(name):
    content = (
        "one\ntwo\n".encode(name)
        + {"utf-8": b"\xff", "utf-16-le": b"\0\xd8", "cp1252": b"\x81"}[name]
    )
    with pytest.raises(InvalidData, match=f"x, line 3: byte 0x.. is not {name}"):
        decode(content, known_encoding(name), source="x")


def test_unknown_encoding():
    assert str(known_encoding("latin1")) == "iso8859-1 (given)"
    with pytest.raises(UnknownName, match=r"No encoding 'utf-88'.*Did you mean 'utf-8'"):
        known_encoding("utf-88")


@pytest.mark.parametrize("name", ["base64", "rot13", "undefined"])
def test_a_codec_that_is_not_of_text_is_no_encoding(name):
    with pytest.raises(UnknownName, match=f"No encoding '{name}'"):
        known_encoding(name)
