"""A model's output reads alike whether transformers is there or not."""

import copy
import dataclasses
import pickle
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from transformers import BatchEncoding, BatchFeature, DynamicCache
from transformers.generation.utils import GenerateDecoderOnlyOutput
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutputWithPast
from transformers.utils.generic import ModelOutput

from glassbox.errors import CorruptArtifact
from glassbox.techniques import values
from glassbox.techniques.calls import Packed
from glassbox.techniques.packed.record import Output, Record
from glassbox.testing.tiny import tiny_tokenizer

NAMES = ("loss", "logits", "past_key_values", "hidden_states", "attentions", "mine", "absent")


@dataclasses.dataclass
class OwnOutput(ModelOutput):
    values: torch.Tensor | None = None
    keys_read: torch.Tensor | None = None


def made():
    added = CausalLMOutputWithPast(logits=torch.ones(1, 2), past_key_values=DynamicCache())
    added["mine"] = torch.ones(3)
    added.loss = torch.tensor(0.5)
    return [
        CausalLMOutputWithPast(logits=torch.ones(1, 2), hidden_states=(torch.zeros(1),) * 2),
        GenerateDecoderOnlyOutput(sequences=torch.arange(3), scores=(torch.ones(2),)),
        BaseModelOutput(),
        added,
        CausalLMOutputWithPast(loss=torch.zeros(1), logits=BaseModelOutput(torch.ones(1))),
    ]


def elsewhere(packed):
    """Return a packed value as it is opened where the classes of transformers are not."""
    return values.unpack(Packed(packed.tree.replace(b"transformers.", b"absent."), packed.buffers))


def asked(value, question):
    """Return what a question says, or which error it raises."""
    try:
        return plain(question(value))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        return type(error)


def plain(found):
    if isinstance(found, torch.Tensor | np.ndarray):
        return found.tolist()
    if isinstance(found, Mapping):
        return {key: plain(each) for key, each in found.items()}
    return [plain(each) for each in found] if isinstance(found, list | tuple) else found


QUESTIONS = (
    len,
    list,
    dict,
    bool,
    lambda out: {**out},
    lambda out: list(out.keys()),
    lambda out: list(out.values()),
    lambda out: list(out.items()),
    lambda out: out.to_tuple(),
    lambda out: [name in out for name in NAMES],
    lambda out: [out.get(name, 7) for name in NAMES],
    lambda out: [out[at] for at in range(len(out))],
    lambda out: out[-1],
    lambda out: out[:2],
    lambda out: out[1:],
    lambda out: out[99],
    lambda out: out["absent"],
    lambda out: out["loss"],
    lambda out: out.loss,
    lambda out: out.absent,
    lambda out: out.hidden_states[0],
    lambda out: isinstance(out, Mapping),
    lambda out: type(out).__name__,
    lambda out: dataclasses.is_dataclass(out),
)


@pytest.mark.parametrize("number", range(len(made())))
def test_every_question_has_the_answer_of_the_class(number):
    packed = values.pack(made()[number])
    here, there = values.unpack(packed), elsewhere(packed)
    assert isinstance(here, ModelOutput)
    assert isinstance(there, Output)
    for place, question in enumerate(QUESTIONS):
        assert asked(there, question) == asked(here, question), f"question {place}"


def test_what_was_added_to_an_output_is_not_lost():
    back = values.unpack(values.pack(made()[3]))
    assert list(back) == ["logits", "mine", "loss"]
    assert back.mine.tolist() == back["mine"].tolist() == [1, 1, 1]


def test_an_output_may_be_changed_and_sent_back():
    there = elsewhere(values.pack(made()[0]))
    there.logits = there.logits + 1
    there["mine"] = torch.zeros(1)
    assert there[0].tolist() == [[2, 2]]
    again = values.pack(there)
    back = values.unpack(Packed(again.tree.replace(b"absent.", b"transformers."), again.buffers))
    assert type(back) is CausalLMOutputWithPast
    assert back.logits.tolist() == [[2, 2]]
    assert list(back) == list(there) == ["logits", "hidden_states", "mine"]
    for copied in (copy.deepcopy(there), pickle.loads(pickle.dumps(there))):
        assert isinstance(copied, Output)
        assert copied == there
        assert dict(copied).keys() == dict(there).keys()


def test_fields_may_be_called_like_methods():
    packed = values.pack(OwnOutput(values=torch.ones(2)))
    there = values.unpack(Packed(packed.tree.replace(b":OwnOutput", b":Absent"), packed.buffers))
    assert there.values.tolist() == there[0].tolist() == [1, 1]
    assert there.keys_read is None
    record = Record.of("m:R", {"keys": 1, "fields": 2, "name": 3})
    assert [record.keys, record.fields, record.name, *record] == [1, 2, 3, "keys", "fields", "name"]


def test_a_field_that_none_can_have_is_damage():
    tree = b'{"glassbox":1,"value":{"!":"%s","class":"a:B","of":{"x=1, y":1}}}'
    for tag in (b"data", b"output", b"named"):
        with pytest.raises(CorruptArtifact):
            values.unpack(Packed(tree % tag))


@pytest.mark.parametrize("kind", [BatchEncoding, BatchFeature])
def test_what_a_tokenizer_answers_comes_back_whole(kind):
    given = kind({"input_ids": torch.ones(1, 3, dtype=torch.long), "note": [1, None]})
    packed = values.pack({"x": given})
    here = values.unpack(packed)["x"]
    assert type(here) is kind
    assert here.input_ids.tolist() == here["input_ids"].tolist() == [[1, 1, 1]]
    assert here.to("cpu") is here
    assert dict(**here)["note"] == [1, None]
    there = elsewhere(packed)["x"]
    assert isinstance(there, Output)
    assert there.input_ids.tolist() == there["input_ids"].tolist() == [[1, 1, 1]]
    assert dict(**there)["note"] == [1, None]
    assert values.remarks(packed) == ()


def test_what_only_the_tokenizer_knows_stays_there_and_it_is_said():
    packed = values.pack(tiny_tokenizer()("two words"))
    assert values.remarks(packed) == (
        "result came without what only its tokenizer knows: which token stands for which "
        "characters",
    )


def test_an_encoding_whose_names_are_none_comes_as_a_dictionary():
    packed = values.pack(BatchEncoding({1: "x"}))
    assert values.unpack(packed) == {1: "x"}
    assert values.remarks(packed) == ("result was a BatchEncoding and came as a dict",)


def test_ones_own_subclass_of_an_encoding_is_not_called():
    class Mine(BatchEncoding):
        pass

    Mine.__module__ = "ideas"
    assert values.unpack(values.pack(Mine({"a": 1}))) == {"a": 1}
