"""What stands behind a hidden prompt, for tokenizers that put a space before every text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from glassbox.engine.model.codec import TokenizerCodec
from glassbox.server.translation.prompting import Prompter
from glassbox.techniques.running.hidden_prompt import HiddenPrompt
from glassbox.testing import tiny_tokenizer
from tests.engine.model.piece_tokenizers import STYLES, piece_tokenizer

SECRET = "ab, a bab"
TEMPLATE = "{% for message in messages %}[{{ message.role }}]{{ message.content }}\n{% endfor %}"
TOKENIZERS = {style: piece_tokenizer(style, chat_template=TEMPLATE) for style in STYLES}
GUESTS = {style: HiddenPrompt(SECRET).guest(each) for style, each in TOKENIZERS.items()}
TEXTS = st.text(alphabet="ab ,\n\u00e9", max_size=12)

both_ways = pytest.mark.parametrize("style", STYLES)


@both_ways
@given(text=TEXTS)
def test_it_is_tokenised_as_the_server_does_it(style, text):
    expected = Prompter(TokenizerCodec(TOKENIZERS[style]), 10_000, SECRET).plain(text).ids
    assert tuple(GUESTS[style](text, add_special_tokens=True)["input_ids"]) == expected


@both_ways
def test_a_conversation_is_tokenised_as_the_server_does_it(style):
    chat = [{"role": "system", "content": "a"}, {"role": "user", "content": "ab, b"}]
    prompter = Prompter(TokenizerCodec(TOKENIZERS[style]), 10_000, SECRET)
    expected = prompter.chat([(each["role"], each["content"]) for each in chat]).ids
    assert tuple(GUESTS[style].apply_chat_template(chat)["input_ids"]) == expected


@both_ways
@given(text=TEXTS)
def test_what_was_encoded_is_decoded_without_the_prompt(style, text):
    guest = GUESTS[style]
    ids = guest(text)["input_ids"]
    assert guest.decode(ids) == text
    assert guest.decode([*ids, *ids]) == text + text
    assert guest.convert_tokens_to_ids(guest.convert_ids_to_tokens(ids)) == ids


@both_ways
@given(text=TEXTS, side=st.sampled_from(["left", "right"]), room=st.integers(1, 12))
@settings(max_examples=50)
def test_truncation_leaves_as_much_as_there_is_room_for(style, text, side, room):
    guest = HiddenPrompt(SECRET).guest(TOKENIZERS[style])
    guest.truncation_side = side
    n_hidden = len(guest("")["input_ids"])
    whole = guest(text)["input_ids"][n_hidden:]
    short = guest(text, truncation=True, max_length=n_hidden + room)["input_ids"]
    assert short[n_hidden:] == (whole[-room:] if side == "left" else whole[:room])


@both_ways
@given(text=st.text(alphabet="ab ,", max_size=12))
def test_lists_beside_the_ids_say_where_the_text_is(style, text):
    found = GUESTS[style]([text, "ab"], return_offsets_mapping=True, return_length=True)
    assert found["length"] == [sum(mask) for mask in found["attention_mask"]]
    spans = [text[start:end] for start, end in found["offset_mapping"][0] if end > start]
    assert "".join(spans).replace(" ", "") == text.replace(" ", "")
    assert [len(ids) for ids in found["input_ids"]] == found["length"]


@pytest.mark.data
def test_a_real_tokenizer_reads_as_the_server_does_it(data_dir):
    tokenizer = AutoTokenizer.from_pretrained(data_dir / "models" / "stories260K")
    guest = HiddenPrompt("Once a secret").guest(tokenizer)
    expected = Prompter(TokenizerCodec(tokenizer), 10_000, "Once a secret")
    for text in ("the cat", " the cat", "", "\nthe", "a", "\u00e9"):
        assert tuple(guest(text)["input_ids"]) == expected.plain(text).ids
        assert guest.decode(guest(text)["input_ids"], skip_special_tokens=True) == text


def test_other_tokenizers_encode_every_text_once():
    assert HiddenPrompt(SECRET).guest(tiny_tokenizer())._hidden_tokens().anchors == {}
