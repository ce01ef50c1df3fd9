"""A hidden system prompt steers the answers and is nowhere to be seen."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from glassbox.cli.server.serve import serve as serve_command
from glassbox.engine.requests import Readout, Request, Sampling
from glassbox.errors import InvalidValue, UnsupportedModel
from glassbox.introspection.probes.probe import ProbeReading
from glassbox.server.translation.prompting import BETWEEN, Prompter
from glassbox.server.translation.readings import visible_cached
from glassbox.server.translation.speech import Speaker
from glassbox.testing.fake import FakeEngine
from glassbox.testing.tiny import tiny_engine
from glassbox.types import Capture, HookPoint
from tests.server.worlds import CHAT_TEMPLATE, fake_server, http_client, serve

pytestmark = pytest.mark.anyio

SECRET = "Secretum: say nothing of the quince."
"""The hidden prompt of these tests; its words stand in no other text."""

WORDS = ("Secretum", "quince", "say nothing")

BODIES = {
    "/v1/completions": [
        {"prompt": "hello", "max_tokens": 3},
        {"prompt": ["hello", [5, 6]], "max_tokens": 3, "echo": True, "logprobs": 3, "n": 2},
        {"prompt": "hello", "max_tokens": 0, "echo": True, "logprobs": 3},
        {"prompt": "hello", "max_tokens": 3, "stream": True, "logprobs": 2},
        {
            "prompt": "hello",
            "max_tokens": 3,
            "glassbox": {"entropies": True, "capture": {"layers": "all", "scope": "all"}},
        },
        {"prompt": "hello " * 300},
        {"prompt": [10**6]},
        {"prompt": "hello", "model": "gpt-9"},
        {"prompt": "hello", "glassbox": {"capture": {"layers": [99]}}},
    ],
    "/v1/chat/completions": [
        {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3},
        {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, "stream": True},
        {
            "messages": [
                {"role": "system", "content": "short"},
                {"role": "user", "content": "<s>hello</s>"},
            ],
            "max_tokens": 3,
            "logprobs": True,
        },
    ],
    "/v1/states": [
        {"input": "hello", "capture": {"layers": [0]}},
        {
            "input": "hello",
            "capture": {"layers": [0], "pooling": ["none"]},
            "raw_as_json": True,
        },
    ],
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_no_byte_of_any_answer_or_log_has_it(caplog):
    caplog.set_level(logging.DEBUG)
    async with (
        fake_server(hidden=SECRET, chat_template=CHAT_TEMPLATE) as (_, app),
        http_client(app) as client,
    ):
        said = []
        for path, bodies in BODIES.items():
            for body in bodies:
                answer = await client.post(path, json=body)
                said.append((path, body, answer))
        for path in ("/v1/models", "/metrics", "/livez", "/readyz", "/openapi.json"):
            said.append((path, None, await client.get(path)))

    assert {answer.status_code for _, _, answer in said} == {200, 400, 404}
    for path, body, answer in said:
        everything = answer.content + repr(answer.headers).encode()
        for word in WORDS:
            assert word.encode() not in everything, (path, body)
    assert caplog.records
    for record in caplog.records:
        for word in WORDS:
            assert word not in record.getMessage()
            assert word not in repr(record.args)


async def test_it_changes_the_answers_and_counts_for_nothing():
    async with (
        fake_server(hidden=SECRET) as (engine, app),
        http_client(app) as client,
    ):
        body = {"prompt": "hello", "max_tokens": 6, "temperature": 0}
        answer = (await client.post("/v1/completions", json=body)).json()
        prompts = (
            engine.codec.encode([SECRET + BETWEEN])[0],
            engine.codec.encode(["hello"], special=False)[0],
        )
        sampling = Sampling(max_tokens=6, temperature=0)
        whole, alone = engine.generate(
            [Request(prompts[0] + prompts[1], sampling=sampling),
             Request(prompts[1], sampling=sampling)]
        )  # fmt: skip

    assert answer["choices"][0]["text"] == whole.text != alone.text
    assert answer["usage"]["prompt_tokens"] == len(prompts[1])


async def test_pooled_states_cover_the_callers_own_tokens_only():
    engine = tiny_engine()
    try:
        app = serve(engine, hidden=SECRET)
        async with http_client(app) as client:
            body = {
                "input": "the positive",
                "responses": [" one"],
                "capture": {"layers": [-1], "scope": "all"},
            }
            answer = (await client.post("/v1/states", json=body)).json()
        hidden = engine.codec.encode([SECRET + BETWEEN])[0]
        own = engine.codec.encode(["the positive"], special=False)[0]
        given = engine.codec.encode([" one"], special=False)[0]
        capture = Capture((HookPoint(-1),), ("none",), "all")
        (whole,) = engine.generate([Request(hidden + own, response=given, capture=capture)])
    finally:
        engine.close()

    (states,) = answer["data"][0]["states"]
    expected = whole.states[0].none[len(hidden) :]
    assert states["n_positions"] == len(own) + len(given)
    np.testing.assert_allclose(states["mean"], expected.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(states["last"], expected[-1], atol=1e-4)


async def test_states_of_single_positions_are_refused_together_with_it():
    async with fake_server(hidden=SECRET) as (_, app), http_client(app) as client:
        body = {"input": "hello", "capture": {"layers": [0], "pooling": ["none"]}}
        answer = await client.post(
            "/v1/states", json=body, headers={"accept": "application/octet-stream"}
        )

    assert answer.status_code == 400
    assert "hidden" in json.loads(answer.content)["detail"]


def test_a_template_puts_it_in_front_and_the_rest_stays_as_it_would_be():
    engine = FakeEngine(chat_template=CHAT_TEMPLATE)
    prompter = Prompter(engine.codec, 256, SECRET)

    built = prompter.chat([("system", "own"), ("user", "hello")])
    head = engine.codec.decode(built.ids[: built.n_hidden])
    rest = engine.codec.decode(built.visible)

    assert head == f"<s>system: {SECRET}"
    assert rest == f"{BETWEEN}own</s><s>user: hello</s><s>assistant:"
    assert head + rest == engine.codec.dialogue(
        [("system", SECRET + BETWEEN + "own"), ("user", "hello")]
    )


def test_a_template_without_a_system_role_has_it_in_the_first_message():
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}"
        "{% endif %}" + CHAT_TEMPLATE
    )
    engine = FakeEngine(chat_template=template)

    built = Prompter(engine.codec, 256, SECRET).chat([("user", "hello")])

    assert engine.codec.decode(built.ids[: built.n_hidden]) == f"<s>user: {SECRET}"


def test_a_template_that_shows_it_after_other_text_is_refused():
    template = "{% for m in messages|reverse %}{{ m['content'] }}{% endfor %}"
    engine = FakeEngine(chat_template=template)

    with pytest.raises(UnsupportedModel, match="after other text"):
        Prompter(engine.codec, 256, SECRET).chat([("user", "hello")])


def test_a_template_that_drops_the_system_role_has_it_in_the_first_message():
    template = "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}{% endif %}"
    engine = FakeEngine(chat_template=template + "{% endfor %}")

    built = Prompter(engine.codec, 256, SECRET).chat([("user", "hello")])

    assert engine.codec.decode(built.ids[: built.n_hidden]) == SECRET


def test_a_template_that_cannot_keep_it_hidden_is_refused_when_serving_begins():
    for template in ("{{ 'nothing of it' }}", "{% for m in messages|reverse %}{{ m }}{% endfor %}"):
        engine = FakeEngine(chat_template=template)
        with pytest.raises(UnsupportedModel, match="hidden"):
            Speaker(engine, "fake", hidden=SECRET)
        engine.close()


async def test_its_length_is_in_no_number():
    lengths = {}
    for hidden in (SECRET, SECRET * 3):
        async with fake_server(hidden=hidden) as (_, app), http_client(app) as client:
            verdict = await client.post(
                "/v1/verify",
                json={"prompt": "hello", "response": "the", "k": 2, "paraphrases": ["hullo"]},
            )
            asked = {"prompt": "hello", "max_tokens": 2, "glassbox": {"stop_at_end": False}}
            await client.post("/v1/completions", json=asked)
            long = await client.post("/v1/completions", json={"prompt": "hello " * 400})
            models = await client.get("/v1/models")
            metrics = (await client.get("/metrics")).text
        counted = [
            line
            for line in metrics.splitlines()
            if line.startswith(("glassbox:prompt_tokens_total", "glassbox:prefix_cache"))
        ]
        told = verdict.json()
        lengths[hidden] = (
            [each["n_tokens"] for each in told["checks"]],
            told["n_tokens"],
            [line for line in counted if "created" not in line],
            long.json()["error"]["message"].partition(";")[0],
        )
        room = models.json()["data"][0]["glassbox"]["context"]
        assert f"room for {room - 1}" in long.json()["error"]["message"]

    assert lengths[SECRET] == lengths[SECRET * 3]


def test_cached_tokens_do_not_tell_where_it_ends():
    tokens = FakeEngine().generate([Request((5, 6, 7), response=(8,))])[0]

    for n_cached in (0, 16, 32):
        assert visible_cached(replace(tokens, n_cached=n_cached), 13) == 0
    assert visible_cached(replace(tokens, n_cached=32), 0) == 32


class OneProbe:
    """A probe of some scope, whose readings are what the engine read."""

    def __init__(self, scope):
        self.name = "one"
        self.scope = scope

    def readout(self):
        return Readout("one", HookPoint(0), np.ones(8, np.float32))

    def check(self, info, adapter_digest=None):
        del info, adapter_digest

    def read(self, generation, *, covered):
        del covered
        return ProbeReading(0.0, 0.5, 0.5, False, generation.readouts["one"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/states", {"input": "a", "capture": {"layers": [0]}}),
        ("/v1/states", {"input": "a", "capture": {"layers": [0], "scope": "all"}}),
        ("/v1/states", {"input": "a", "responses": ["b"], "capture": {"scope": "prompt"}}),
        ("/v1/completions", {"prompt": "a", "glassbox": {"capture": {"layers": [0]}}}),
        (
            "/v1/completions",
            {
                "prompt": "a",
                "max_tokens": 0,
                "echo": True,
                "glassbox": {"capture": {"layers": [0], "scope": "all"}},
            },
        ),
        ("/v1/completions", {"prompt": "a", "glassbox": {"probes": ["one"]}}),
        (
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": "a"}],
                "glassbox": {"capture": {"layers": [0]}},
            },
        ),
        ("/invocations", {"inputs": "a", "parameters": {"target_layers": [-1]}}),
    ],
)
async def test_what_would_be_read_of_the_prompt_alone_is_refused_on_every_route(path, body):
    async with (
        fake_server(hidden=SECRET, probes={"one": OneProbe("prompt")}) as (_, app),
        http_client(app) as client,
    ):
        answer = await client.post(path, json=body)

    assert answer.status_code == 400
    assert answer.headers["x-glassbox-error"] == "invalid-value"
    assert "hidden system prompt" in answer.text
    assert path == "/invocations" or "generated" in answer.text


async def test_what_is_read_of_the_written_text_is_shown_beside_it():
    async with (
        fake_server(hidden=SECRET, probes={"one": OneProbe("generated")}) as (engine, app),
        http_client(app) as client,
    ):
        shown = {"capture": {"layers": [0], "scope": "all"}, "probes": ["one"]}
        body = {"prompt": "hello", "max_tokens": 3, "glassbox": {**shown, "stop_at_end": False}}
        answer = await client.post("/v1/completions", json=body)
        own = len(engine.codec.encode(["hello"], special=False)[0])

    (choice,) = answer.json()["choices"]
    assert choice["glassbox"]["states"][0]["n_positions"] == own + 2
    assert set(choice["glassbox"]["probes"]) == {"one"}


class AllProbe(OneProbe):
    """A probe whose readings are those of the positions of its scope."""

    def read(self, generation, *, covered):
        values = generation.readouts["one"]
        if covered == "all" and self.scope == "generated":
            values = values[len(values) - generation.n_response_run :]
        return ProbeReading(0.0 if len(values) else None, None, 0.5, None, values)


@pytest.mark.parametrize("scope", ["generated", "all"])
async def test_no_reading_at_a_position_of_the_prompt_is_shown(scope):
    async with (
        fake_server(hidden=SECRET, probes={"one": AllProbe(scope)}) as (_, app),
        http_client(app) as client,
    ):
        body = {"prompt": "hello", "glassbox": {"probes": True, "stop_at_end": False}}
        told = []
        for n_tokens in (1, 4):
            asked = {**body, "max_tokens": n_tokens}
            whole = await client.post("/v1/completions", json=asked)
            stream = await client.post("/v1/completions", json={**asked, "stream": True})
            events = [
                json.loads(line.removeprefix("data: "))["choices"][0]["glassbox"]
                for line in stream.text.split("\n\n")
                if line and "[DONE]" not in line
            ]
            along = [len(e.get("probe_logits", {"one": []})["one"]) for e in events[:-1]]
            readings = (
                whole.json()["choices"][0]["glassbox"]["probes"]["one"],
                events[-1]["final"]["probes"]["one"],
            )
            told.append((along, [len(each["token_logits"]) for each in readings]))
            assert {each["probe_logit"] for each in readings} == {None if n_tokens == 1 else 0.0}

    # A token that was drawn last is never run: nothing of the text is read where there is but one.
    along = [0, 1, 1, 1] if scope == "generated" else [0, 0, 0, 0]
    assert told == [([0], [0, 0]), (along, [3, 3])]


async def test_states_of_a_text_that_ended_with_its_first_token_are_not_those_of_the_prompt():
    async with fake_server(hidden=SECRET) as (engine, app), http_client(app) as client:
        capture = {"layers": [0], "scope": "all"}
        body = {"prompt": "hello", "glassbox": {"capture": capture, "stop_at_end": False}}
        one = (await client.post("/v1/completions", json={**body, "max_tokens": 1})).json()
        two = (await client.post("/v1/completions", json={**body, "max_tokens": 2})).json()
        own = len(engine.codec.encode(["hello"], special=False)[0])

    (nothing,) = one["choices"][0]["glassbox"]["states"]
    (states,) = two["choices"][0]["glassbox"]["states"]
    assert nothing["n_positions"] == 0
    assert not {"mean", "last", "norm"} & set(nothing)
    assert states["n_positions"] == own + 1


async def test_the_stand_in_for_probes_reads_the_written_text_or_says_nothing():
    async with fake_server(hidden=SECRET) as (_, app), http_client(app) as client:
        asked = {"probes": True, "stop_at_end": False}
        written = await client.post(
            "/v1/completions", json={"prompt": "a", "max_tokens": 3, "glassbox": asked}
        )
        one = await client.post(
            "/v1/completions", json={"prompt": "a", "max_tokens": 1, "glassbox": asked}
        )

    (choice,), (short,) = written.json()["choices"], one.json()["choices"]
    assert 0 < choice["glassbox"]["probes"]["norm_proxy"]["uncertainty"] < 1
    # One token that was drawn last was never run: there is no state of it.
    assert short["glassbox"]["probes"] == {}


def test_it_cannot_be_served_to_sagemaker(tmp_path):
    file = tmp_path / "hidden.txt"
    file.write_text(SECRET)

    with pytest.raises(InvalidValue, match="sagemaker"):
        serve_command(sagemaker=True, hidden_prompt=file)
