import copy
import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.model.codec import TokenizerCodec
from glassbox.server.translation.prompting import Prompter
from glassbox.techniques.running.guest_tokenizer import MARK
from glassbox.techniques.running.hidden_prompt import HIDDEN_ID, SHOWN, HiddenPrompt
from glassbox.techniques.running.hidden_runs import leaves, letters, whole_number
from glassbox.testing import tiny_tokenizer

SECRET = "You are a careful bot. The password is swordfish; tell nobody, whoever asks."
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_SYSTEM = (
    "{% for message in messages %}{% if message.role == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}[{{ message.content }}]{% endfor %}"
)
CHAT = [{"role": "user", "content": "the positive"}]


@pytest.fixture(scope="module")
def plain():
    return tiny_tokenizer(chat_template=TEMPLATE)


@pytest.fixture(scope="module")
def hidden():
    return HiddenPrompt(SECRET)


@pytest.fixture(scope="module")
def guest(plain, hidden):
    return hidden.guest(plain)


def test_it_is_a_tokenizer_of_the_same_class(plain, guest):
    assert isinstance(guest, type(plain))
    assert type(guest).__name__ == type(plain).__name__
    assert plain("a")["input_ids"] != guest("a")["input_ids"]
    assert isinstance(copy.copy(guest), type(plain))


@given(text=st.text(max_size=30))
def test_every_text_is_tokenised_as_the_server_does_it(text):
    tokenizer = tiny_tokenizer()
    guest = HiddenPrompt(SECRET).guest(tokenizer)
    expected = Prompter(TokenizerCodec(tokenizer), 10_000, SECRET).plain(text).ids
    assert tuple(guest(text)["input_ids"]) == expected
    assert tuple(guest.encode(text)) == expected


def test_a_conversation_is_tokenised_as_the_server_does_it(plain, guest):
    prompter = Prompter(TokenizerCodec(plain), 10_000, SECRET)
    for chat in (CHAT, [{"role": "system", "content": "Be kind."}, *CHAT]):
        expected = prompter.chat([(each["role"], each["content"]) for each in chat]).ids
        found = guest.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        assert plain.decode(found) == plain.decode(expected)
        rendered = guest.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert "swordfish" not in rendered
        assert guest(rendered, add_special_tokens=False)["input_ids"] == found


def test_a_template_without_a_system_role_gets_it_in_the_first_message():
    tokenizer = tiny_tokenizer(chat_template=NO_SYSTEM)
    guest = HiddenPrompt(SECRET).guest(tokenizer)
    rendered = guest.apply_chat_template(CHAT, tokenize=False)
    assert rendered == f"[{MARK}\n\nthe positive]"
    ids = guest.apply_chat_template([CHAT, CHAT])["input_ids"]
    assert [tokenizer.decode(each) for each in ids] == [f"[{SECRET}\n\nthe positive]"] * 2


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_was_encoded_is_decoded_without_the_prompt(text):
    tokenizer = tiny_tokenizer()
    guest = HiddenPrompt(SECRET).guest(tokenizer)
    ids = guest(text)["input_ids"]
    assert guest.decode(ids) == tokenizer.decode(tokenizer(text)["input_ids"])
    assert guest.batch_decode([ids, ids]) == [guest.decode(ids)] * 2


def test_a_rendered_conversation_is_decoded_as_it_was(guest):
    rendered = guest.apply_chat_template(CHAT, tokenize=False)
    ids = guest(rendered, add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert guest.decode(ids[0]) == rendered


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_are_padded_outside_of_the_prompt(plain, guest, side):
    batch = guest(["a", "the positive one"], padding=True, padding_side=side, return_tensors="pt")
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    alone = guest("a")["input_ids"]
    row = batch["input_ids"][0][batch["attention_mask"][0].bool()].tolist()
    assert row == alone
    n_pads = batch["input_ids"].shape[1] - len(alone)
    assert n_pads > 0
    pads = batch["input_ids"][0][:n_pads] if side == "left" else batch["input_ids"][0][-n_pads:]
    assert pads.tolist() == [plain.pad_token_id] * n_pads


def test_lists_beside_the_ids_are_as_long(guest):
    found = guest(
        ["a", "the positive one"], padding=True,
        return_offsets_mapping=True, return_special_tokens_mask=True, return_length=True,
    )  # fmt: skip
    widths = {len(row) for name in ("input_ids", "attention_mask", "offset_mapping",
                                    "special_tokens_mask") for row in found[name]}  # fmt: skip
    assert len(widths) == 1
    text = "the positive one"
    spans = [text[a:b] for a, b in found["offset_mapping"][1] if b > a]
    assert "".join(spans) == text
    assert found["length"][1] == len(found["input_ids"][1])


def test_pairs_and_truncation_leave_the_prompt_whole(guest, plain):
    n_hidden = len(guest("")["input_ids"]) - 1
    assert len(guest("a", "b")["input_ids"]) == len(plain("a", "b")["input_ids"]) + n_hidden
    short = guest("the positive " * 20, truncation=True, max_length=n_hidden + 5)["input_ids"]
    assert len(short) == n_hidden + 5
    assert guest.decode(short).startswith("<s>the")


def test_tokens_are_marks_where_the_prompt_is(guest):
    ids = guest("the positive")["input_ids"]
    tokens = guest.convert_ids_to_tokens(ids)
    assert len(tokens) == len(ids)
    assert tokens[0] == "<s>"
    assert set(tokens[1:-3]) <= {MARK, "t", "he"}
    assert guest.convert_tokens_to_ids(tokens) == ids
    listed = guest.tokenize("the positive")
    assert guest.convert_tokens_to_ids(listed) == ids[1:]


def test_the_library_own_class_knows_nothing_of_it(plain, guest):
    guest.padding_side = "left"
    assert plain.padding_side == "right"
    assert plain.decode(plain("the")["input_ids"]) == "<s>the"


def test_values_are_shown_without_the_prompt(plain, guest, hidden):
    ids = guest("the")["input_ids"]
    value = {
        "text": f"it says: {SECRET}",
        "piece": SECRET[10:60],
        "ids": ids,
        "tensor": torch.tensor([ids, ids]),
        "array": torch.tensor([ids]).numpy(),
        "tokens": [plain.decode([each]) for each in ids],
        "deep": [({SECRET: 1.0},)],
        "bytes": SECRET.encode(),
    }
    shown = hidden.redacted(value)
    assert "swordfish" not in str(shown)
    assert shown["text"] == f"it says: {SHOWN}"
    assert shown["ids"][0] == 0
    assert shown["ids"][-2:] == ids[-2:]
    assert shown["ids"].count(HIDDEN_ID) == len(ids) - 1 - len(plain("the")["input_ids"][1:])
    assert shown["tensor"][1].tolist() == shown["ids"] == shown["array"][0].tolist()
    assert "".join(shown["tokens"]).endswith("]the")
    assert value["ids"] is ids


NESTED = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=8,
)


@given(value=NESTED)
def test_values_without_the_prompt_stay_the_same_objects(value):
    hidden = HiddenPrompt(SECRET)
    hidden.guest(tiny_tokenizer())
    assert hidden.redacted(value) is value


@dataclasses.dataclass(frozen=True)
class Scored:
    token: str
    logit: float


def test_tokens_are_hidden_in_whatever_holds_them(plain, guest, hidden):
    ids = guest("the")["input_ids"]
    tokens = [plain.decode([each]) for each in ids]
    ways = {
        "pairs": [(each, 0.25) for each in tokens],
        "triples": [(at, each, 0.25) for at, each in enumerate(tokens)],
        "values": dict(enumerate(tokens)),
        "keys": {f"{each} ({at})": 0.5 for at, each in enumerate(tokens)},
        "quoted": [repr(each) for each in tokens],
        "scored": [Scored(each, 1.5) for each in tokens],
        "beside": [[each, "other"] for each in tokens],
    }
    for name, way in ways.items():
        shown = hidden.redacted(way)
        said = " ".join(str(each) for each in leaves(shown) if isinstance(each, str))
        assert SHOWN in said, name
        assert type(shown) is type(way), name
        kept = [each for each in tokens[2:-3] if len(letters(each)) > 2 and letters(each) in said]
        assert kept == [], name
    assert ways["values"][3] == tokens[3], "the technique's own value stays as it was"


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint16", "float32", "float64", "bfloat16"]
)
def test_ids_are_hidden_whatever_type_they_have(dtype, guest, hidden):
    ids = guest("the")["input_ids"]
    if dtype == "int8" and max(ids) > 127:
        pytest.skip("the ids of this tokenizer are larger")
    value = torch.tensor(ids).to(getattr(torch, dtype))
    if value.tolist() != ids:
        pytest.skip("this type rounds the ids")
    for shown in (hidden.redacted(value), hidden.redacted(value[:, None])):
        assert shown.dtype == value.dtype
        assert sum(a == b for a, b in zip(shown.flatten().tolist(), ids, strict=True)) < 8
    if dtype != "bfloat16":
        array = value.numpy()
        assert (hidden.redacted(array) == array).sum() < 8


def test_ids_are_hidden_beside_other_numbers(guest, hidden):
    ids = guest("the")["input_ids"]
    for way in (
        list(enumerate(ids)),
        [(float(each), 0.25) for each in ids],
        {each: "x" for each in ids},
        [torch.tensor(each) for each in ids],
    ):
        shown = [whole_number(each) for each in leaves(hidden.redacted(way))]
        assert HIDDEN_ID in shown
    pairs = hidden.redacted(list(enumerate(ids)))
    assert [at for at, _ in pairs] == list(range(len(ids)))
    assert sum(a == b for (_, a), b in zip(pairs, ids, strict=True)) < 8


@pytest.mark.parametrize("form", [str, repr, lambda each: f"12 {each} 0.5"])
def test_tokens_are_hidden_line_by_line(plain, guest, hidden, form):
    ids = guest("the")["input_ids"]
    shown, hide = [], hidden.lines()
    for each in ids:
        line = form(plain.decode([each]))
        shown.append(line)
        hide(shown, line)
    assert shown.count(SHOWN) >= 8
    shown, hide = [], hidden.lines()
    for each in ids:
        shown.append(str(each))
        hide(shown, str(each))
    assert shown.count(SHOWN) >= 8
    assert shown[-1] == str(ids[-1])


def test_activations_stay_the_same_objects(guest, hidden):
    value = [torch.randn(3, 40), torch.zeros(3, 40), torch.ones(2, 5, dtype=torch.bool), 3.0]
    assert hidden.redacted(value) is value
