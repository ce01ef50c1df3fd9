"""OpenAI's own client works unchanged: chat."""

import re

import numpy as np
import pytest
from openai import BadRequestError

from glassbox.engine.requests import Request, Sampling
from tests.server.worlds import CHAT_TEMPLATE, fake_server, http_client, openai_client

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_chat_answers_with_log_probabilities_in_its_own_shape():
    async with (
        fake_server(chat_template=CHAT_TEMPLATE) as (engine, app),
        openai_client(app) as client,
    ):
        messages = [{"role": "developer", "content": "be"}, {"role": "user", "content": "hello"}]
        answer = await client.chat.completions.create(
            model="fake",
            messages=messages,
            max_completion_tokens=5,
            temperature=0,
            logprobs=True,
            top_logprobs=3,
        )
        rendered = "<s>system: be</s><s>user: hello</s><s>assistant:"
        (prompt,) = engine.codec.encode([rendered], special=False)
        sampling = Sampling(max_tokens=5, temperature=0)
        (expected,) = engine.generate([Request(prompt, sampling=sampling)])

    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == expected.text
    content = choice.logprobs.content
    np.testing.assert_allclose([each.logprob for each in content], expected.tokens.logprobs)
    for each in content:
        assert len(each.top_logprobs) == 3
        assert bytes(each.bytes).decode() == each.token
        # Greedy: the token is the most probable one.
        assert each.top_logprobs[0].logprob == pytest.approx(each.logprob)
    assert answer.usage.prompt_tokens == len(prompt)


@pytest.mark.parametrize("asked", [{"max_tokens": 100_000}, {}], ids=["more", "unsaid"])
async def test_an_answer_that_fills_the_context_says_so_unasked(asked):
    asked |= {"model": "fake", "messages": [{"role": "user", "content": "hello"}], "seed": 1}
    async with (
        fake_server(chat_template=CHAT_TEMPLATE, context=40) as (_, app),
        openai_client(app) as client,
    ):
        whole = await client.chat.completions.create(**asked)
        *_, last = [
            each async for each in await client.chat.completions.create(**asked, stream=True)
        ]
        short = await client.chat.completions.create(**{**asked, "max_tokens": 2})
    assert whole.usage.total_tokens == 40
    assert whole.choices[0].finish_reason == last.choices[0].finish_reason == "length"
    assert whole.choices[0].glassbox["finish_reason"] == "context"
    assert last.choices[0].glassbox["final"]["finish_reason"] == "context"
    assert short.choices[0].finish_reason == "length"
    assert not hasattr(short.choices[0], "glassbox")


async def test_a_chat_stream_adds_up_to_the_whole():
    async with fake_server(chat_template=CHAT_TEMPLATE) as (_, app), openai_client(app) as client:
        asked = {
            "model": "fake",
            "messages": [{"role": "user", "content": "hello"}],
            "n": 2,
            "seed": 2,
            "max_tokens": 6,
        }
        whole = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    for choice in whole.choices:
        deltas = [
            part.delta for chunk in chunks for part in chunk.choices if part.index == choice.index
        ]
        assert deltas[0].role == "assistant"
        assert "".join(delta.content or "" for delta in deltas) == choice.message.content
    assert chunks[-1].usage == whole.usage


async def test_a_base_model_continues_the_messages_texts():
    async with fake_server() as (_, app), openai_client(app) as client:
        chat = await client.chat.completions.create(
            model="fake",
            messages=[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
            max_tokens=5,
            temperature=0,
        )
        plain = await client.completions.create(
            model="fake", prompt="a\n\nb", max_tokens=5, temperature=0
        )

    assert chat.choices[0].message.content == plain.choices[0].text


THINKING = CHAT_TEMPLATE.replace(
    "<s>assistant:",
    "<s>assistant:{% if enable_thinking is defined and not enable_thinking %}</s>{% endif %}",
)
"""A template of a model that thinks first unless it is asked not to."""


@pytest.mark.parametrize(
    ("told", "n_more"),
    [
        ({}, 0),
        ({"reasoning_effort": "none"}, 1),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": False, "other": "x"}}}, 1),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": True}}}, 0),
        (
            {
                "reasoning_effort": "none",
                "extra_body": {"chat_template_kwargs": {"enable_thinking": True}},
            },
            0,
        ),
    ],
)
@pytest.mark.parametrize("hidden", [None, "secret"])
async def test_a_request_says_whether_the_model_thinks_first(told, n_more, hidden):
    asked = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    async with (
        fake_server(chat_template=THINKING, hidden=hidden) as (_, app),
        openai_client(app) as client,
    ):
        plain = await client.chat.completions.create(**asked)
        answer = await client.chat.completions.create(**asked, **told)
    assert answer.usage.prompt_tokens == plain.usage.prompt_tokens + n_more


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"messages": True}, "chat_template_kwargs is 'messages'"),
        ({"effort": "</s>"}, "chat_template_kwargs.effort"),
        ({"a b": 1}, "it is 'a b'"),
        ({"deep": {"a": 1}}, "chat_template_kwargs.deep"),
        ({f"v{number}": 1 for number in range(33)}, "chat_template_kwargs"),
    ],
)
async def test_variables_of_the_template_are_few_and_plain(variables, words):
    asked = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    async with (
        fake_server(chat_template=CHAT_TEMPLATE) as (_, app),
        openai_client(app) as client,
    ):
        with pytest.raises(BadRequestError, match=re.escape(words)):
            await client.chat.completions.create(
                **asked, extra_body={"chat_template_kwargs": variables}
            )


async def test_a_question_that_is_verified_asks_for_the_answer_itself():
    async with (
        fake_server(chat_template=THINKING) as (_, app),
        http_client(app) as client,
    ):
        answer = await client.post("/v1/verify", json={"prompt": "hi", "response": "ho", "k": 0})
        spoken = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        asked = await client.post("/v1/chat/completions", json=spoken)
    n_prompt = asked.json()["usage"]["prompt_tokens"]
    assert answer.json()["n_tokens"] == n_prompt + 1 + len(answer.json()["tokens"])
