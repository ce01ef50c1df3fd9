import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from glassbox.engine.model.codec import TokenizerCodec
from glassbox.errors import InvalidValue, UnsupportedModel
from glassbox.testing import tiny_tokenizer
from tests.engine.model.piece_tokenizers import STYLES, piece_tokenizer

TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)
CODEC = TokenizerCodec(tiny_tokenizer())
PIECES = {style: TokenizerCodec(piece_tokenizer(style)) for style in STYLES}
CHAT = TokenizerCodec(tiny_tokenizer(chat_template=TEMPLATE))


@given(st.text(max_size=40))
def test_a_text_comes_back_from_its_tokens(text):
    (ids,) = CODEC.encode([text], special=False, literal=True)
    assert CODEC.decode(ids) == text


@pytest.mark.parametrize("codec", [CODEC, *PIECES.values()], ids=["bytes", *PIECES])
@given(text=st.text("ab, .\ncé\u2026", max_size=12), before=st.sampled_from(["a", "b,", "a\n"]))
def test_a_continuation_adds_its_own_characters_and_no_others(codec, text, before):
    (ids,) = codec.encode_continuations([text], literal=True)
    assert codec.continuation(codec.encode([before])[0], ids) == text


@pytest.mark.parametrize("codec", [CODEC, *PIECES.values()], ids=["bytes", *PIECES])
def test_continuations_are_the_tokens_of_the_whole_text(codec):
    texts = ["", " ab", ", b", "b ab", "\n\na"]
    (start,) = codec.encode(["b\n."])
    whole = codec.encode(["b\n." + text for text in texts])
    assert codec.encode_continuations(texts) == [ids[len(start) :] for ids in whole]


@pytest.mark.parametrize("codec", [CODEC, *PIECES.values()], ids=["bytes", *PIECES])
@given(st.text("ab, .\ncé\u2026", max_size=12))
def test_tokens_one_by_one_make_the_text(codec, text):
    (ids,) = codec.encode_continuations([text], literal=True)
    shown = [codec.token(each) for each in ids]
    if "\ufffd" not in "".join(shown):
        assert "".join(shown) == text
    assert codec.token(1) == ("</s>" if codec is CODEC else "<s>")


def test_texts_that_begin_anew_get_the_tokenizers_space_and_continuations_do_not():
    for codec in PIECES.values():
        assert codec.encode(["a"], special=False) == codec.encode_continuations([" a"])
        assert codec.encode(["a"], special=False) != codec.encode_continuations(["a"])
    assert CODEC.encode(["a", " a"], special=False) == CODEC.encode_continuations(["a", " a"])


def test_special_adds_what_the_tokenizer_adds():
    assert CODEC.encode(["a b", " positive"]) == [
        (0, *ids) for ids in CODEC.encode(["a b", " positive"], special=False)
    ]
    assert len(CODEC.encode([" positive"], special=False)[0]) == 1


@pytest.mark.parametrize("form", ["$A </s>", "<s> $A </s> </s>"])
def test_what_a_tokenizer_adds_behind_a_text_is_left_out_of_prompts(form):
    tokenizer = tiny_tokenizer()
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    assert tokenizer("a b")["input_ids"][-1] == 1
    codec = TokenizerCodec(tokenizer)
    begins = (0,) * form.startswith("<s>")
    for literal in (False, True):
        assert codec.encode(["a b", ""], literal=literal) == [
            (*begins, *codec.encode(["a b"], special=False)[0]),
            begins,
        ]
    # One that is written in the text belongs to it.
    assert codec.encode(["a</s>"])[0][-1] == 1


def test_special_tokens_written_in_a_text_can_be_kept_plain():
    text = "nice</s> try"
    assert 1 in CODEC.encode([text])[0]
    (literal,) = CODEC.encode([text], literal=True)
    assert 1 not in literal
    assert CODEC.decode(literal) == f"<s>{text}"
    assert 1 in CODEC.encode([text])[0]


def test_nothing_gives_nothing():
    assert CODEC.encode([]) == []


def test_a_chat_prompt_ends_where_the_answer_begins():
    assert CHAT.has_chat_template
    assert CHAT.chat("hi") == "<s>user: hi</s><s>assistant:"
    assert CHAT.chat("hi", system="be brief").startswith("<s>system: be brief</s><s>user: hi")


@pytest.mark.parametrize(
    ("template", "gap"),
    [
        (TEMPLATE, " "),
        (TEMPLATE.replace("role }}: {{", "role }}:{{"), ""),
        (TEMPLATE.replace("role }}: {{", "role }}:\n\n{{"), "\n\n"),
        # It shows an answer in another way than it asks for one.
        (TEMPLATE.replace("<s>assistant:", "<think>"), ""),
        ("{% if messages[-1].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}", ""),
    ],
)
def test_white_space_before_an_answer_is_the_templates(template, gap):
    assert TokenizerCodec(tiny_tokenizer(chat_template=template)).before_answer == gap
    assert CODEC.before_answer == ""


THINKING = TEMPLATE.replace(
    "<s>assistant:{% endif %}",
    "<s>assistant:{% if enable_thinking is defined and not enable_thinking %}<think></think>"
    "{% endif %}{{ effort | default('') }}{% endif %}",
)
"""Like Qwen 3's: thoughts come first unless they are asked not to."""


def test_the_answer_itself_is_asked_for_and_a_conversation_says_for_itself():
    codec = TokenizerCodec(tiny_tokenizer(chat_template=THINKING))
    assert codec.chat("hi") == "<s>user: hi</s><s>assistant:<think></think>"
    assert codec.dialogue([("user", "hi")]) == "<s>user: hi</s><s>assistant:"
    told = codec.dialogue([("user", "hi")], variables={"enable_thinking": True, "effort": "low"})
    assert told == "<s>user: hi</s><s>assistant:low"
    assert CHAT.dialogue([("user", "hi")], variables={"effort": "low"}) == CHAT.chat("hi")


@pytest.mark.parametrize("name", ["messages", "tokenize", "chat_template", "bos_token", "tools"])
def test_a_variable_does_not_take_the_name_of_the_librarys(name):
    with pytest.raises(InvalidValue, match=f"chat_template_kwargs is '{name}'"):
        CHAT.dialogue([("user", "hi")], variables={name: True})


def test_a_base_model_has_no_chat():
    assert not CODEC.has_chat_template
    with pytest.raises(UnsupportedModel, match="no chat template"):
        CODEC.chat("hi")
