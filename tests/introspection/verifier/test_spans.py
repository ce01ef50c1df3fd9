"""Tokens and their places in the characters of a response, with one token for each byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.requests import TokenReadings
from glassbox.engine.text_codec import TextCodec
from glassbox.introspection.verifier.spans import read_tokens


class Bytes(TextCodec):
    """A codec whose tokens are bytes; counts how many it turns into text."""

    before_answer = ""

    def __init__(self) -> None:
        self.n_decoded = 0

    @property
    def has_chat_template(self):
        return False

    def continuation(self, before, ids):
        self.n_decoded += len(ids)
        return bytes(ids).decode(errors="replace")


def read(response, codec=None):
    ids = tuple(response.encode())
    zeros = np.zeros(len(ids), dtype=np.float32)
    none = zeros[:, None][:, :0]
    tokens = TokenReadings(ids, zeros, zeros, zeros, zeros, none.astype(np.int64), none)
    return read_tokens(codec or Bytes(), (1,), response, tokens)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=12))
def test_all_tokens_of_a_character_get_that_character(response):
    found = read(response)
    wanted = [(at, at + 1) for at, character in enumerate(response) for _ in character.encode()]
    assert [(each.start, each.end) for each in found] == wanted
    assert "".join(each.text for each in found) == response


@pytest.mark.parametrize("n", [5, 3000])
def test_a_response_full_of_replacement_characters_takes_no_longer_than_another(n):
    codec = Bytes()
    found = read("\ufffd" * n, codec)
    assert "".join(each.text for each in found).count("\ufffd") >= n
    assert codec.n_decoded <= 10 * len(found)
