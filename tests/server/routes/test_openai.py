"""OpenAI's own client works unchanged: completions, and what comes beside them."""

import math

import numpy as np
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.engine.requests import Request, Sampling
from glassbox.server.translation.readings import Offsets, TokenTexts
from glassbox.testing.tiny import tiny_tokenizer
from tests.server.worlds import fake_server, http_client, openai_client

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_a_completion_says_what_the_engine_wrote():
    async with fake_server() as (engine, app), openai_client(app) as client:
        answer = await client.completions.create(
            model="fake", prompt="hello", max_tokens=6, temperature=0
        )
        prompt = engine.codec.encode(["hello"])[0]
        sampling = Sampling(max_tokens=6, temperature=0)
        (expected,) = engine.generate([Request(prompt, sampling=sampling)])

    assert answer.object == "text_completion"
    assert answer.choices[0].text == expected.text
    assert answer.choices[0].finish_reason == expected.finish_reason
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.usage.completion_tokens == len(expected.tokens.token_ids)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_every_kind_of_prompt_is_taken():
    async with fake_server() as (engine, app), openai_client(app) as client:
        ids = list(engine.codec.encode(["hello"])[0])

        async def texts(prompt):
            answer = await client.completions.create(
                model="fake", prompt=prompt, max_tokens=4, temperature=0
            )
            return [choice.text for choice in answer.choices]

        (alone,) = await texts("hello")
        assert await texts(["hello", "a", "hello"]) == [alone, (await texts("a"))[0], alone]
        assert await texts(ids) == [alone]
        assert await texts([ids, ids]) == [alone, alone]


async def test_a_stream_adds_up_to_the_whole():
    async with fake_server() as (_, app), openai_client(app) as client:
        asked = {"model": "fake", "prompt": ["hello", "a"], "n": 2, "seed": 5, "max_tokens": 7}
        whole = await client.completions.create(**asked, logprobs=3)
        stream = await client.completions.create(
            **asked, logprobs=3, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    for choice in whole.choices:
        parts = [part for chunk in chunks for part in chunk.choices if part.index == choice.index]
        assert "".join(part.text for part in parts) == choice.text
        assert [part.finish_reason for part in parts if part.finish_reason] == [
            choice.finish_reason
        ]
        told = [part.logprobs for part in parts if part.logprobs]
        for name in ("tokens", "token_logprobs", "top_logprobs"):
            values = [value for each in told for value in getattr(each, name)]
            assert values == getattr(choice.logprobs, name)
    assert chunks[-1].usage == whole.usage
    assert not chunks[-1].choices


async def test_logprobs_are_those_of_the_raw_distribution():
    async with fake_server() as (engine, app), openai_client(app) as client:
        answer = await client.completions.create(
            model="fake", prompt="hello", max_tokens=5, temperature=2.0, seed=1, logprobs=4
        )
        prompt = engine.codec.encode(["hello"])[0]
        sampling = Sampling(max_tokens=5, temperature=2.0, seed=1, top_logprobs=4)
        (expected,) = engine.generate([Request(prompt, sampling=sampling)])

    told = answer.choices[0].logprobs
    assert told is not None
    np.testing.assert_allclose(told.token_logprobs, expected.tokens.logprobs, rtol=1e-6)
    for tops, token, logprob in zip(
        told.top_logprobs, told.tokens, told.token_logprobs, strict=True
    ):
        assert tops[token] >= logprob - 1e-9
        assert sum(math.exp(value) for value in tops.values()) <= 1 + 1e-6
    assert "".join(told.tokens) == answer.choices[0].text


async def test_an_echo_reads_the_prompt_without_writing():
    async with fake_server() as (engine, app), openai_client(app) as client:
        answer = await client.completions.create(
            model="fake", prompt="the positive", max_tokens=0, echo=True, logprobs=2
        )
        prompt = engine.codec.encode(["the positive"])[0]
        read = Request(prompt[:1], response=prompt[1:])
        (expected,) = engine.generate([read])

    told = answer.choices[0].logprobs
    assert told is not None
    assert answer.choices[0].text == "the positive"
    assert told.token_logprobs[0] is None
    np.testing.assert_allclose(told.token_logprobs[1:], expected.tokens.logprobs, rtol=1e-6)
    assert "".join(told.tokens[1:]) == "the positive"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0


async def test_an_echo_goes_on_where_the_prompt_ends():
    async with fake_server() as (_, app), openai_client(app) as client:
        answer = await client.completions.create(
            model="fake", prompt="the a", max_tokens=4, temperature=0, echo=True, logprobs=0
        )
        plain = await client.completions.create(
            model="fake", prompt="the a", max_tokens=4, temperature=0, logprobs=0
        )

    (choice,), (written,) = answer.choices, plain.choices
    assert choice.text == "the a" + written.text
    assert choice.logprobs.tokens[-len(written.logprobs.tokens) :] == written.logprobs.tokens
    for token, offset in zip(choice.logprobs.tokens, choice.logprobs.text_offset, strict=True):
        assert token == "<s>" or choice.text[offset : offset + len(token)] == token


async def test_tokens_are_found_where_they_stand_behind_characters_of_many_bytes():
    text = "a 😀 b é\u2028c"
    async with fake_server() as (_, app), openai_client(app) as client:
        answer = await client.completions.create(
            model="fake", prompt=text, max_tokens=0, echo=True, logprobs=0
        )

    told = answer.choices[0].logprobs
    places = dict(zip(told.tokens, told.text_offset, strict=True))
    assert places[" b"] == text.index(" b")
    assert places["c"] == text.index("c")
    # The four bytes of the face are at its one place.
    assert told.text_offset.count(text.index("😀")) == 4


@given(st.text(max_size=12).filter(lambda text: "\ufffd" not in text), st.integers(0, 3))
def test_a_token_begins_where_the_text_before_it_ends(text, cut):
    codec = TokenizerCodec(tiny_tokenizer())
    ids = codec.encode(["." + text], special=False)[0]
    offsets = Offsets(TokenTexts(codec), 100)
    found = [*offsets.of(ids[:cut]), *offsets.of(ids[cut:])]

    # Slowly: all before a token is decoded anew, but for the character that it may complete.
    whole = "." + text
    for at, place in enumerate(found):
        before = codec.decode(ids[:at])
        n_whole = next(n for n in range(len(before), -1, -1) if whole.startswith(before[:n]))
        assert place == 100 + n_whole


async def test_a_streams_tokens_are_where_those_of_the_whole_text_are():
    asked = {"model": "fake", "prompt": "hello", "max_tokens": 40, "temperature": 1.0,
             "seed": 5, "logprobs": 0}  # fmt: skip
    async with fake_server() as (_, app), openai_client(app) as client:
        whole = (await client.completions.create(**asked)).choices[0]
        # Text that may begin a stop string is sent late.
        last = whole.text[len(whole.text) // 2 :][:1] + "\x00"
        stream = await client.completions.create(**asked, stop=last, stream=True)
        parts = [chunk.choices[0].logprobs async for chunk in stream if chunk.choices]

    found = [offset for part in parts if part is not None for offset in part.text_offset]
    assert found == whole.logprobs.text_offset


async def test_the_same_seed_gives_the_same_choices_and_they_differ():
    async with fake_server() as (_, app), openai_client(app) as client:

        async def texts(seed):
            answer = await client.completions.create(
                model="fake", prompt="hello", n=4, seed=seed, max_tokens=8
            )
            return [choice.text for choice in answer.choices]

        first = await texts(3)
        assert await texts(3) == first
        assert len(set(first)) == 4
        assert await texts(4) != first
        assert (await texts(-7))[0] != first[0]


async def test_stop_texts_end_the_answer_and_are_no_part_of_it():
    async with fake_server() as (_, app), openai_client(app) as client:
        asked = {"model": "fake", "prompt": "hello", "max_tokens": 12, "temperature": 0}
        whole = (await client.completions.create(**asked)).choices[0]
        stop = next(text for text in whole.text[2:] if text not in (whole.text[:2] + "\ufffd"))
        cut = (await client.completions.create(**asked, stop=stop)).choices[0]
        stream = await client.completions.create(**asked, stop=[stop, "zzzz"], stream=True)
        streamed = "".join([chunk.choices[0].text async for chunk in stream])

    assert cut.finish_reason == "stop"
    assert cut.text == streamed == whole.text[: whole.text.index(stop)]


async def test_the_internals_come_with_the_answer():
    async with fake_server() as (engine, app), openai_client(app) as client:
        info = engine.info
        answer = await client.completions.create(
            model="fake",
            prompt="hello",
            max_tokens=5,
            seed=1,
            temperature=1.5,
            extra_body={
                "glassbox": {
                    "entropies": True,
                    "capture": {"layers": [-1, 0], "pooling": ["mean", "norm"], "scope": "all"},
                }
            },
        )

    shown = answer.choices[0].model_extra["glassbox"]
    assert shown["mean_entropy"] == pytest.approx(np.mean(shown["entropies"]), rel=1e-5)
    n_tokens = len(shown["token_ids"])
    for name in ("entropies", "logprobs", "sampled_entropies", "sampled_logprobs"):
        assert len(shown[name]) == n_tokens
    assert [each["layer"] for each in shown["states"]] == [info.n_layers - 1, 0]
    for each in shown["states"]:
        assert set(each) >= {"mean", "norm", "site", "scope", "n_positions", "hidden_state_index"}
        assert "last" not in each
        assert len(each["mean"]) == info.d_model
    assert shown["timing"]["total_s"] >= shown["timing"]["first_token_s"] >= 0


async def test_a_stream_shows_internals_step_by_step_and_whole_at_the_end():
    async with fake_server() as (_, app), openai_client(app) as client:
        asked = {"model": "fake", "prompt": "hello", "max_tokens": 5, "seed": 1}
        extra = {"glassbox": {"entropies": True, "capture": {"layers": "all"}}}
        whole = await client.completions.create(**asked, extra_body=extra)
        stream = await client.completions.create(**asked, stream=True, extra_body=extra)
        steps = [chunk.choices[0].model_extra["glassbox"] async for chunk in stream]

    expected = whole.choices[0].model_extra["glassbox"]
    final = steps[-1]["final"]
    assert [value for step in steps[:-1] for value in step["entropies"]] == expected["entropies"]
    assert [value for step in steps[:-1] for value in step["token_ids"]] == expected["token_ids"]
    assert final["states"] == expected["states"]
    assert final["entropies"] == expected["entropies"]
    assert all("states" not in step for step in steps[:-1])


async def test_models_are_listed_and_found_by_name_and_digest():
    async with fake_server() as (engine, app), openai_client(app) as client:
        (model,) = (await client.models.list()).data
        again = await client.models.retrieve(engine.info.digest)

        assert model.id == again.id == "fake"
        assert model.model_extra["glassbox"]["n_layers"] == engine.info.n_layers
        for name in ("fake", engine.info.digest):
            answer = await client.completions.create(model=name, prompt="a", max_tokens=1)
            assert answer.model == name
        with pytest.raises(openai.NotFoundError, match="No model 'gpt-9'"):
            await client.models.retrieve("gpt-9")


@pytest.mark.parametrize(
    ("asked", "error", "words", "code", "param"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "No model 'gpt-9'", "model_not_found", "model"),
        ({"prompt": ""}, openai.BadRequestError, "it is empty", "invalid-value", "prompt"),
        (
            {"prompt": "a b c d " * 100},
            openai.BadRequestError,
            "context",
            "context_length_exceeded",
            None,
        ),
        (
            {"prompt": "a" * 100_000},
            openai.BadRequestError,
            "characters",
            "invalid-value",
            "text",
        ),
        ({"n": 2, "temperature": 0}, openai.BadRequestError, "same text", "invalid-value", None),
        (
            {"presence_penalty": 1},
            openai.BadRequestError,
            "presence_penalty.*allowed: 0",
            "invalid-value",
            "presence_penalty",
        ),
        (
            {"extra_body": {"nonsense": 1}},
            openai.BadRequestError,
            "nonsense: unknown field",
            "invalid-value",
            "nonsense",
        ),
        ({"prompt": [10**6]}, openai.BadRequestError, "token ids", "invalid-value", "token ids"),
        (
            {"extra_body": {"glassbox": {"capture": {"layers": [99]}}}},
            openai.BadRequestError,
            "layers 0 to",
            "invalid-hook-point",
            "glassbox.capture",
        ),
        (
            {"extra_body": {"glassbox": {"capture": {"layers": [-1], "pooling": ["none"]}}}},
            openai.BadRequestError,
            "v1/states",
            "invalid-value",
            "pooling",
        ),
        (
            {"extra_body": {"glassbox": {"probes": ["lie"]}}},
            openai.NotFoundError,
            "No probe 'lie'",
            "unknown-name",
            None,
        ),
    ],
)
async def test_a_wrong_request_is_an_error_of_the_client_in_words(asked, error, words, code, param):
    async with fake_server() as (_, app), openai_client(app) as client:
        with pytest.raises(error, match=words) as caught:
            await client.completions.create(
                **{"model": "fake", "prompt": "a", "max_tokens": 2, **asked}
            )
        stream = {"model": "fake", "prompt": "a", "max_tokens": 2, **asked, "stream": True}
        with pytest.raises(error, match=words):
            await client.completions.create(**stream)

    assert caught.value.code == code
    assert caught.value.param == param


async def test_a_full_queue_is_a_rate_limit_with_the_time_to_wait():
    made = fake_server(max_waiting=1, step_s=0.01)
    async with made as (engine, app), openai_client(app) as client:
        other = engine.submit(Request((1, 2), sampling=Sampling(max_tokens=500)))
        with pytest.raises(openai.RateLimitError, match="1 request waits already") as caught:
            await client.completions.create(model="fake", prompt="a", max_tokens=5)
        other.cancel()

    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.code == "queue-full"


async def test_half_a_character_and_bad_bytes_are_refused():
    async with fake_server() as (_, app), http_client(app) as client:
        for body in (
            b'{"model":"fake","prompt":"\\ud800"}',
            b'{"model":"fake","prompt":"\xff"}',
            b'{"model":"fake","prompt":"a","temperature":NaN}',
            b'{"model":"fake",',
        ):
            answer = await client.post(
                "/v1/completions", content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 400, body
            assert answer.json()["error"]["message"]


async def test_the_answer_names_the_adapters_digest_without_being_asked(tmp_path):
    async with fake_server() as (engine, app), openai_client(app) as client:
        examples = [Example((1, 2), 0)]
        recipe = AdapterRecipe(epochs=1)
        engine.fit_adapter(
            examples, examples, [(3,)], lambda _values, _targets: 0.0, tmp_path, recipe
        )
        engine.load_adapter(tmp_path, name="tuned")
        (adapter,) = engine.adapters
        base = f"fp_{engine.info.digest[:12]}"
        for model, expected in (("fake", base), ("tuned", f"{base}_{adapter.digest}")):
            for stream in (False, True):
                told = {"model": model, "max_tokens": 3, "seed": 1, "stream": stream}
                answers = [
                    await client.completions.create(prompt="a", **told),
                    await client.chat.completions.create(
                        messages=[{"role": "user", "content": "a"}], **told
                    ),
                ]
                for answer in answers:
                    chunks = [each async for each in answer] if stream else [answer]
                    assert {each.system_fingerprint for each in chunks} == {expected}
