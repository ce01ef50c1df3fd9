"""OpenAI's own client works unchanged: chat."""

import numpy as np
import pytest

from glassbox.engine.requests import Request, Sampling
from tests.server.worlds import CHAT_TEMPLATE, fake_server, openai_client

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
