"""The text of a response as its tokens come, against the decoding of the whole."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.batching.text_out import MOST_TAIL, TextOut
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.testing import tiny_loaded

CODEC = TokenizerCodec(tiny_loaded().tokenizer)
SINGLE = {
    text: at for at in range(300) if len(text := CODEC.tokenizer.convert_ids_to_tokens(at)) == 1
}


def byte_ids(data):
    """Return one id for each byte."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = bytes_to_unicode()
    return [SINGLE[letters[byte]] for byte in data]


class Counting(TokenizerCodec):
    """A codec that counts the ids it decodes."""

    def __init__(self):
        super().__init__(CODEC.tokenizer)
        self.n = 0

    def continuation(self, before, ids):
        self.n += len(ids)
        return super().continuation(before, ids)


def written(ids, stop=(), codec=CODEC):
    out = TextOut(codec, (5, 6), stop)
    text = ""
    for each in ids:
        new, ended = out.add(each)
        text += new
        if ended:
            return text, True
    return text + out.rest(), False


@given(ids=st.lists(st.integers(0, 299), max_size=60))
def test_any_ids_read_as_the_whole_does(ids):
    assert written(ids) == (CODEC.continuation((5, 6), ids), False)


@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=7),
            st.text(max_size=4).map(lambda text: text.encode()),
            st.text(max_size=2).map(lambda text: text.encode()[:-1]),
        ),
        max_size=12,
    )
)
def test_any_bytes_read_as_the_whole_does(parts):
    data = b"".join(parts)
    ids = byte_ids(data)
    assert CODEC.continuation((5, 6), ids) == data.decode("utf-8", "replace")
    assert written(ids) == (data.decode("utf-8", "replace"), False)


@given(
    data=st.lists(st.sampled_from([b"a", b"b", b"\x80", b"\xe2", "€".encode(), b"c"]), max_size=30)
)
def test_a_stop_string_among_broken_bytes_ends_the_text_before_it(data):
    data = b"".join(data)
    whole = data.decode("utf-8", "replace")
    at = min((found for stop in ("abc", "€b") if (found := whole.find(stop)) >= 0), default=None)
    expected = (whole, False) if at is None else (whole[:at], True)
    assert written(byte_ids(data), ("abc", "€b")) == expected


@given(
    text=st.text("ab", max_size=14),
    stop=st.lists(st.text("ab", min_size=1, max_size=5), max_size=3).map(tuple),
)
def test_the_text_ends_before_the_first_stop_string_that_is_whole(text, stop):
    expected = (text, False)
    for n in range(1, len(text) + 1):
        found = [at for each in stop if (at := text[:n].find(each)) >= 0]
        if found:
            expected = (text[: min(found)], True)
            break
    assert written(byte_ids(text.encode()), stop) == expected


@pytest.mark.parametrize("data", [b"\x80", b"\xff", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3\xc3"])
def test_bytes_that_never_become_a_character_cost_no_more_with_each(data):
    codec = Counting()
    ids = byte_ids(data) * 300
    out = TextOut(codec, (5, 6), ())
    early = 0
    for each in ids:
        early += len(out.add(each)[0])
    assert out.sent + out.rest() == (data * 300).decode("utf-8", "replace")
    assert early >= 290, "settled text is sent while others come"
    assert codec.n <= 40 * len(ids)


def test_padding_after_half_a_character_costs_no_more_with_each():
    codec = Counting()
    end = CODEC.tokenizer.convert_tokens_to_ids(CODEC.tokenizer.all_special_tokens[0])
    ids = [*byte_ids(b"a\xe2"), *[end] * 2000]
    assert written(ids, codec=codec) == ("a\ufffd", False)
    assert codec.n <= 8 * MOST_TAIL**2 + 8 * len(ids)


def test_a_character_is_held_back_until_it_is_whole():
    out = TextOut(CODEC, (5, 6), ())
    ids = byte_ids("é😀".encode())
    assert [out.add(each)[0] for each in ids] == ["", "é", "", "", "", "😀"]


def test_many_random_texts_read_as_the_whole_does():
    draw = random.Random(0)
    for _ in range(100):
        ids = [draw.randrange(300) for _ in range(draw.randrange(80))]
        stop = draw.choice([(), ("a",), ("he", " t")])
        text, ended = written(ids, stop)
        whole = CODEC.continuation((5, 6), ids)
        found = [at for at in (whole.find(each) for each in stop) if at >= 0]
        assert text == (whole[: min(found)] if found else whole)
        assert ended == bool(found)
