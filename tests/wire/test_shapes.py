"""Requests refuse what they do not know; answers read back as they were sent."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from safetensors.numpy import load, save

from glassbox.errors import CorruptArtifact
from glassbox.wire.classify import ClassifyAnswered, LabelAnswered, RowError
from glassbox.wire.extension import (
    CaptureAsked,
    GlassboxAnswered,
    GlassboxChunk,
    ProbeAnswered,
    StatesAnswered,
    Timing,
)
from glassbox.wire.inference import BatchAsked
from glassbox.wire.lens import LensAsked
from glassbox.wire.openai_chat import ChatAsked
from glassbox.wire.openai_completions import (
    Completion,
    CompletionAsked,
    CompletionChoice,
    CompletionLogprobs,
)
from glassbox.wire.openai_sampling import Usage
from glassbox.wire.shapes import Asked
from glassbox.wire.states import StatesAsked
from glassbox.wire.tensors import from_safetensors, to_safetensors

FLOATS = st.floats(-(2.0**99), 2.0**99, width=32)
VECTORS = hnp.arrays(np.float32, st.integers(0, 6), elements=FLOATS)
MATRICES = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=FLOATS)
TIMES = st.builds(Timing, queued_s=FLOATS, first_token_s=FLOATS, total_s=FLOATS)
STATES = st.builds(
    StatesAnswered,
    layer=st.integers(0, 100),
    site=st.sampled_from(["resid_post", "final_norm"]),
    hidden_state_index=st.none() | st.integers(0, 100),
    scope=st.sampled_from(["prompt", "generated", "all"]),
    n_positions=st.integers(0, 9),
    mean=st.none() | VECTORS,
    last=st.none() | VECTORS,
    norm=st.none() | FLOATS,
    none=st.none() | MATRICES,
)
PROBES = st.builds(
    ProbeAnswered,
    probe_logit=st.none() | FLOATS,
    probe_prob=st.none() | st.floats(0, 1, width=32),
    token_logits=st.none() | VECTORS,
)
SHOWN = st.builds(
    GlassboxAnswered,
    finish_reason=st.sampled_from(["stop", "length", "deadline"]),
    token_ids=st.lists(st.integers(0, 2**31)),
    mean_entropy=FLOATS,
    entropies=st.none() | VECTORS,
    states=st.none() | st.lists(STATES, max_size=2),
    probes=st.none() | st.dictionaries(st.text(), PROBES, max_size=2),
    timing=TIMES,
)
LOGPROBS = st.builds(
    CompletionLogprobs,
    tokens=st.lists(st.text()),
    token_logprobs=st.lists(st.none() | FLOATS),
    top_logprobs=st.none() | st.lists(st.none() | st.dictionaries(st.text(), FLOATS)),
    text_offset=st.lists(st.integers(0, 99)),
)
COMPLETIONS = st.builds(
    Completion,
    id=st.text(),
    created=st.integers(0, 2**40),
    model=st.text(),
    system_fingerprint=st.text(),
    choices=st.lists(
        st.builds(
            CompletionChoice,
            index=st.integers(0, 9),
            text=st.text(),
            logprobs=st.none() | LOGPROBS,
            finish_reason=st.sampled_from([None, "stop", "length"]),
            glassbox=st.none() | SHOWN,
        ),
        max_size=2,
    ),
    usage=st.none()
    | st.builds(
        Usage,
        prompt_tokens=st.integers(0, 9),
        completion_tokens=st.integers(0, 9),
        total_tokens=st.integers(0, 18),
    ),
)


@settings(max_examples=30)
@given(COMPLETIONS)
def test_a_completion_reads_back_as_it_was_sent(answer):
    sent = answer.to_json()

    assert Completion.from_json(sent).to_json() == sent


@settings(max_examples=50)
@given(STATES)
def test_float32_arrays_lose_nothing_as_json(states):
    back = StatesAnswered.from_json(states.to_json())

    for form in ("mean", "last", "none"):
        before, after = getattr(states, form), getattr(back, form)
        assert (before is None) == (after is None)
        if before is not None:
            np.testing.assert_array_equal(before, after)
            assert after.dtype == np.float32


def test_what_was_not_asked_for_is_left_out_of_the_json():
    chunk = GlassboxChunk(token_ids=[3])
    row = LabelAnswered(index=0, error=RowError(code="text-too-long", message="…"))

    assert chunk.to_json() == b'{"token_ids":[3]}'
    assert set(row.model_dump()) == {"index", "error"}


def test_an_answer_with_fields_of_a_newer_server_is_read():
    older = ClassifyAnswered(
        model="m", classifier_digest="d", calibrated=True, threshold=None, data=[]
    )
    newer = older.to_json().replace(b'"data"', b'"new":1,"data"')

    assert ClassifyAnswered.from_json(newer).model == "m"


NEUTRAL = {
    "presence_penalty": 0,
    "frequency_penalty": 0.0,
    "logit_bias": {},
    "tools": [],
    "tool_choice": "auto",
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "store": False,
    "service_tier": "auto",
    "user": "somebody",
    "metadata": {"a": "b"},
    "parallel_tool_calls": True,
    "prediction": None,
}
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def test_fields_of_openai_with_their_neutral_value_are_taken():
    assert ChatAsked.model_validate({**HELLO, **NEUTRAL}).model == "m"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("presence_penalty", 0.5),
        ("frequency_penalty", -1),
        ("logit_bias", {"50256": -100}),
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["text", "audio"]),
        ("store", True),
        ("prediction", {"type": "content", "content": "x"}),
        ("reasoning_effort", "high"),
    ],
)
def test_fields_of_openai_that_would_change_the_answer_are_refused_by_name(name, value):
    with pytest.raises(ValidationError, match=name) as caught:
        ChatAsked.model_validate({**HELLO, name: value})

    (error,) = caught.value.errors()
    assert error["loc"] == (name,)
    assert "allowed" in error["msg"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": ""}, "it is empty"),
        ({"prompt": []}, "it is empty"),
        ({"prompt": ["a", ""]}, "it is empty"),
        ({"prompt": [[1], []]}, "it is empty"),
        ({"prompt": 7}, "it is of no known kind"),
        ({"prompt": "a\ud800"}, "half a character"),
        ({"prompt": "a", "temperature": float("nan")}, "finite"),
        ({"prompt": "a", "temperature": -1}, "greater than or equal to 0"),
        ({"prompt": "a", "n": True}, "valid integer"),
        ({"prompt": "a", "n": 2, "temperature": 0}, "the same text 2 times"),
        ({"prompt": "a", "best_of": 2}, "allowed: 1"),
        ({"prompt": "a", "max_tokens": 0}, "allowed: 1 or more"),
        ({"prompt": "a", "stop": ["a", ""]}, "one is empty"),
        ({"prompt": "a", "stop": ["a"] * 17}, "at most 16"),
        ({"prompt": "a", "stream_options": {"include_usage": True}}, "needs stream"),
        ({"prompt": "a", "echo": True, "stream": True}, "echo cannot be streamed"),
        ({"prompt": "a", "unknown": 1}, "unknown"),
        ({"prompt": "a", "seed": 2**63}, "less than"),
        ({"prompt": "a", "glassbox": {"captures": {}}}, "captures"),
        ({"prompt": "a", "glassbox": {"capture": {"layers": []}}}, "layers is empty"),
        ({"prompt": "a", "glassbox": {"capture": {"pooling": ["max"]}}}, "'mean', 'last'"),
        ({"prompt": "a", "glassbox": {"capture": {"pooling": ["mean", "mean"]}}}, "twice"),
        (
            {"prompt": "a", "glassbox": {"capture": {"layers": [1], "points": [{"layer": 1}]}}},
            "layers and points are given",
        ),
        ({"prompt": "a", "glassbox": {"deadline_s": 0}}, "greater than 0"),
    ],
)
def test_a_wrong_request_for_completions_is_refused_in_words(body, words):
    with pytest.raises(ValidationError, match=words):
        CompletionAsked.model_validate({"model": "m", **body})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": "a", "responses": ["b", "c"]}, "2 responses for 1 texts"),
        ({"input": "a", "capture": {"scope": "generated"}}, "without responses"),
    ],
)
def test_a_wrong_request_for_states_is_refused_in_words(body, words):
    with pytest.raises(ValidationError, match=words):
        StatesAsked.model_validate(body)


def test_one_prompt_and_several_become_a_list():
    def prompts(prompt):
        return CompletionAsked(prompt=prompt).prompts

    assert prompts("a") == ["a"]
    assert prompts(["a", "b"]) == ["a", "b"]
    assert prompts([1, 2]) == [[1, 2]]
    assert prompts([[1], [2, 3]]) == [[1], [2, 3]]


def test_a_message_of_parts_is_read_as_one_text():
    asked = ChatAsked.model_validate(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                }
            ]
        }
    )

    assert asked.messages[0].text == "ab"


def test_a_capture_without_places_is_left_to_the_default():
    assert CaptureAsked().layers is None


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name != "__metadata__"),
        VECTORS | MATRICES,
        max_size=4,
    ),
    st.dictionaries(st.text(), st.text(), max_size=2),
)
def test_the_safetensors_library_reads_what_is_written(arrays, metadata):
    content = to_safetensors(arrays, metadata)
    theirs = load(content)
    ours, notes = from_safetensors(content)

    assert notes == metadata
    assert set(theirs) == set(ours) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name], array)


def test_what_the_safetensors_library_writes_is_read():
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(0, np.float32)}

    ours, _ = from_safetensors(save(arrays))

    np.testing.assert_array_equal(ours["a"], arrays["a"])
    assert ours["b"].shape == (0,)


@given(st.integers(0, 200))
def test_safetensors_cut_short_are_refused(n_kept):
    content = to_safetensors({"a": np.ones((3, 4), np.float32)}, {})

    with pytest.raises(CorruptArtifact, match="safetensors answer"):
        from_safetensors(content[: min(n_kept, len(content) - 1)])


def test_safetensors_of_another_number_format_are_refused():
    with pytest.raises(CorruptArtifact, match="F64"):
        from_safetensors(save({"a": np.ones(2)}))


MANY = 20_000


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (ChatAsked, {"messages": [{"role": "user", "content": [{"x": 1}] * MANY}]}),
        (ChatAsked, {"messages": [{"role": "user", "content": [{"x": 1}] * 4}] * 4000}),
        (ChatAsked, {"messages": [{"role": "user", "content": "a"}], "metadata": {"?": MANY}}),
        (CompletionAsked, {"?": MANY}),
        (CompletionAsked, {"prompt": "a", "stop": [1] * MANY}),
        (CompletionAsked, {"prompt": "a", "glassbox": {"?": MANY}}),
        (StatesAsked, {"input": "a", "responses": [1] * MANY}),
        (StatesAsked, {"input": "a", "capture": {"points": [{"x": 1}] * MANY}}),
        (LensAsked, {"prompt": ["x"] * MANY}),
        (LensAsked, {"messages": [{"role": "user", "content": [{"x": 1}] * MANY}]}),
        (BatchAsked, {"rows": [{"x": 1}] * MANY}),
    ],
)
def test_of_very_many_mistakes_the_first_are_told(model: type[Asked], body: dict) -> None:
    """To tell of each took minutes, in which the server answered nobody."""

    def spelt(value: Any) -> Any:
        if value == {"?": MANY}:
            return {f"field{n}": 0 for n in range(MANY)}
        return {key: spelt(each) for key, each in value.items()} if type(value) is dict else value

    with pytest.raises(ValidationError) as caught:
        model.model_validate(spelt(body))
    assert caught.value.error_count() < 10


def test_parts_are_counted_over_all_messages() -> None:
    part = {"type": "text", "text": "a"}
    messages = [{"role": "user", "content": [part] * 4096}] * 4
    assert len(ChatAsked.model_validate({"messages": messages}).messages) == 4
    with pytest.raises(ValidationError, match="16388 parts; allowed: at most 16384"):
        ChatAsked.model_validate({"messages": [*messages, {"role": "user", "content": [part] * 4}]})


def test_messages_are_counted_before_any_is_looked_at() -> None:
    # Of messages that are looked at first, it is told what is wrong with each.
    with pytest.raises(ValidationError, match="4097 messages; allowed: at most 4096") as told:
        ChatAsked.model_validate({"messages": [{"x": 1}] * 4097})
    assert told.value.error_count() == 1


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"a": [1] * 9_999}, None),
        ({"a": [1] * 10_000}, "more than 10000 values"),
        ({"a": [[]] * 5_000, "b": [{"c": 1}] * 2_499}, None),
        ({"a": [[]] * 5_000, "b": [{"c": 1}] * 2_500}, "more than 10000 values"),
    ],
)
def test_all_values_of_a_row_are_counted_at_every_level(
    features: dict[str, Any], words: str | None
) -> None:
    if words is None:
        assert BatchAsked.model_validate({"rows": [{"features": features}]}).rows
        return
    with pytest.raises(ValidationError, match=words):
        BatchAsked.model_validate({"rows": [{"features": features}]})


@pytest.mark.parametrize("field", ["prompt", "response"])
def test_token_ids_of_a_lens_are_counted_before_they_are_looked_at(field: str) -> None:
    asked = {"prompt": "a", field: [1] * (2**20 + 1)}
    with pytest.raises(ValidationError, match="1048577 token ids; allowed: at most 1048576"):
        LensAsked.model_validate(asked)
    assert LensAsked.model_validate({"prompt": "a", field: [1] * 2**20})
